"""Sound exercises, for the framework's own tests: a function, a prediction, a class."""

import random

import numpy as np
import torch

from course_utils.exercises.expect import expect, expect_close, expect_equal
from course_utils.exercises.framework import Exercise


def masked_mean(x, mask):
    """Mean over T of the rows of x (B, T, D) where mask (B, T) is True."""
    weights = mask.unsqueeze(-1).to(x.dtype)
    return (x * weights).sum(1) / weights.sum(1)


def check_masked_mean(masked_mean) -> None:
    """Means of two ragged rows, against a loop."""
    x, mask = torch.randn(2, 3, 4), torch.tensor([[True, True, False], [True, True, True]])
    random.random(), np.random.rand()  # a check that draws: the framework restores
    expected = torch.stack(
        [torch.stack([row[i] for i in range(3) if keep[i]]).mean(0) for row, keep in zip(x, mask, strict=True)]
    )
    expect_close(masked_mean(x, mask), expected, question="How many real rows does each mean have?")


def plain_mean(x, mask):
    """ignores the mask"""
    return x.mean(1)


def sum_only(x, mask):
    """forgets to divide"""
    return (x * mask.unsqueeze(-1)).sum(1)


def check_steps(steps: int) -> None:
    """Ten examples in batches of four."""
    expect(steps == 3, f"It is not {steps} steps.", "What happens to the last two examples?")


class Counter:
    """Counts words."""

    def __init__(self, words):
        self.words = list(words)

    def most_common(self):
        """The word seen most often."""
        return max(self.words, key=self.words.count)


class FirstWord(Counter):
    """returns the first word"""

    def most_common(self):
        return self.words[0]


class LongestWord(Counter):
    """returns the longest word"""

    def most_common(self):
        return max(self.words, key=len)


def check_counter(counter) -> None:
    """The most common of four words."""
    expect_equal(counter(["b", "a", "cc", "a"]).most_common(), "a", question="What is counted?")


EXERCISES = [
    Exercise("90.1", title="a mean", solution=masked_mean, check=check_masked_mean, wrong=[plain_mean, sum_only]),
    Exercise(
        "90.2",
        title="steps",
        name="steps",
        solution=3,
        check=check_steps,
        wrong=[(2, "drops the last batch"), (10, "counts examples, not batches")],
    ),  # fmt: skip
    Exercise("90.3", title="a class", solution=Counter, check=check_counter, wrong=[FirstWord, LongestWord]),
]


def make_drawing_exercise(draw):
    """Exercise 90.1 with a check that also calls `draw`, which draws random numbers somewhere."""

    def check(masked_mean) -> None:
        """Draws, then checks."""
        draw()
        check_masked_mean(masked_mean)

    return Exercise("90.1", title="a mean", solution=masked_mean, check=check, wrong=[plain_mean, sum_only])
