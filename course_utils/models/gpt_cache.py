"""The key/value cache: what attention computed for earlier positions, kept so that each token is read once.

Memory is taken once, when the cache is made. A cache belongs to one batch of sequences and one set of weights; it knows
nothing of tokens or text.

Letters: B sequences, T new positions, S positions after reading them, G key/value heads, K width of a head, L layers.
"""

import torch

from course_utils.config import require
from course_utils.models.gpt_config import GPTConfig


class KeyValueCache:
    """Keys and values of every layer for the `length` positions read so far, of at most `max_length`.

    Pass it to `GPT.forward` together with the ids that follow; the model fills it. Pope et al. 2022, section 2.1.
    Raises ValueError for sizes that are not counts or a `max_length` above the context.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        require(batch_size >= 1, "a cache's batch_size is a whole number from 1", batch_size)
        fits = 1 <= max_length <= config.context_length
        require(fits, f"a cache's max_length is from 1 to the context of {config.context_length} tokens", max_length)
        shape = config.num_layers, batch_size, config.num_kv_heads, max_length, config.d_head
        self.hold(*(torch.empty(shape, dtype=dtype, device=device) for _ in range(2)))
        self.plain_layers = None  # the model's layers for single positions, see `gpt_step`

    def hold(self, keys: torch.Tensor, values: torch.Tensor, length: int = 0) -> None:
        """Keep keys and values here from now on: (L, B, G, max_length, K) each, `length` positions of them in use."""
        self.keys, self.values, self.length = keys, values, length
        self.layers = list(zip(keys.unbind(), values.unbind(), strict=True))  # views, made once
        self.is_token: torch.Tensor | None = None  # (B, max_length), once there is padding to remember

    @property
    def batch_size(self) -> int:
        """Sequences, B."""
        return self.keys.shape[1]

    @property
    def max_length(self) -> int:
        """Positions that fit."""
        return self.keys.shape[3]

    @property
    def num_bytes(self) -> int:
        """Memory taken for keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def check_room(self, batch_size: int, num_new: int) -> None:
        """Raise ValueError unless `num_new` positions of `batch_size` sequences fit behind what is there."""
        if batch_size != self.batch_size:
            raise ValueError(
                f"this cache belongs to a batch of {self.batch_size}; got input_ids of {batch_size} sequences. "
                "Make one cache per batch, with `model.make_cache`."
            )
        if self.length + num_new > self.max_length:
            raise ValueError(
                f"the cache is too small: it holds {self.length} of {self.max_length} positions; got {num_new} more. "
                "Make it with a larger `max_length`."
            )

    def note_tokens(self, is_token: torch.Tensor | None, num_new: int) -> torch.Tensor | None:
        """Remember which of the new positions are tokens, (B, T) or None for all; gives (B, S), or None for all."""
        if is_token is None and self.is_token is None:
            return None
        if self.is_token is None:
            shape = self.batch_size, self.max_length
            self.is_token = torch.ones(shape, dtype=torch.bool, device=self.keys.device)
        end = self.length + num_new
        self.is_token[:, self.length : end] = True if is_token is None else is_token
        return self.is_token[:, :end]

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put keys and values (B, G, T, K) behind a layer's earlier ones; gives all of them, (B, G, S, K), no copy.

        `length` moves only when the whole model has read the positions: an interrupted pass leaves the cache valid.
        """
        start, T = self.length, k.shape[2]
        keys, values = self.layers[layer]
        keys.narrow(2, start, T).copy_(k)  # narrow is keys[:, :, start : start + T] for a third of the price
        values.narrow(2, start, T).copy_(v)
        return keys.narrow(2, 0, start + T), values.narrow(2, 0, start + T)

    def crop(self, length: int) -> None:
        """Forget the positions from `length` on, for example those of a prompt's changed end."""
        require(0 <= length <= self.length, f"crop keeps from 0 to the {self.length} positions there are", length)
        self.length = length

    def reorder_rows(self, rows: torch.Tensor, start: int = 0) -> None:
        """Let sequence i go on from what sequence `rows[i]` (B,) has read, from position `start` on.

        Beams of one prompt share their beginning, so only what differs has to be moved.
        """
        for stored in (self.keys, self.values):
            part = stored[:, :, :, start : self.length]
            part.copy_(part.index_select(1, rows))
        if self.is_token is not None:
            self.is_token.copy_(self.is_token[rows])

    def repeat_rows(self, times: int, max_length: int) -> "KeyValueCache":
        """A cache of `max_length` positions in which each sequence stands `times` times, its copies side by side."""
        require(max_length >= self.length, f"the {self.length} positions read so far must fit", max_length)
        other = object.__new__(KeyValueCache)
        L, B, G, _, K = self.keys.shape
        copies = []
        for stored in (self.keys, self.values):
            target = stored.new_empty(L, B, times, G, max_length, K)
            target[:, :, :, :, : self.length] = stored[:, :, None, :, : self.length]
            copies.append(target.flatten(1, 2))  # (L, B * times, G, max_length, K)
        other.hold(*copies, self.length)
        other.plain_layers = self.plain_layers
        if self.is_token is not None:
            other.is_token = torch.ones(B * times, max_length, dtype=torch.bool, device=self.keys.device)
            other.is_token[:, : self.length] = self.is_token[:, : self.length].repeat_interleave(times, 0)
        return other
