"""The baselines by frequency, against counting by hand, and what they refuse."""

import math

import pytest
import torch

from course_utils.data.ngrams import bigram_loss, unigram_loss, word_overlap

TRAIN, TEST = torch.tensor([0, 1, 0, 1, 2, 0, 1, 2, 0]), torch.tensor([0, 1, 2, 0, 3])


def test_unigram_by_hand():
    shares = [(count + 1) / (9 + 5) for count in (4, 3, 2, 0, 0)]
    assert unigram_loss(TRAIN, TEST, 5) == pytest.approx(-sum(math.log(shares[i]) for i in TEST.tolist()) / 5)


def test_bigram_by_hand():
    unigram = [(count + 0.5) / (9 + 2.0) for count in (4, 3, 2, 0)]
    before, weight = {0: 3, 1: 3, 2: 2}, 0.5 * 2.0  # the last training token has no successor, so it is not "before"
    together = {(0, 1): 3, (1, 0): 1, (1, 2): 2, (2, 0): 2}
    costs = [
        -math.log((together.get((a, b), 0) + weight * unigram[b]) / (before[a] + weight))
        for a, b in zip(TEST[:-1].tolist(), TEST[1:].tolist(), strict=True)
    ]
    assert bigram_loss(TRAIN, TEST, 4, alpha=0.5) == pytest.approx(sum(costs) / len(costs))


def test_bigram_beats_unigram_where_order_matters():
    row = torch.tensor([0, 1, 2, 3] * 50)
    assert bigram_loss(row, row[:40], 4) < 0.2 < unigram_loss(row, row[:40], 4)


def test_bigram_probabilities_add_up():
    for first in range(4):
        total = sum(math.exp(-bigram_loss(TRAIN, torch.tensor([first, second]), 4)) for second in range(4))
        assert total == pytest.approx(1)


def test_overlap():
    assert word_overlap([1, 2, 3, 3], [3, 4, 4, 1]) == pytest.approx(2 / 3)
    assert word_overlap([1, 2], [1, 5], ignored={1}) == 0
    assert word_overlap([1], []) == 0


@pytest.mark.parametrize(
    ("train", "test", "alpha", "message"),
    [
        (TRAIN, TEST, 0, "alpha must be above 0"),
        (TRAIN, torch.tensor([0, 7]), 1, "must be from 0 to 4"),
        (TRAIN[None], TEST, 1, r"must be a row \(N,\)"),
        (TRAIN, TEST[:1], 1, r"must be a row \(N,\)"),
    ],
)
def test_bad_input(train, test, alpha, message):
    for loss in (unigram_loss, bigram_loss):
        with pytest.raises(ValueError, match=message):
            loss(train, test, 5, alpha)
