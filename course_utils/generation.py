"""From next-token logits to a choice: temperature, top-p, sampling. Knows no model, no prompt and no cache.

Letters: V entries of the vocabulary; "..." any leading dimensions.
"""

import torch


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
