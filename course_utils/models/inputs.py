"""What may be fed into a model: shapes, types and ranges, checked before they fail later with a riddle.

Letters: B sequences, T positions.
"""

import torch

IGNORED_LABEL = -100  # what cross_entropy, and everybody since, leaves out of a loss
INTEGER_TYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_labels(ids: torch.Tensor, shape: torch.Size, limit: int, name: str, ignored: int | None = None) -> None:
    """Raise ValueError unless `ids` are whole numbers of this shape from 0 to below `limit` (or `ignored`)."""
    if ids.shape != shape:
        raise ValueError(f"{name} must have shape {tuple(shape)}; got {tuple(ids.shape)}.")
    if ids.dtype not in INTEGER_TYPES:
        raise ValueError(f"{name} must hold whole numbers (torch.long); got {ids.dtype}.")
    wrong = (ids < 0) | (ids >= limit)
    if ignored is not None:
        wrong &= ids != ignored
    if bool(wrong.any()):
        where = tuple(wrong.nonzero()[0].tolist())
        allowed = f"0 to {limit - 1}" + (
            f", or {ignored} where there is nothing to predict" if ignored is not None else ""
        )
        raise ValueError(
            f"{name} must be from {allowed}; got {ids[where].item()} at {where}. Was it made by another tokenizer?"
        )


def boolean_mask(attention_mask: torch.Tensor | None, shape: torch.Size) -> torch.Tensor | None:
    """A mask of booleans, or of 1 at tokens and 0 at padding, as booleans (B, T); None stays None.

    Raises ValueError for another shape, type or value.
    """
    if attention_mask is None:
        return None
    if attention_mask.dtype == torch.bool:
        if attention_mask.shape != shape:
            check_labels(attention_mask.long(), shape, 2, "attention_mask")
        return attention_mask
    check_labels(attention_mask, shape, 2, "attention_mask")
    return attention_mask.bool()
