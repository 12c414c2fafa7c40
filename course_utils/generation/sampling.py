"""From next-token logits to a choice: temperature, top-k, top-p, repetition, sampling. Knows no model, prompt or cache.

Filters take logits and give logits: what they rule out becomes minus infinity, so that they can follow one another.
They equal transformers' logits processors of the same purpose. None changes its input.

Letters: B sequences, T positions, V entries of the vocabulary; "..." any leading dimensions.
"""

import torch

from course_utils.config import require

MINUS_INFINITY = float("-inf")


def temperature_logits(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Logits (..., V) divided by `temperature`: below 1 the likely tokens gain, above 1 they lose.

    Raises ValueError unless temperature > 0.
    """
    rule = "temperature must be above 0 (for greedy decoding leave it out: temperature=None)"
    require(temperature > 0, rule, temperature)
    return logits / temperature


def top_k_filter(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    """Keep the `top_k` largest of each row of logits (..., V), and what equals the last of them.

    Fan et al. 2018, section 5.4. Raises ValueError unless top_k is from 1 to V.
    """
    V = logits.shape[-1]
    is_count = isinstance(top_k, int) and 1 <= top_k <= V
    require(is_count, f"top_k must be from 1 to the vocabulary's {V} (to keep all, leave it out: top_k=None)", top_k)
    smallest_kept = logits.topk(top_k, dim=-1).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < smallest_kept, MINUS_INFINITY)


def top_p_filter(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the fewest most probable tokens of each row (..., V) that together hold `top_p`, at least one.

    Nucleus sampling: Holtzman et al. 2020, section 3.1. Raises ValueError unless 0 < top_p <= 1.
    """
    require(0 < top_p <= 1, "top_p must be above 0 and at most 1, which keeps all", top_p)
    ordered, order = logits.sort(dim=-1)  # the least probable first
    # A token goes if it and all that are less probable hold no more than what the nucleus may leave out.
    goes = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
    goes[..., -1] = False  # the most probable always stays
    return logits.masked_fill(torch.zeros_like(goes).scatter(-1, order, goes), MINUS_INFINITY)


def repetition_logits(
    logits: torch.Tensor, token_ids: torch.Tensor, penalty: float, is_token: torch.Tensor | None = None
) -> torch.Tensor:
    """Make tokens that are in the text already less likely: logits (B, V), text (B, T), padding False in `is_token`.

    Positive logits are divided by `penalty`, negative ones multiplied, once however often a token occurs. Above 1
    discourages repetition. After Keskar et al. 2019, section 4.1, who divide all logits; the sign rule is that of
    programs since, as a negative logit divided would become more likely. Raises ValueError unless penalty > 0.
    """
    require(penalty > 0, "repetition_penalty must be above 0 (1.0 changes nothing)", penalty)
    is_used = torch.zeros_like(logits, dtype=torch.bool)  # (B, V)
    if is_token is None:
        is_used.scatter_(1, token_ids, True)
    else:  # several positions may hold the same token: it is used if any of them counts
        is_used = torch.zeros_like(logits, dtype=torch.int8).scatter_reduce(
            1, token_ids, is_token.to(torch.int8), "amax"
        )
        is_used = is_used.bool()
    return torch.where(is_used, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def sample_token(logits: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw one token id per row of logits (B, V) from their softmax: (B,).

    The draw happens on the CPU, so that one seed gives one text per model whatever device it runs on.
    Raises ValueError for a row in which every token is ruled out, or that holds NaN.
    """
    probabilities = logits.softmax(-1).cpu()
    try:
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1).to(logits.device)
    except RuntimeError as error:  # looking beforehand would cost another pass at every token
        raise no_choice(logits) from error


def largest_token(logits: torch.Tensor) -> torch.Tensor:
    """The most probable token id of each row of logits (B, V): (B,). Raises ValueError as `sample_token` does."""
    best, token_ids = logits.max(-1)
    if not bool(best.isfinite().all()):
        raise no_choice(logits)
    return token_ids


def no_choice(logits: torch.Tensor) -> ValueError:
    """The error for logits (B, V) that leave nothing to choose from."""
    best = logits.max(-1).values.tolist()
    return ValueError(
        f"every row of logits needs a finite largest entry; got {best}. A row of minus infinity means that every token "
        "was ruled out: relax the filters. NaN means that the model has broken weights or that its training diverged."
    )


def next_token_probabilities(logits: torch.Tensor, temperature: float = 1.0, top_p: float = 1.0) -> torch.Tensor:
    """The distribution to draw the next token from: logits (..., V) to probabilities (..., V).

    Logits are divided by `temperature`; then the most probable tokens are kept until they hold `top_p` of the
    probability, at least one, and the rest gets none (nucleus sampling, Holtzman et al. 2020, section 3.1).
    Raises ValueError unless temperature > 0 and 0 < top_p <= 1.
    """
    if temperature <= 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"temperature must be above 0 and top_p in (0, 1]; got {temperature} and {top_p}. "
            "For greedy decoding take the largest logit instead."
        )
    probabilities = (logits.float() / temperature).softmax(-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    # A token stays if those before it have not yet filled the nucleus; the first one always stays.
    keep = ordered.cumsum(-1) - ordered < top_p
    kept = torch.zeros_like(probabilities).scatter(-1, order, ordered * keep)
    return kept / kept.sum(-1, keepdim=True)


def choose_token(
    logits: torch.Tensor,
    temperature: float = 0.0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """One token id per row of logits (B, V), as (B,): the largest at temperature 0 (greedy), else a sample.

    The draw happens on the CPU, so that one seed gives one text per model whatever device it runs on.
    """
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = next_token_probabilities(logits, temperature, top_p).cpu()
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1).to(logits.device)
