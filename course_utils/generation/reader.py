"""Reading with a model: feed it what it has not read yet and get logits for the next token.

The protocol. A model is anything that can be called with ids (B, T) and gives logits (B, T, V); with padding it is also
given `attention_mask` (B, T). Three things are used where a model offers them:

* `model.next_logits(...)`: the logits after the last position only, (B, V);
* `model.make_cache(batch_size, max_length)`: a key/value cache, passed as `cache=` together with ids and mask of what
  it does not hold yet; it can `repeat_rows` and `reorder_rows`;
* `model.config.context_length`: prompts that would not fit are refused before anything runs.

Letters: B sequences, T positions, V entries of the vocabulary.
"""

import contextlib
from collections.abc import Iterator

import torch


class Reader:
    """A batch of growing texts and what a model has read of them.

    `ids` (B, max_length) holds the texts, `length` of it in use. With `use_cache` and a model that makes one, each
    token is read once; otherwise everything is read again for every new token.
    """

    def __init__(
        self, model, ids: torch.Tensor, is_token: torch.Tensor | None, max_new_tokens: int, use_cache: bool = True
    ):
        B, T = ids.shape
        self.model, self.length, self.max_length = model, T, T + max_new_tokens
        self.ids = ids.new_zeros(B, self.max_length, dtype=torch.long)
        self.ids[:, :T] = ids
        self.is_token = None
        if is_token is not None:
            self.is_token = torch.ones_like(self.ids, dtype=torch.bool)  # new tokens are no padding
            self.is_token[:, :T] = is_token
        has_cache = use_cache and hasattr(model, "make_cache")
        self.cache = model.make_cache(B, self.max_length) if has_cache else None
        self.num_read = 0
        self.call = getattr(model, "next_logits", None) or (lambda *args, **options: model(*args, **options)[:, -1])

    def next_logits(self) -> torch.Tensor:
        """The logits for the token after what is there: (B, V)."""
        new = slice(self.num_read, self.length)
        options = {}
        # The cache remembers padding: behind the prompt no mask is needed.
        if self.is_token is not None and (self.cache is None or self.num_read == 0):
            options["attention_mask"] = self.is_token[:, new]
        if self.cache is not None:
            options["cache"] = self.cache
            self.num_read = self.length
        return self.call(self.ids[:, new], **options)

    def append(self, token_ids: torch.Tensor) -> None:
        """Go on with one token for each text: (B,)."""
        self.ids[:, self.length] = token_ids
        self.length += 1

    def text(self) -> torch.Tensor:
        """What is there: (B, length)."""
        return self.ids[:, : self.length]

    def text_mask(self) -> torch.Tensor | None:
        """Where in it tokens are, (B, length); None: everywhere."""
        return None if self.is_token is None else self.is_token[:, : self.length]

    def repeat_rows(self, times: int) -> None:
        """Let each text stand `times` times, copies side by side; what was read of it is not read again."""
        if times == 1:
            return
        self.ids = self.ids.repeat_interleave(times, 0)
        if self.is_token is not None:
            self.is_token = self.is_token.repeat_interleave(times, 0)
        if self.cache is not None:
            self.cache = self.cache.repeat_rows(times, self.max_length)

    def reorder_rows(self, rows: torch.Tensor, start: int) -> None:
        """Let text i go on from text `rows[i]`; both are equal before position `start`, and equally padded."""
        self.ids = self.ids[rows]
        if self.cache is not None:
            self.cache.reorder_rows(rows, start)


@contextlib.contextmanager
def evaluating(model) -> Iterator[None]:
    """Without dropout inside, and as before afterwards; a model without modes is left alone."""
    is_training = getattr(model, "training", False)
    if is_training:
        model.eval()
    try:
        yield
    finally:
        if is_training:
            model.train()
