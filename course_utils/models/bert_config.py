"""The sizes of a BERT, and what may be fed into one: all else is refused with the rule and the value found.

Letters: B sequences, T positions.
"""

from dataclasses import dataclass, fields

import torch

from course_utils.config import require
from course_utils.models.inputs import boolean_mask, check_labels


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT; the defaults are those of bert-base-uncased. Raises ValueError for impossible ones."""

    vocab_size: int = 30_522
    d_model: int = 768
    num_layers: int = 12
    num_heads: int = 12
    d_ff: int = 3072
    context_length: int = 512
    num_token_types: int = 2
    dropout: float = 0.1
    norm_eps: float = 1e-12
    pad_id: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and field.name != "pad_id":
                require(
                    isinstance(value, int) and value >= 1, f"BertConfig.{field.name} is a whole number from 1", value
                )
        divides = self.d_model % self.num_heads == 0
        require(divides, "BertConfig.d_model must be a multiple of num_heads", (self.d_model, self.num_heads))
        require(0 <= self.dropout < 1, "BertConfig.dropout must be from 0 to below 1", self.dropout)
        require(self.norm_eps > 0, "BertConfig.norm_eps must be above 0", self.norm_eps)
        require(0 <= self.pad_id < self.vocab_size, "BertConfig.pad_id must be a token of the vocabulary", self.pad_id)

    @property
    def hidden_size(self) -> int:
        """`d_model` under the name that transformers gives it: heads made for its models fit ours."""
        return self.d_model


def check_inputs(
    config: BertConfig,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    token_type_ids: torch.Tensor | None,
) -> torch.Tensor | None:
    """The mask as booleans (B, T), or None; ValueError for anything that would fail later with a riddle."""
    if input_ids.dim() != 2 or input_ids.numel() == 0:
        raise ValueError(f"input_ids must have shape (B, T), at least one token each; got {tuple(input_ids.shape)}.")
    if input_ids.shape[1] > config.context_length:
        raise ValueError(
            f"the position table ends at {config.context_length} tokens; got sequences of {input_ids.shape[1]}. "
            "Truncate them when you tokenize."
        )
    check_labels(input_ids, input_ids.shape, config.vocab_size, "input_ids")
    if token_type_ids is not None:
        check_labels(token_type_ids, input_ids.shape, config.num_token_types, "token_type_ids")
    return boolean_mask(attention_mask, input_ids.shape)
