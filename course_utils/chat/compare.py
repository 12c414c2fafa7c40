"""Comparing chatbots: how likely a model finds a reply, how varied its replies are, and how sure a difference is.

Letters: T tokens of a sequence, R tokens of a reply, V entries of the vocabulary, N items.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

Ids = Sequence[int]


def mean_log_prob(logits: torch.Tensor, token_ids: torch.Tensor, num_prompt_tokens: int) -> float:
    """Mean log-probability, in nats per token, of the tokens after the prompt: logits (T, V), token_ids (T,).

    `logits[t]` is the model's opinion, after reading tokens 0 to t, about token t + 1.
    """
    log_probs = logits[num_prompt_tokens - 1 : -1].log_softmax(-1)  # (R, V): about the reply's tokens
    reply = token_ids[num_prompt_tokens:]  # (R,)
    return log_probs.gather(-1, reply.unsqueeze(-1)).mean().item()


@torch.inference_mode()
def score_replies(
    model, prompts: Sequence[Ids], replies: Sequence[Sequence[Ids]], tokens_per_batch: int = 768
) -> list[list[torch.Tensor]]:
    """Log-probabilities of every token of `replies[i][j]` after `prompts[i]`: a tensor (R,) for each i and j.

    All replies to a prompt stand behind it in one row, and a mask hides them from each other: the prompt is read once.
    """
    scores: list = [None] * len(prompts)
    for rows in _batches(prompts, replies, tokens_per_batch):
        packed = [_pack(prompts[row], replies[row]) for row in rows]
        hidden = _last_hidden(model, packed)
        for row, states in zip(rows, hidden, strict=True):
            scores[row] = list(_reply_scores(model, states, prompts[row], replies[row]))
    return scores


def distinct_n(texts: list[str], n: int) -> float:
    """The share of different n-grams of words among all n-grams of the texts taken together, from 0 to 1.

    Words are what white space separates, in lower case; no n-gram reaches over the end of a text. 0 without n-grams.
    Li et al. 2016, section 5.3.
    """
    ngrams = []
    for text in texts:
        words = text.lower().split()
        ngrams += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def bootstrap_interval(
    values: Sequence[float], num_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """An interval for the mean of `values` (N,): resample N items with replacement, take the middle `level` of means.

    For two bots on the same questions pass the differences, one per question: then luck in the questions cancels.
    Efron and Tibshirani 1993, chapter 13 (percentile interval). Raises ValueError without values.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        raise ValueError("an interval needs at least one value; got none.")
    rows = np.random.default_rng(seed).integers(0, sample.size, (num_resamples, sample.size))
    tail = 50 * (1 - level)
    low, high = np.percentile(sample[rows].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def unigram_f1(reply: str, reference: str) -> float:
    """Word overlap of two texts, 0 to 1: the harmonic mean of precision and recall over words, in lower case."""
    words, wanted = reply.lower().split(), reference.lower().split()
    common = sum(min(words.count(word), wanted.count(word)) for word in set(words))
    return 2 * common / (len(words) + len(wanted)) if words or wanted else 0.0


def logged_hits() -> dict[str, list[float]]:
    """Lesson 09's multiple-choice task on every test conversation, from a recorded run: 1.0 for a hit, by judge.

    `logged_choices.json` names the command that repeats the run (about five minutes on two cores).
    """
    log = json.loads(Path(__file__).with_name("logged_choices.json").read_text(encoding="utf-8"))
    return {judge: [float(mark == "x") for mark in marks] for judge, marks in log["hits"].items()}


def _batches(prompts: Sequence[Ids], replies: Sequence[Sequence[Ids]], tokens: int) -> Iterator[list[int]]:
    """Rows of similar length together, at most `tokens` padded tokens (but at least one row) at a time."""
    lengths = [len(prompt) + sum(map(len, group)) for prompt, group in zip(prompts, replies, strict=True)]
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _pack(prompt: Ids, replies: Sequence[Ids]) -> tuple[list[int], list[int], list[int]]:
    """Prompt and replies in one row: token ids, segment of each (0: the prompt), position as the model sees it."""
    ids, segments, positions = list(prompt), [0] * len(prompt), list(range(len(prompt)))
    for number, reply in enumerate(replies, start=1):
        ids += reply
        segments += [number] * len(reply)
        positions += range(len(prompt), len(prompt) + len(reply))
    return ids, segments, positions


def _last_hidden(model, packed: list[tuple]) -> torch.Tensor:
    """Last hidden states (rows, T, D) of packed rows; a token sees the prompt and what precedes it in its own reply."""
    longest = max(len(ids) for ids, _, _ in packed)
    ids, segments, positions = (torch.zeros(len(packed), longest, dtype=torch.long) for _ in range(3))
    for row, parts in enumerate(packed):
        for target, values in zip((ids, segments, positions), parts, strict=True):
            target[row, : len(values)] = torch.tensor(values)
        segments[row, len(parts[0]) :] = -1  # padding: seen by nobody else
    same = segments[:, None, :] == segments[:, :, None]  # (rows, query, key)
    seen = (same | (segments[:, None, :] == 0)) & torch.ones(longest, longest, dtype=torch.bool).tril()
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill(~seen, torch.finfo(model.dtype).min)
    inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask[:, None]}
    inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
    return model.base_model(**inputs, use_cache=False).last_hidden_state


def _reply_scores(model, states: torch.Tensor, prompt: Ids, replies: Sequence[Ids]) -> Iterator[torch.Tensor]:
    """Log-probabilities (R,) of each reply; the large output layer runs only where a reply's token is predicted."""
    start = len(prompt)
    for reply in replies:
        before = torch.tensor([len(prompt) - 1, *range(start, start + len(reply) - 1)], device=states.device)
        log_probs = model.get_output_embeddings()(states[before]).float().log_softmax(-1)  # (R, V)
        target = torch.tensor(reply, device=states.device).unsqueeze(-1)
        yield log_probs.gather(-1, target).squeeze(-1).cpu()
        start += len(reply)
