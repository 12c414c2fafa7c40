"""Measures of variety: counted by hand on texts of a few words, and between their limits on others."""

import random

import pytest

from course_utils.chat.compare import distinct_n
from course_utils.generation.diversity import repeated_share, self_overlap


def test_repeated_share_by_hand():
    assert repeated_share("ababa", 2) == pytest.approx(2 / 4)  # ab ba ab ba: two came before
    assert repeated_share("abc", 2) == 0
    assert repeated_share([7] * 10, 3) == pytest.approx(7 / 8)


def test_repeated_share_is_what_distinct_n_leaves_for_one_text():
    words = random.Random(0).choices("abcd", k=40)
    for n in (1, 2, 3):
        assert repeated_share(words, n) == pytest.approx(1 - distinct_n([" ".join(words)], n))


def test_self_overlap_by_hand():
    first, second = "abc", "abab"
    # ab bc against ab ba ab: 1 of 2 there, 1 of 3 back (ab counts once, it stands once in the first)
    assert self_overlap([first, second], 2) == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_equal_texts_overlap_fully_and_strangers_not_at_all():
    assert self_overlap([[1, 2, 3]] * 4, 2) == 1
    assert self_overlap([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 1) == 0


def test_more_texts_of_one_kind_do_not_move_it():
    rng = random.Random(0)
    texts = [rng.choices(range(8), k=30) for _ in range(60)]
    assert self_overlap(texts[:10], 2) == pytest.approx(self_overlap(texts, 2), abs=0.03)


def test_short_texts_are_left_out():
    assert repeated_share([], 2) == repeated_share([1], 2) == 0
    assert self_overlap([[1], [1, 2], [], [1, 2]], 2) == 1


@pytest.mark.parametrize("texts", [[], [[1, 2, 3]], [[1], [2], [3, 4]]])
def test_one_text_has_nothing_to_share(texts):
    with pytest.raises(ValueError, match="at least two texts of 2 tokens or more; got [01]"):
        self_overlap(texts, 2)


def test_n_counts_from_one():
    for call in (lambda: repeated_share([1, 2], 0), lambda: self_overlap([[1], [2]], 0)):
        with pytest.raises(ValueError, match="n from 1; got 0"):
            call()
