"""What a language model is trained on: one long row of token ids, cut into blocks of one length.

A document is a conversation, one turn to a line; an end-of-text token follows each, so that the model can learn where
one ends. Targets are the same row, one place further. Nothing here knows a model.

Letters: N tokens of the row, B blocks in a batch, T positions of a block.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch

END_OF_TEXT = "<|endoftext|>"  # GPT-2's name for it


class Encoder(Protocol):
    """What is needed of a tokenizer: `course_utils.data.tokenizers.BytePairEncoding` has it."""

    def encode(self, text: str) -> list[int]: ...


def conversation_text(turns: Sequence[str]) -> str:
    """A conversation as a document: each turn is a line, so that the end of a line hands over to the other person."""
    return "".join(turn + "\n" for turn in turns)


def token_row(texts: Iterable[str], tokenizer: Encoder, end_id: int) -> torch.Tensor:
    """Documents behind each other, `end_id` after each: (N,) ids. Raises ValueError if there is no document."""
    ids: list[int] = []
    for text in texts:
        ids += tokenizer.encode(text)
        ids.append(end_id)
    if not ids:
        raise ValueError("a row of tokens needs at least one document; got none.")
    return torch.tensor(ids)


class BlockBatches:
    """Blocks of a row by step: `batch(step)` is that step's batch, drawn from the seed and the step alone.

    So a run that goes on at step 1,000 reads what it would have read. Within an epoch every block comes once, in random
    order; each epoch cuts the row at other places. Iterating gives steps 0 to `num_steps` - 1.
    Raises ValueError for a row too short for one batch.
    """

    def __init__(self, ids: torch.Tensor, *, batch_size: int, context_length: int, num_steps: int, seed: int = 0):
        needed = batch_size * context_length + context_length  # the last T absorb where an epoch's first block begins
        if min(batch_size, context_length, num_steps) < 1:
            raise ValueError(
                "batch_size, context_length and num_steps are whole numbers from 1; "
                f"got {batch_size}, {context_length} and {num_steps}."
            )
        if ids.ndim != 1 or len(ids) <= needed:
            raise ValueError(
                f"a batch of {batch_size} blocks of {context_length} tokens needs a row of more than {needed:,}; got "
                f"shape {tuple(ids.shape)}. Pass more text, or make batch_size or context_length smaller."
            )
        self.ids, self.batch_size, self.context_length = ids, batch_size, context_length
        self.num_steps, self.seed = num_steps, seed
        self.blocks_per_epoch = (len(ids) - 1) // context_length - 1
        self._epoch, self._starts = -1, torch.empty(0)

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        return (self.batch(step) for step in range(self.num_steps))

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """`input_ids` (B, T) and `targets` (B, T), the token after each."""
        starts = [self._start(number) for number in range(step * self.batch_size, (step + 1) * self.batch_size)]
        blocks = torch.stack([self.ids[start : start + self.context_length + 1] for start in starts])  # (B, T + 1)
        return {"input_ids": blocks[:, :-1], "targets": blocks[:, 1:]}

    def _start(self, number: int) -> int:
        """Where the block begins that is read as the run's `number`-th."""
        epoch, place = divmod(number, self.blocks_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            shift = torch.randint(self.context_length, (), generator=generator)
            order = torch.randperm(self.blocks_per_epoch, generator=generator)
            self._epoch, self._starts = epoch, shift + self.context_length * order
        return int(self._starts[place])


def evaluation_blocks(
    ids: torch.Tensor, context_length: int, batch_size: int = 16
) -> Iterator[dict[str, torch.Tensor]]:
    """A row as batches in reading order, for measuring: every token but the first is a target exactly once.

    The last block may be shorter and comes alone. Raises ValueError for a row of fewer than two tokens.
    """
    if ids.ndim != 1 or len(ids) < 2:
        raise ValueError(f"there is nothing to predict in a row of shape {tuple(ids.shape)}. Pass at least two tokens.")
    num_full = (len(ids) - 1) // context_length
    inputs = ids[: num_full * context_length].view(num_full, context_length)
    targets = ids[1 : num_full * context_length + 1].view(num_full, context_length)
    for start in range(0, num_full, batch_size):
        rows = slice(start, start + batch_size)
        yield {"input_ids": inputs[rows], "targets": targets[rows]}
    rest = ids[num_full * context_length :]
    if len(rest) > 1:
        yield {"input_ids": rest[None, :-1], "targets": rest[None, 1:]}


def bits_per_byte(loss: float, num_tokens: int, num_bytes: int) -> float:
    """A loss in nats per token as bits per byte of the text: a measure that tokenizers do not change.

    Raises ValueError unless there are tokens and bytes.
    """
    if num_tokens < 1 or num_bytes < 1:
        raise ValueError(f"bits per byte need at least one token and one byte; got {num_tokens} and {num_bytes}.")
    return loss * num_tokens / (math.log(2) * num_bytes)
