"""Exercises of lesson 00: the warm-up, parameters of a small network."""

import itertools

from course_utils.exercises.expect import expect
from course_utils.exercises.framework import Exercise


def count_weights_and_biases(layer_sizes: list[int]) -> int:
    """Oracle: every connection and every bias counted one by one."""
    count = 0
    for num_inputs, num_outputs in itertools.pairwise(layer_sizes):
        for _ in range(num_outputs):
            count += sum(1 for _ in range(num_inputs)) + 1
    return count


def check_num_parameters(num_parameters: int) -> None:
    """784·128 + 128·64 + 64·10 weights and 128 + 64 + 10 biases."""
    expected = count_weights_and_biases([784, 128, 64, 10])
    got = int(num_parameters)
    expect(
        got == expected,
        f"A 784-128-64-10 network does not have {got:,} parameters ({'too few' if got < expected else 'too many'}).",
        "Each of the three layers has inputs × outputs weights. What else does a layer add to its result?",
    )


EXERCISES = [
    Exercise(
        "00.1",
        title="count the parameters of a network",
        name="num_parameters",
        solution=109_386,
        check=check_num_parameters,
        minutes=5,
        difficulty=1,
        wrong=[
            (109_184, "counts the weights but forgets the biases"),
            (109_194, "counts one bias per layer input plus output instead of one per output"),
        ],
        hints=["one layer"],
    ),
]
