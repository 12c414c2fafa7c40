"""Prompts as generation takes them: a batch of ids, padded on the left, with room to go on. All else is refused.

Letters: B sequences, T positions.
"""

from collections.abc import Sequence

import torch


def left_pad(prompts: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of any lengths as ids (B, T) and their mask (B, T), True at tokens; padding stands on the left.

    Raises ValueError for a prompt without tokens.
    """
    lengths = [len(prompt) for prompt in prompts]
    if not lengths or min(lengths) == 0:
        raise ValueError(f"every prompt needs at least one token; got lengths {lengths}. Begin with a start token.")
    T = max(lengths)
    ids = torch.tensor([[pad_id] * (T - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.arange(T) >= T - torch.tensor(lengths)[:, None]
    return ids, mask


def check_prompt(
    input_ids: torch.Tensor | Sequence[Sequence[int]], attention_mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Ids (B, T) and the mask as booleans (B, T), or None where nothing is padding.

    Raises ValueError for prompts of unequal lengths, without tokens, or padded anywhere but on the left.
    """
    ids = as_tensor(input_ids)
    if ids.dim() != 2 or ids.numel() == 0:
        raise ValueError(
            f"input_ids must have shape (B, T), at least one token each; got {tuple(ids.shape)}. "
            "One prompt is a batch of one: input_ids[None]. An empty prompt begins with a start token."
        )
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(f"input_ids must hold whole numbers (torch.long); got {ids.dtype}.")
    if attention_mask is None:
        return ids, None
    mask = torch.as_tensor(attention_mask, device=ids.device)
    if mask.shape != ids.shape:
        raise ValueError(f"attention_mask must have shape {tuple(ids.shape)}, like input_ids; got {tuple(mask.shape)}.")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("attention_mask must hold 1 or True at tokens and 0 or False at padding; got other values.")
    mask = mask == 1
    if bool((mask[:, 1:] < mask[:, :-1]).any()):
        row = int((mask[:, 1:] < mask[:, :-1]).any(1).nonzero()[0])
        raise ValueError(
            f"padding must stand on the left, so that the new tokens follow the prompt; got a mask with padding behind "
            f"a token in row {row}. Pad with `left_pad`, or set your tokenizer's padding_side to 'left'."
        )
    if not bool(mask[:, -1].all()):
        row = int((~mask[:, -1]).nonzero()[0])
        raise ValueError(f"every prompt needs at least one token; row {row} is only padding. Leave it out.")
    return ids, None if bool(mask.all()) else mask


def as_tensor(input_ids: torch.Tensor | Sequence[Sequence[int]]) -> torch.Tensor:
    """Ids as a tensor; ValueError saying how to pad where lists have unequal lengths."""
    if isinstance(input_ids, torch.Tensor):
        return input_ids
    rows = list(input_ids)
    lengths = sorted({len(row) for row in rows if not isinstance(row, int)})
    if len(lengths) > 1:
        raise ValueError(
            f"prompts of unequal lengths need padding and a mask; got lengths from {lengths[0]} to {lengths[-1]}. "
            "Make both with `input_ids, attention_mask = left_pad(prompts)`."
        )
    return torch.tensor(rows, dtype=torch.long)


def check_length(T: int, max_new_tokens: int, context_length: int | None) -> None:
    """Raise ValueError unless there is something to do and room for it."""
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be a whole number from 1; got {max_new_tokens!r}.")
    if context_length is not None and T + max_new_tokens > context_length:
        raise ValueError(
            f"prompt and new tokens must fit into the model's context of {context_length}; got {T} + {max_new_tokens}. "
            "Shorten the prompt from its beginning, or ask for fewer tokens."
        )


def check_vocabulary(vocab_size: int, **special_ids: int | None) -> None:
    """Raise ValueError for an `eos_id` or `pad_id` that is no token of the vocabulary."""
    for name, token_id in special_ids.items():
        if token_id is not None and not 0 <= token_id < vocab_size:
            raise ValueError(f"{name} must be a token of the vocabulary, 0 to {vocab_size - 1}; got {token_id}.")
