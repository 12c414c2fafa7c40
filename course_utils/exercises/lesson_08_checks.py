"""Checks of lesson 08. Oracles are loops over plain numbers, and a model that reads its text again."""

import math

import torch

from course_utils.exercises.describe import describe
from course_utils.exercises.expect import expect, expect_close, expect_equal
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig

PROMPT = [3, 4, 1]


def toy_model(seed: int = 8):
    """Ids (1, T) to logits (1, T, 7) that depend on every token so far and on its place."""
    table = 3 * torch.randn(7, 7, generator=torch.Generator().manual_seed(seed))

    def model(ids):
        places = 1 + 0.3 * torch.arange(ids.shape[1])[:, None]  # (T, 1)
        return (table[ids] * places).cumsum(1) / places.cumsum(0)

    return model


def slow_text(model, prompt: list[int], num_new: int, rank: int, eos_id: int | None) -> list[int]:
    """The continuation, with lists; `rank` 0 takes the largest logit that is not the last token's, 1 the next."""
    ids = list(prompt)
    for _ in range(num_new):
        logits = model(torch.tensor([ids]))[0, -1].tolist()
        order = sorted((i for i in range(len(logits)) if i != ids[-1]), key=lambda i: -logits[i])
        ids.append(order[rank])
        if ids[-1] == eos_id:
            break
    return ids


def choose_rank(rank: int, asked: list):
    """The `choose` that belongs to `slow_text`: it looks at the last of the ids, too, and notes that it was asked."""

    def choose(logits, ids):
        expect(
            tuple(logits.shape) == (1, 7) and ids.dim() == 2,
            f"`choose` was given logits of shape {tuple(logits.shape)} and ids of shape {tuple(ids.shape)}.",
            "It wants the logits after the last token, (1, V), and all ids so far, (1, T).",
        )
        sums = {"probabilities": logits.sum().item(), "log-probabilities": logits.exp().sum().item()}
        for kind, total in sums.items():
            message = f"`choose` was given {kind}: they add up to 1."
            expect(abs(total - 1) > 1e-4, message, "It wants the model's logits as they are. Is softmax its business?")
        asked.append(ids)
        return logits.scatter(1, ids[:, -1:], -torch.inf).sort(-1, descending=True).indices[:, rank]

    return choose


def check_loop(continue_text) -> None:
    """Equal to a loop over lists: one token, then six, with another choice, and texts that end early or in time."""
    model, prompt = toy_model(), PROMPT
    ended = slow_text(model, prompt, 6, 0, None)
    cases = [
        (1, 0, None, "One token: which position's logits speak about what comes next?"),
        (6, 0, None, "Do the model and `choose` see everything written so far? Does each token go behind the last?"),
        (6, 1, None, "Does `choose` decide, with the ids so far?"),
        (6, 0, ended[6], "The fourth new token is `eos_id`. It belongs to the text, and nothing follows it."),
        (2, 0, ended[6], "`max_new_tokens` are new ones, the prompt not counted, and end even without `eos_id`."),
    ]
    for num_new, rank, eos_id, question in cases:
        expected = slow_text(model, prompt, num_new, rank, eos_id)
        asked: list = []
        got = continue_text(model, torch.tensor([prompt]), num_new, choose_rank(rank, asked), eos_id)
        tried = f"prompt {prompt}, max_new_tokens={num_new}, eos_id={eos_id}"
        if isinstance(got, torch.Tensor) and got.shape[-1] > len(prompt):
            expect(len(asked) > 0, "`choose` was never asked.", "Who decides which token comes next?", tried=tried)
        expect_equal(got, torch.tensor([expected]), tried=tried, question=question)


def slow_top_k(row: list[float], temperature: float, top_k: int) -> list[float]:
    """One row of probabilities, number by number."""
    limit = sorted(row, reverse=True)[top_k - 1]
    weights = [math.exp(x / temperature) if x >= limit else 0.0 for x in row]
    return [w / sum(weights) for w in weights]


def check_top_k(top_k_probabilities) -> None:
    """Equal to one number after the other, in three rows of five: softmax, temperatures, one to five kept, ties."""
    logits = torch.tensor([[1.0, 3.0, -2.0, 0.5, 2.5], [-4.0, -1.0, -3.0, -1.5, -6.0], [0.2, 0.1, 0.4, 0.3, 0.0]])
    tied = torch.tensor([[2.0, 0.0, 2.0, 1.0, 2.0], [0.0, 1.0, -1.0, 1.0, 3.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    cases = [
        (logits, 1.0, 5, "Nothing is cut or warmed: softmax. Is each token at its place, do rows add up to 1?"),
        (logits, 0.5, 5, "Below 1 the favourites gain. Is the temperature a divisor, and applied before softmax?"),
        (logits.flip(0), 1.0, 3, "Three of five stay in each row, and share all of the probability."),
        (logits, 2.0, 1, "With top_k = 1 only the largest of each row is left."),
        (tied, 1.0, 2, "What equals the last one kept stays too: no order among equals is made up."),
    ]
    for x, temperature, top_k, question in cases:
        expected = torch.tensor([slow_top_k(row, temperature, top_k) for row in x.tolist()])
        tried = f"logits (3, 5), temperature = {temperature}, top_k = {top_k}"
        expect_close(top_k_probabilities(x, temperature, top_k), expected, tried=tried, question=question)


def slow_top_p(row: list[float], top_p: float) -> list[float]:
    """One row of probabilities; what the nucleus leaves out is minus infinity, the rest a logarithm."""
    order = sorted(range(len(row)), key=lambda i: -row[i])
    kept, held = set(), 0.0
    while held < top_p - 1e-9 and len(kept) < len(row):
        kept.add(order[len(kept)])
        held = sum(row[i] for i in kept)
    return [math.log(p) if i in kept else -math.inf for i, p in enumerate(row)]


def check_top_p(top_p_filter) -> None:
    """Equal to adding one token at a time, most probable first: flat and peaked rows, in any order, several p."""
    sure, flat = [0.01, 0.02, 0.96, 0.01], [0.24, 0.28, 0.22, 0.26]
    rows = [[0.4, 0.3, 0.2, 0.1], [0.2, 0.4, 0.1, 0.3], sure, flat]
    cases = [
        (rows[:1], 0.85, "0.4 + 0.3 is not yet 0.85; 0.2 more is enough. Does the token that crosses the line stay?"),
        (rows[1:2], 0.85, "Each logit must come back to its own token's place: which places are ruled out?"),
        ([sure], 0.5, "One token holds 0.96 alone. The nucleus is never empty: what is left of it here?"),
        (rows, 0.65, "Each row has a nucleus of its own. Are sums made of probabilities, along the vocabulary?"),
        (rows, 1.0, "p = 1 keeps everything."),
    ]
    for probabilities, top_p, question in cases:
        shift = 1.5 + torch.arange(len(probabilities))[:, None]  # of a whole row: it changes no probability
        logits = torch.tensor(probabilities).log() + shift
        expected = torch.tensor([slow_top_p(row, top_p) for row in probabilities]) + shift
        tried = f"probabilities {probabilities[0] if len(probabilities) == 1 else probabilities}, top_p = {top_p}"
        expect_close(top_p_filter(logits, top_p), expected, tried=tried, question=question)


def check_repetition(repetition_logits) -> None:
    """Equal to one logit at a time: both signs, tokens that come twice, each row alone, padding, a penalty below 1."""
    logits = torch.tensor([[2.0, -1.0, 0.5, -3.0, 0.0, 1.5], [-2.0, 4.0, 1.0, 0.25, -0.5, -1.0]])
    token_ids = torch.tensor([[0, 3, 3, 0], [5, 2, 2, 2]])
    padding = torch.tensor([[False, True, True, True], [False, False, True, True]])
    twice = torch.tensor([[True, True, False, True], [True, False, True, False]])
    cases = [
        (1.5, token_ids[:, :1], None, "A negative logit divided by 1.5 grows. How do you make it smaller?"),
        (1.5, token_ids[:, :2], None, "Every token of the text counts, in its own row, and no other."),
        (1.5, token_ids, None, "A token that came twice is penalised once."),
        (1.5, token_ids, padding, "Padding is no text: row 1 has not used token 5. Is it left alone?"),
        (1.5, token_ids, twice, "A token is used if any place that counts holds it."),
        (0.5, token_ids, None, "A penalty below 1 makes used tokens more likely."),
    ]
    for penalty, ids, is_token, question in cases:
        expected = logits.clone()
        for b, row in enumerate(ids.tolist()):
            counts = [True] * len(row) if is_token is None else is_token[b].tolist()
            for token in {token for token, is_text in zip(row, counts, strict=True) if is_text}:
                x = logits[b, token].item()
                expected[b, token] = x / penalty if x > 0 else x * penalty
        mask = [] if is_token is None else [is_token]
        got = repetition_logits(logits, ids, penalty, *mask)
        tried = f"texts {ids.tolist()}, penalty {penalty}" + "".join(f", is_token {m.tolist()}" for m in mask)
        expect_close(got, expected, tried=tried, question=question)


def slow_beam_step(scores: list[float], log_p: list[list[float]], eos_id: int, num_beams: int):
    """The step by sorting every extension."""
    everything = [(s + lp, beam, token) for beam, s in enumerate(scores) for token, lp in enumerate(log_p[beam])]
    candidates = sorted(everything, reverse=True)[: 2 * num_beams]
    running = [c for c in candidates if c[2] != eos_id][:num_beams]
    return running, [c for c in candidates[:num_beams] if c[2] == eos_id]


def check_beam_step(beam_step) -> None:
    """Equal to sorting all extensions: one beam, three beams, endings that win, and endings that come too late."""
    g = torch.Generator().manual_seed(8)
    eos_id, V = 4, 7
    log_p = torch.randn(3, V, generator=g).mul(2).log_softmax(-1)
    scores = torch.tensor([-1.7, -2.1, -4.6])
    late = log_p.clone()
    late[0, eos_id] = torch.sort((scores[:, None] + log_p).flatten(), descending=True).values[3] + 0.01 - scores[0]
    winning = log_p.clone()
    winning[1, eos_id] = -0.05
    log_p[:, eos_id] = -30.0  # nothing ends
    cases = [
        (scores[:1], log_p[:1], "One beam, as at the first step: which 3 of its 7 extensions are the most probable?"),
        (scores, log_p, "The score of an extension is the beam's own plus the new token's. Do all beams compete?"),
        (scores, winning, "A text that ends is finished: it is no longer running, and 3 others run on."),
        (scores, late, "An ending counts if it is among the best 3 candidates; here it is not. Is it dropped?"),
    ]
    for s, lp, question in cases:
        expected = slow_beam_step(s.tolist(), lp.tolist(), eos_id, 3)
        beams = "1 beam with score" if len(s) == 1 else f"{len(s)} beams with scores"
        tried = f"{beams} {[round(x, 2) for x in s.tolist()]}, V = {V}, eos_id = {eos_id}, num_beams = 3"
        got = pair(beam_step(s, lp, eos_id, 3))
        for name, mine, right in zip(("running", "finished"), got, expected, strict=True):
            message = f"Expected {name} as a list of triples, got {describe(mine)}."
            expect(isinstance(mine, list), message, "Two lists: the loop sorts and joins them.", tried=tried)
            places = [tuple(int(x) for x in triple[1:]) for triple in mine]
            wanted = [triple[1:] for triple in right]
            message = f"Expected {name} as (beam, token) {wanted}, got {places}."
            expect(places == wanted, message, question, tried=tried)
            totals = torch.tensor([float(triple[0]) for triple in mine]), torch.tensor([triple[0] for triple in right])
            expect_close(*totals, tried=f"the scores of {name}; {tried}", question=question)


def small_gpt() -> GPT:
    """A GPT-2 of three layers whose numbers are all random, the biases too."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 23, "d_model": 24, "num_layers": 3, "num_heads": 3, "context_length": 16}
    model = GPT(GPTConfig.gpt2(**sizes)).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def check_cache(read_new) -> None:
    """Equal to reading everything again: two texts at once, then in parts of 4, 1, 3 and 1 tokens."""
    model = small_gpt()
    token_ids = torch.randint(0, 23, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(token_ids)
    question = "Without a cache this is `read`, all of it. Does query t see keys 0 to t and no more?"
    expect_close(first(read_new(model, token_ids)), expected, tried="9 tokens at once", question=question, atol=1e-4)
    cache, start = None, 0
    for size in (4, 1, 3, 1):
        logits, cache = pair(read_new(model, token_ids[:, start : start + size], cache))
        which = f"token {start}" if size == 1 else f"tokens {start} to {start + size - 1}"
        tried = f"{which} behind {start} that were read before" if start else which
        question = "Which positions do the new tokens have, what may each see, and in which order do keys stand?"
        expect_close(logits, expected[:, start : start + size], tried=tried, question=question, atol=1e-4)
        start += size
        kind = type(cache).__name__
        cause = "Does every layer add its keys and values to the list that you return?"
        expect(isinstance(cache, list | tuple | torch.Tensor), f"The cache handed back is of type {kind}.", cause)
        shapes = {tuple(stored.shape) for pair_of_layer in cache for stored in pair_of_layer}
        message = f"After {start} tokens the cache holds {len(cache)} pairs of shapes {sorted(shapes)}."
        cause = f"Each of the 3 layers keeps keys and values of all {start} positions, (2, 3, {start}, 8)."
        expect(len(cache) == 3 and shapes == {(2, 3, start, 8)}, message, cause, tried=tried)


def first(answer) -> torch.Tensor:
    return pair(answer)[0]


def pair(answer) -> tuple:
    """What was returned, if it is a pair."""
    message = f"Expected a pair, got {describe(answer)}."
    expect(isinstance(answer, tuple | list) and len(answer) == 2, message, "What does the docstring say is returned?")
    return tuple(answer)


def check_left_pad(left_pad) -> None:
    """Ids and mask of three prompts and of one; one prompt holds the padding's own id."""
    at_the_end = "New tokens are put at the right end of a row. What must stand directly before them?"
    cases = [
        ([[5, 6, 7, 2], [8], [9, 3]], 0, at_the_end),
        ([[5, 6, 7], [3, 8], [9, 3, 3, 4, 1]], 3, "Padding has the id 3 here. Is `pad_id` used, and on the left?"),
        ([[7, 2]], 0, "One prompt needs no padding."),
    ]
    for prompts, pad_id, question in cases:
        T, tried = max(map(len, prompts)), f"prompts {prompts}, pad_id = {pad_id}"
        ids, mask = pair(left_pad(prompts, pad_id))
        rows = [[pad_id] * (T - len(prompt)) + prompt for prompt in prompts]
        expect_equal(ids, torch.tensor(rows), tried=tried, question=question)
        is_mask = isinstance(mask, torch.Tensor) and mask.shape == ids.shape and not mask.is_floating_point()
        cause = "The mask is a tensor of booleans, (B, T) like the ids."
        expect(is_mask, f"Expected a mask like the ids, got {describe(mask)}.", cause, tried=tried)
        places = [[place >= T - len(prompt) for place in range(T)] for prompt in prompts]
        question = "True at tokens, also at a token that is the same as the padding; False at padding alone."
        expect_equal(mask.bool(), torch.tensor(places), tried=tried, question=question)
