"""The sizes and the variant of a GPT, and what may be fed into one: all else is refused with the rule and the value.

Letters: B sequences, T positions.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import torch

from course_utils.config import require
from course_utils.models.inputs import boolean_mask, check_labels

if TYPE_CHECKING:
    from course_utils.models.gpt_cache import KeyValueCache

VARIANTS = {
    "positions": ("learned", "rotary"),
    "norm": ("layer", "rms"),
    "feed_forward": ("gelu", "swiglu"),
}
GPT2_STYLE = {"positions": "learned", "norm": "layer", "feed_forward": "gelu", "has_bias": True}
LLAMA_STYLE = {"positions": "rotary", "norm": "rms", "feed_forward": "swiglu", "has_bias": False}


@dataclass(frozen=True)
class GPTConfig:
    """The sizes and the variant of a GPT; the defaults are GPT-2's, 124 million parameters.

    `num_kv_heads=None` gives every query head keys and values of its own; fewer are shared by groups of heads.
    `d_ff=None` is 4 * d_model, and two thirds of that for SwiGLU, which has three matrices instead of two.
    `is_tied`: the output layer is the token embedding. `eos_id` is kept for whoever generates; the model ignores it.
    Raises ValueError for impossible sizes.
    """

    vocab_size: int = 50_257
    d_model: int = 768
    num_layers: int = 12
    num_heads: int = 12
    num_kv_heads: int | None = None
    d_ff: int | None = None
    context_length: int = 1024
    dropout: float = 0.0
    norm_eps: float = 1e-5
    positions: Literal["learned", "rotary"] = "learned"
    norm: Literal["layer", "rms"] = "layer"
    feed_forward: Literal["gelu", "swiglu"] = "gelu"
    has_bias: bool = True
    is_tied: bool = True
    rope_theta: float = 10_000.0
    init_std: float = 0.02
    eos_id: int | None = None

    def __post_init__(self) -> None:
        for name, known in VARIANTS.items():
            require(getattr(self, name) in known, f"GPTConfig.{name} must be one of {known}", getattr(self, name))
        self._fill_in()
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (int, int | None) and field.name != "eos_id":
                is_count = isinstance(value, int) and value >= 1
                require(is_count, f"GPTConfig.{field.name} is a whole number from 1", value)
        heads = self.num_heads, self.num_kv_heads
        divides = self.d_model % self.num_heads == 0
        require(divides, "GPTConfig.d_model must be a multiple of num_heads", (self.d_model, self.num_heads))
        require(heads[0] % heads[1] == 0, "GPTConfig.num_heads must be a multiple of num_kv_heads", heads)
        turns = self.positions == "learned" or self.d_head % 2 == 0
        require(turns, "rotary positions turn pairs of entries, so d_model / num_heads must be even", self.d_head)
        require(0 <= self.dropout < 1, "GPTConfig.dropout must be from 0 to below 1", self.dropout)
        for name in ("norm_eps", "rope_theta", "init_std"):
            require(getattr(self, name) > 0, f"GPTConfig.{name} must be above 0", getattr(self, name))
        known_end = self.eos_id is None or 0 <= self.eos_id < self.vocab_size
        require(known_end, "GPTConfig.eos_id must be a token of the vocabulary, or None", self.eos_id)

    def _fill_in(self) -> None:
        """Sizes that follow from others, where they were left open."""
        if self.num_kv_heads is None:
            object.__setattr__(self, "num_kv_heads", self.num_heads)
        if self.d_ff is None and isinstance(self.d_model, int):
            # Shazeer 2020, section 2: two thirds, so that three matrices hold what two held; rounded up to eights.
            d_ff = 4 * self.d_model if self.feed_forward == "gelu" else -(-8 * self.d_model // 24) * 8
            object.__setattr__(self, "d_ff", d_ff)

    @classmethod
    def gpt2(cls, **overrides) -> "GPTConfig":
        """GPT-2's smallest, 124 million parameters (Radford et al. 2019, section 2.3), with what you change in it."""
        return cls(**(GPT2_STYLE | overrides))

    @classmethod
    def llama(cls, **overrides) -> "GPTConfig":
        """The modern decoder (Touvron et al. 2023, section 2.2) in the sizes of the embedded chat model, 135 million.

        With other heads than its 9, each has keys and values of its own unless you say `num_kv_heads`.
        """
        sizes = {"vocab_size": 49_152, "d_model": 576, "num_layers": 30, "num_heads": 9, "context_length": 8192}
        if "num_heads" not in overrides:
            sizes["num_kv_heads"] = 3
        return cls(**(LLAMA_STYLE | sizes | {"rope_theta": 100_000.0} | overrides))

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.d_model // self.num_heads


def check_inputs(
    config: GPTConfig,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    cache: "KeyValueCache | None" = None,
) -> torch.Tensor | None:
    """The mask as booleans (B, T), or None where nothing is padding; ValueError for anything that cannot be read."""
    if input_ids.dim() != 2 or input_ids.numel() == 0:
        raise ValueError(f"input_ids must have shape (B, T), at least one token each; got {tuple(input_ids.shape)}.")
    B, T = input_ids.shape
    num_known = 0 if cache is None else cache.length
    if num_known + T > config.context_length:
        known = f" behind {num_known} in the cache" if num_known else ""
        raise ValueError(
            f"the context ends at {config.context_length} tokens; got {T}{known}. "
            "Keep the last ones only, or take a model with a longer context."
        )
    check_labels(input_ids, input_ids.shape, config.vocab_size, "input_ids")
    if cache is not None:
        cache.check_room(B, T)
    mask = boolean_mask(attention_mask, input_ids.shape)
    return None if mask is None or bool(mask.all()) else mask
