"""Batches of sequences of different lengths: similar lengths together, so that little is spent on padding.

Works for token ids (T,) and for states (T, D) alike. It does not tokenize and knows no model.

    B sequences in a batch, T positions of the longest of them, D width of one position
"""

from collections.abc import Iterator, Sequence

import torch

POOL_BATCHES = 16  # sorted by length within so many batches at a time: short padding, yet a new mix in each epoch


def length_batches(
    lengths: Sequence[int], batch_size: int, generator: torch.Generator | None = None, pool_batches: int = POOL_BATCHES
) -> list[list[int]]:
    """Indices 0 .. N-1 in batches of `batch_size` (the last may be smaller) whose sequences have similar lengths.

    With a generator: shuffle, sort by length inside pools of `pool_batches` batches, shuffle the batches. Without:
    sorted by length, shortest first, always the same (evaluation). Raises ValueError for a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"a batch holds at least one sequence; got batch_size {batch_size}.")
    order = list(range(len(lengths)))
    if generator is None:
        return _cut(sorted(order, key=lambda i: lengths[i]), batch_size)
    order = torch.randperm(len(order), generator=generator).tolist()
    pools = _cut(order, batch_size * pool_batches)
    batches = [batch for pool in pools for batch in _cut(sorted(pool, key=lambda i: lengths[i]), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def _cut(items: list[int], size: int) -> list[list[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def pad(sequences: Sequence[torch.Tensor], value: float = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences (T_i,) or (T_i, D) as one tensor (B, T) or (B, T, D), and a mask (B, T): 1 where real, 0 at padding."""
    padded = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True, padding_value=value)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    mask = torch.arange(padded.shape[1]) < lengths[:, None]
    return padded, mask.long()


class LengthBatches:
    """An iterable of batches: dicts with `name` (B, T) or (B, T, D), `attention_mask` (B, T) and, if given, `labels`.

    With a seed each pass is another epoch, shuffled anew and reproducibly (epoch e draws from seed and e); without one
    every pass is the same, sorted by length. `order` gives the indices of the next pass without consuming it.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int] | torch.Tensor],
        labels: Sequence[int] | torch.Tensor | None = None,
        *,
        batch_size: int,
        seed: int | None = None,
        name: str = "input_ids",
        pad_value: float = 0,
    ):
        if labels is not None and len(labels) != len(sequences):
            raise ValueError(f"one label for each sequence: got {len(sequences)} sequences and {len(labels)} labels.")
        self.sequences = [torch.as_tensor(sequence) for sequence in sequences]
        self.labels = None if labels is None else torch.as_tensor(labels)
        self.batch_size, self.seed, self.name, self.pad_value = batch_size, seed, name, pad_value
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.sequences) // self.batch_size)

    def order(self) -> list[list[int]]:
        """The batches of the next pass as lists of indices."""
        lengths = [len(sequence) for sequence in self.sequences]
        if self.seed is None:
            return length_batches(lengths, self.batch_size)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return length_batches(lengths, self.batch_size, generator)

    def restore(self, rows: torch.Tensor | list) -> torch.Tensor | list:
        """Rows that were computed in the order of the batches, a tensor (N, ...) or a list, in the sequences' order."""
        if self.seed is not None:
            raise ValueError("shuffled batches have no order to restore. Make LengthBatches without a seed.")
        place = torch.tensor([index for batch in self.order() for index in batch]).argsort()
        return [rows[i] for i in place.tolist()] if isinstance(rows, list) else rows[place]

    def collate(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """One batch from the sequences at `indices`."""
        padded, mask = pad([self.sequences[i] for i in indices], self.pad_value)
        batch = {self.name: padded, "attention_mask": mask}
        return batch if self.labels is None else {**batch, "labels": self.labels[list(indices)]}

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        order = self.order()
        self.epoch += 1
        for indices in order:
            yield self.collate(indices)
