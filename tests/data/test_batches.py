"""Every sequence once in each pass, short padding, reproducible epochs, masks that are right."""

import pytest
import torch

from course_utils.data.batches import LengthBatches, length_batches, pad


def lengths_of(count, seed=0):
    return torch.randint(1, 40, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("generator", [None, torch.Generator().manual_seed(3)])
@pytest.mark.parametrize(("count", "size"), [(1, 4), (17, 4), (64, 16), (333, 7)])
def test_every_sequence_is_in_exactly_one_batch(count, size, generator):
    batches = length_batches(lengths_of(count), size, generator)
    assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert len(batches) == -(-count // size) and all(1 <= len(batch) <= size for batch in batches)


def test_batches_by_length_pad_far_less_than_random_ones():
    lengths, generator = lengths_of(640), torch.Generator().manual_seed(0)

    def padded(batches):
        return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)

    random_order = torch.randperm(640, generator=generator).tolist()
    random_batches = [random_order[start : start + 16] for start in range(0, 640, 16)]
    assert padded(length_batches(lengths, 16, generator)) < 0.65 * padded(random_batches)


def test_pad_marks_real_positions_even_where_their_value_is_the_padding():
    tokens, mask = pad([torch.tensor([5, 0, 7]), torch.tensor([0])])
    assert tokens.tolist() == [[5, 0, 7], [0, 0, 0]] and mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_states_are_padded_along_their_positions():
    states, mask = pad([torch.ones(2, 3), torch.ones(4, 3)])
    assert states.shape == (2, 4, 3) and states[0, 2:].abs().sum() == 0 and mask.sum(1).tolist() == [2, 4]


def test_each_epoch_has_its_own_reproducible_order():
    sequences = [[1] * n for n in lengths_of(50)]
    first, second = (LengthBatches(sequences, list(range(50)), batch_size=8, seed=1) for _ in range(2))
    epochs = [[batch["labels"].tolist() for batch in first] for _ in range(3)]
    assert epochs == [[batch["labels"].tolist() for batch in second] for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]


def test_restore_puts_rows_back_in_the_order_of_the_sequences():
    sequences = [[index] * n for index, n in enumerate(lengths_of(30))]
    batches = LengthBatches(sequences, batch_size=8)
    rows = torch.cat([batch["input_ids"][:, 0] for batch in batches])
    assert batches.restore(rows).tolist() == batches.restore(rows.tolist()) == list(range(30))
    with pytest.raises(ValueError, match="shuffled"):
        LengthBatches(sequences, batch_size=8, seed=0).restore(rows)


def test_misfit_input_is_refused():
    with pytest.raises(ValueError, match="2 sequences and 1 labels"):
        LengthBatches([[1], [2]], [0], batch_size=1)
    with pytest.raises(ValueError, match="batch_size 0"):
        length_batches([1], 0)
