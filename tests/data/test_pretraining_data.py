"""Pairs and hidden words: where the pieces come from, what labels say, and that a step depends on its seed alone."""

import pytest
import torch

from course_utils.data.pretraining import (
    IGNORED_LABEL,
    IS_NEXT,
    IS_RANDOM,
    PretrainingBatches,
    TextBatches,
    draw_pairs,
    frame_pairs,
    make_corpus,
    mask_tokens,
    may_hide,
)


class Letters:
    """A tokenizer that gives each lower-case letter a number."""

    vocab_size, pad_id, cls_id, sep_id, mask_id = 40, 0, 2, 3, 4

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [ord(letter) - ord("a") + 5 for letter in text]


TALKS = [["abcdef", "ghijkl", "mnopqr"], ["stu", "", "vwx"], ["yz", "abz", "c", "dddddddddd"]]


@pytest.fixture
def corpus():
    return make_corpus(TALKS, Letters())


def conversation_of(corpus, position: int) -> int:
    lengths = torch.tensor([sum(map(len, turns)) for turns in TALKS])
    return int((lengths.cumsum(0) <= position).sum())


def test_places_are_where_turns_begin_that_answer(corpus):
    begins = [(int(p), int(c)) for p, c in zip(corpus.places, corpus.conversation, strict=True)]
    assert begins == [(6, 0), (12, 0), (21, 1), (21, 1), (26, 2), (29, 2), (30, 2)]
    assert corpus.ids[corpus.places[0]] == Letters().encode("g")[0]


def test_pairs_meet_at_a_place_and_random_ones_come_from_elsewhere(corpus):
    pairs = draw_pairs(corpus, 400, 12, torch.Generator().manual_seed(0))
    places = set(corpus.places.tolist())
    for (a0, a1), (b0, b1), label in pairs:
        first, second = conversation_of(corpus, a0), conversation_of(corpus, b0)
        assert a1 in places and b0 in places and a0 < a1 and b0 < b1
        assert a1 - a0 + b1 - b0 <= 12
        assert conversation_of(corpus, a1 - 1) == first and conversation_of(corpus, b1 - 1) == second
        assert (b0 == a1 and first == second) if label == IS_NEXT else first != second
    assert sum(pair.label == IS_RANDOM for pair in pairs) == 200


def test_length_does_not_give_the_label_away():
    long = make_corpus([["abcdefghij" * 4] * 6 for _ in range(30)], Letters())
    pairs = draw_pairs(long, 4000, 60, torch.Generator().manual_seed(1))
    for side in ("a", "b"):
        mean = [
            sum(getattr(p, side)[1] - getattr(p, side)[0] for p in pairs if p.label == label) / 2000 for label in (0, 1)
        ]
        assert abs(mean[0] - mean[1]) < 1.5, (side, mean)


def test_frame(corpus):
    pairs = draw_pairs(corpus, 6, 12, torch.Generator().manual_seed(2))
    batch = frame_pairs(corpus, pairs, Letters())
    for row, ((a0, a1), (b0, b1), label) in enumerate(pairs):
        wanted = [2, *corpus.ids[a0:a1].tolist(), 3, *corpus.ids[b0:b1].tolist(), 3]
        length = len(wanted)
        assert batch["input_ids"][row].tolist() == wanted + [0] * (batch["input_ids"].shape[1] - length)
        assert batch["token_type_ids"][row, :length].tolist() == [0] * (a1 - a0 + 2) + [1] * (b1 - b0 + 1)
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (batch["input_ids"].shape[1] - length)
        assert batch["next_sentence_label"][row] == label


@pytest.mark.parametrize("rate", [0.15, 0.4, 1.0])
def test_masking_shares(rate):
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 1000, (100, 400), generator=g)
    free = torch.ones_like(ids, dtype=torch.bool)
    free[:, :3] = False
    before = ids.clone()
    seen, labels = mask_tokens(ids, free, 4, 1000, rate, first_id=5, generator=g)
    chosen = labels != IGNORED_LABEL
    assert torch.equal(ids, before)
    assert not (chosen & ~free).any() and torch.equal(seen[~chosen], ids[~chosen])
    assert torch.equal(labels[chosen], ids[chosen])
    assert chosen[free].float().mean() == pytest.approx(rate, abs=0.01)
    masked, same = seen[chosen] == 4, seen[chosen] == ids[chosen]
    assert masked.float().mean() == pytest.approx(0.8, abs=0.02)
    assert same.float().mean() == pytest.approx(0.1, abs=0.02)
    assert seen[chosen][~masked].min() >= 5


@pytest.mark.parametrize("rate", [0, -0.1, 1.5])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ValueError, match="mask_rate is a share"):
        mask_tokens(torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool), 4, 9, rate)


def test_a_step_depends_on_seed_and_step_alone(corpus):
    options = {"batch_size": 4, "max_length": 16, "num_steps": 3}
    batches, again = (PretrainingBatches(corpus, Letters(), seed=1, **options) for _ in range(2))
    other = PretrainingBatches(corpus, Letters(), seed=2, **options)
    for step, batch in enumerate(batches):
        assert all(torch.equal(batch[name], again.batch(step)[name]) for name in batch)
    assert not torch.equal(batches.batch(0)["input_ids"], batches.batch(1)["input_ids"])
    assert any(not torch.equal(batches.batch(0)[name], other.batch(0)[name]) for name in ("input_ids", "labels"))
    assert len(batches) == len(list(batches)) == 3


def test_special_tokens_are_never_hidden(corpus):
    batch = PretrainingBatches(corpus, Letters(), batch_size=8, max_length=16, mask_rate=1.0).batch(0)
    special = ~may_hide(torch.where(batch["labels"] >= 0, batch["labels"], batch["input_ids"]), Letters())
    assert (batch["labels"][special] == IGNORED_LABEL).all() and (batch["labels"][~special] >= 0).all()


def test_text_batches_visit_all_texts_and_keep_lengths_together():
    rows = [[2, *range(5, 5 + length), 3] for length in range(1, 31)]
    batches = TextBatches(rows, Letters(), batch_size=4, num_steps=200)
    seen = set()
    for step in range(len(batches)):
        batch = batches.batch(step)
        lengths = batch["attention_mask"].sum(1)
        assert lengths.max() - lengths.min() == 3
        seen |= set(lengths.tolist())
    assert seen == set(range(3, 33))
    with pytest.raises(ValueError, match="batch_size must be from 1 to the 30 texts"):
        TextBatches(rows, Letters(), batch_size=31, num_steps=1)


def test_too_little_to_make_pairs_of_is_refused():
    with pytest.raises(ValueError, match="at least two conversations"):
        make_corpus([["abc", "def"], ["lonely"]], Letters())
    with pytest.raises(ValueError, match="room for two texts"):
        PretrainingBatches(make_corpus(TALKS, Letters()), Letters(), batch_size=2, max_length=6)
