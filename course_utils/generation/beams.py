"""Beam search: keep the k most probable beginnings of a text, extend all of them, keep the k best again.

The rules are those of transformers' `generate(num_beams=k)`, token for token: 2k candidates a step, so that k
unfinished ones remain whatever ends; finished texts compete by log-probability per token (`length_penalty` 1.0); and a
prompt is done when its best unfinished beam, if it ended now, would not beat its k finished texts. That is a rule of
thumb unless `length_penalty` is 0: a longer text may have a better mean.

Letters: B prompts, k beams of each, c candidates of each, V entries of the vocabulary.
"""

import torch

from course_utils.generation.reader import Reader

NEVER = -1e9  # the score of a beam that may not be taken; finite, so that differences stay numbers


@torch.inference_mode()
def beam_search(
    reader: Reader,
    choice,
    num_beams: int,
    num_best: int,
    length_penalty: float = 1.0,
    eos_id: int | None = None,
    filler: int = 0,
) -> torch.Tensor:
    """The `num_best` most probable texts found for each prompt of `reader`, best first: (B * num_best, T + new).

    Scores are sums of log-probabilities over (number of new tokens) ** length_penalty. `choice.penalised` is applied to
    log-probabilities, as transformers does. Raises ValueError if a model gives no finite log-probability.
    """
    B, T = reader.text().shape
    first = reader.next_logits()  # the prompt is read once, then its beams share it
    reader.repeat_rows(num_beams)
    beams = Beams(reader, num_beams, length_penalty, eos_id, filler)
    logits = first.repeat_interleave(num_beams, 0)  # (B * k, V)
    while True:
        beams.extend(choice.penalised(log_probabilities(logits), reader))
        if beams.is_done:
            return beams.best(num_best)
        logits = reader.next_logits()


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Log-softmax of logits (B, V), in float32 at least."""
    log_p = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    if bool(log_p.isnan().any()):
        raise ValueError("the model gives NaN instead of logits. Its weights are broken, or its training diverged.")
    return log_p


class Beams:
    """k running texts of each prompt, in a reader's rows, and the k best finished ones."""

    def __init__(self, reader: Reader, num_beams: int, length_penalty: float, eos_id: int | None, filler: int):
        self.reader, self.k, self.length_penalty, self.eos_id = reader, num_beams, length_penalty, eos_id
        self.prompt_length, device = reader.length, reader.ids.device
        B = len(reader.ids) // num_beams
        self.scores = torch.zeros(B, num_beams, device=device)
        self.scores[:, 1:] = NEVER  # all beams begin alike: only the first may be extended
        self.finished_scores = torch.full((B, num_beams), NEVER, device=device)
        self.is_finished = torch.zeros(B, num_beams, dtype=torch.bool, device=device)
        self.finished = torch.full((B, num_beams, reader.max_length), filler, device=device)
        self.finished[:, :, : reader.length] = reader.text().view(B, num_beams, -1)
        self.lengths = torch.full((B, num_beams), reader.length, device=device)  # of the finished texts
        self.can_improve = torch.ones(B, 1, dtype=torch.bool, device=device)
        self.is_done = False

    def extend(self, log_p: torch.Tensor) -> None:
        """One step: log-probabilities of the next token (B * k, V) to the k best running and finished texts."""
        reader, k = self.reader, self.k
        B, V = len(self.scores), log_p.shape[-1]
        totals = (self.scores[:, :, None] + log_p.view(B, k, V)).flatten(1)  # (B, k * V)
        scores, places = totals.topk(min(2 * k, k * V))  # (B, c), the best first
        beams, tokens = places // V, places % V
        is_last_step = reader.length + 1 == reader.max_length
        ends = torch.full_like(tokens, is_last_step, dtype=torch.bool)
        if self.eos_id is not None:
            ends |= tokens == self.eos_id
        if bool(ends.any()):
            self.finish(scores, beams, tokens, ends)
        self.go_on(scores + ends * NEVER, beams, tokens)
        self.note_progress(is_last_step)

    def finish(self, scores: torch.Tensor, beams: torch.Tensor, tokens: torch.Tensor, ends: torch.Tensor) -> None:
        """Let candidates (B, c) that end now and are among the k best compete with the texts finished so far."""
        B, num_candidates = scores.shape
        ends = ends & (torch.arange(num_candidates, device=scores.device) < self.k)
        per_token = scores / self.num_new(1) ** self.length_penalty
        per_token = per_token + (~ends | ~self.can_improve) * NEVER
        best, chosen = torch.cat([self.finished_scores, per_token], 1).topk(self.k)  # of k + c
        texts = self.reader.ids.view(B, self.k, -1).take_along_dim(beams[:, :, None], 1)  # (B, c, max_length)
        texts[:, :, self.reader.length] = tokens
        texts[:, :, self.reader.length + 1 :] = self.finished[:, :1, self.reader.length + 1 :]  # filler
        self.finished = torch.cat([self.finished, texts], 1).take_along_dim(chosen[:, :, None], 1)
        new_lengths = torch.full_like(tokens, self.reader.length + 1)
        self.lengths = torch.cat([self.lengths, new_lengths], 1).take_along_dim(chosen, 1)
        self.is_finished = torch.cat([self.is_finished, ends], 1).take_along_dim(chosen, 1)
        self.finished_scores = best

    def go_on(self, scores: torch.Tensor, beams: torch.Tensor, tokens: torch.Tensor) -> None:
        """Make the k best of the candidates (B, c) the running texts."""
        self.scores, chosen = scores.topk(self.k)
        rows = beams.take_along_dim(chosen, 1) + torch.arange(len(beams), device=beams.device)[:, None] * self.k
        self.reader.reorder_rows(rows.flatten(), self.prompt_length)
        self.reader.append(tokens.take_along_dim(chosen, 1).flatten())

    def note_progress(self, is_last_step: bool) -> None:
        """Which prompts may still find something better: those whose best running text beats the worst finished one."""
        best_running = self.scores[:, :1] / self.num_new() ** self.length_penalty
        worst = self.finished_scores.min(1, keepdim=True).values.where(self.is_finished, NEVER)  # (B, k)
        self.can_improve &= (best_running > worst).any(1, keepdim=True)
        self.is_done = is_last_step or not bool(self.can_improve.any())

    def num_new(self, ahead: int = 0) -> int:
        """New tokens of a running text, or of one that is `ahead` tokens longer."""
        return self.reader.length + ahead - self.prompt_length

    def best(self, num_best: int) -> torch.Tensor:
        """The best finished texts of each prompt, as long as the longest of them: (B * num_best, T + new)."""
        longest = int(self.lengths[:, :num_best].max())
        return self.finished[:, :num_best, :longest].flatten(0, 1)
