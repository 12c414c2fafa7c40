"""Broken exercises: each is what the proof must catch, under the status its id stands for in `CAUGHT_AS`."""

import time

import torch

from course_utils.exercises.expect import expect, expect_close, expect_equal
from course_utils.exercises.framework import Exercise


def double(x):
    """Twice x."""
    return 2 * x


def square(x):
    """squares instead of doubling"""
    return x * x


def plus_one(x):
    """adds one instead of doubling"""
    return x + 1


def double_in_place(x):
    """Twice x, written into x."""
    return x.mul_(2)


def check_never_called(double) -> None:
    """Passes on anything callable, so also on the stub."""
    expect(callable(double), f"Expected a function, got {double}.")


def check_one_point(double) -> None:
    """At x = 2, where doubling and squaring agree."""
    expect_equal(double(2), 4)


def check_same_words(double) -> None:
    """Rejects everything wrong, always in the same words."""
    expect(double(3) == 6, "Wrong.", "Is it twice?")


def check_rejects_solution(double) -> None:
    """Expects something else."""
    expect_equal(double(3), 7)


def check_swallows(double) -> None:
    """Turns the stub's own message into a wrong answer."""
    try:
        got = double(3)
    except NotImplementedError:
        got = None
    expect_equal(got, 6)


def check_slow(double) -> None:
    """Takes longer than a learner waits (the test lowers the limit)."""
    time.sleep(0.3)
    expect_equal(double(3), 6)


def check_undocumented(double) -> None:
    expect_equal(double(3), 6)


REMEMBERED = torch.tensor([1.0, 3.0])


def check_shared_input(double) -> None:
    """Uses the same tensor each time and changes it."""
    expect_close(double(REMEMBERED[:1]), torch.tensor([2.0]))
    REMEMBERED.add_(1)


def make(exercise_id, check, solution=double, wrong=(square, plus_one), **options):
    return Exercise(exercise_id, title="double", solution=solution, check=check, wrong=list(wrong), **options)


CAUGHT_AS = {
    "91.1": ("vacuous-check", "passes on the untouched stub"),
    "91.2": ("weak-check", "accepts (pass) an answer that squares instead of doubling"),
    "91.3": ("weak-check", "cannot tell"),
    "91.4": ("error", "the solution does not pass"),
    "91.5": ("error", "instead of todo"),
    "91.6": ("error", "the check takes 0."),
    "91.7": ("error", "no docstring"),
    "91.8": ("error", "another verdict the second time"),
    "91.9": ("error", "changed its argument"),
}
EXERCISES = [
    make("91.1", check_never_called),
    make("91.2", check_one_point),
    make("91.3", check_same_words),
    make("91.4", check_rejects_solution),
    make("91.5", check_swallows),
    make("91.6", check_slow),
    make("91.7", check_undocumented),
    make("91.8", check_shared_input),
    make("91.9", check_shared_input, solution=double_in_place),
]
