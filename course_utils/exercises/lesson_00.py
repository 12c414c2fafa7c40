"""Exercises of lesson 00: the parameters of a small network, first by hand, then as a function."""

from collections.abc import Callable

import torch

from course_utils.exercises.expect import expect, expect_equal
from course_utils.exercises.framework import Exercise


def num_parameters_of(layer_sizes: list[int]) -> int:
    """Oracle: torch builds the layers and we count what it holds."""
    layers = [torch.nn.Linear(*sizes) for sizes in zip(layer_sizes[:-1], layer_sizes[1:], strict=True)]
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def check_num_parameters(num_parameters: int) -> None:
    """784·128 + 128·64 + 64·10 weights and 128 + 64 + 10 biases, as torch counts them."""
    expected = num_parameters_of([784, 128, 64, 10])
    got = num_parameters.item() if hasattr(num_parameters, "item") else num_parameters
    expect(
        got == expected,
        f"It is not {got:,}: that is too {'few' if got < expected else 'many'}.",
        "How many numbers does one layer need to turn its inputs into its outputs, and what does it add at the end?",
    )


def count_parameters(layer_sizes: list[int]) -> int:
    """Weights and biases of a fully connected network with these layer sizes, inputs first: [784, 128, 64, 10]."""
    count = 0
    for num_inputs, num_outputs in zip(layer_sizes[:-1], layer_sizes[1:], strict=True):
        count += num_inputs * num_outputs + num_outputs
    return count


def check_count_parameters(count_parameters: Callable[[list[int]], int]) -> None:
    """One, two and three layers of odd sizes, as torch counts them."""
    # Three layers first: with two, "the first only" and "all but the last" are the same mistake.
    for layer_sizes in ([4, 7, 2, 5], [3, 5], [6, 5, 9]):
        expect_equal(
            count_parameters(layer_sizes),
            num_parameters_of(layer_sizes),
            question="Which pairs of neighbouring sizes make a layer, and how many numbers does each pair add?",
        )


def weights_only(layer_sizes: list[int]) -> int:
    """forgets the biases: one per output of each layer"""
    return sum(a * b for a, b in zip(layer_sizes[:-1], layer_sizes[1:], strict=True))


def bias_per_input(layer_sizes: list[int]) -> int:
    """gives a bias to every input of a layer; biases are added to its outputs"""
    return sum(a * b + a for a, b in zip(layer_sizes[:-1], layer_sizes[1:], strict=True))


def stops_early(layer_sizes: list[int]) -> int:
    """leaves out the last layer"""
    return count_parameters(layer_sizes[:-1])


def returns_in_loop(layer_sizes: list[int]) -> int:
    """returns from inside the loop, so that only the first layer is counted"""
    return count_parameters(layer_sizes[:2])


def keeps_only_last(layer_sizes: list[int]) -> int:
    """counts the last layer only: with `=` instead of `+=` each layer replaces the one before"""
    return count_parameters(layer_sizes[-2:])


def skips_first(layer_sizes: list[int]) -> int:
    """leaves out the first layer, the one that reads the inputs"""
    return count_parameters(layer_sizes[1:])


def one_bias_per_layer(layer_sizes: list[int]) -> int:
    """gives each layer a single bias; every output of a layer has its own"""
    return weights_only(layer_sizes) + len(layer_sizes) - 1


def bias_for_inputs_too(layer_sizes: list[int]) -> int:
    """also gives a bias to each input of the network, which is given, not computed"""
    return weights_only(layer_sizes) + sum(layer_sizes)


def counts_neurons(layer_sizes: list[int]) -> int:
    """counts neurons; parameters sit on the connections between them"""
    return sum(layer_sizes)


def multiplies_everything(layer_sizes: list[int]) -> int:
    """multiplies all sizes; layers stand one after the other, so their parameters add up"""
    product = 1
    for size in layer_sizes:
        product *= size
    return product


EXERCISES = [
    Exercise(
        "00.1",
        title="parameters by hand",
        name="num_parameters",
        solution=109_386,
        check=check_num_parameters,
        minutes=5,
        difficulty=1,
        wrong=[
            (109_184, "counts the weights and forgets the biases"),
            (110_160, "gives biases to the inputs of each layer instead of its outputs"),
            (110_170, "also gives a bias to each of the 784 inputs, which are given, not computed"),
            (986, "counts neurons; parameters sit on the connections between them"),
            (108_736, "leaves out the last layer"),
            (109_187, "gives each layer a single bias; every output of a layer has its own"),
            (100_480, "counts the first layer only"),
            (64_225_280, "multiplies all sizes; layers stand one after the other, so their parameters add up"),
        ],
        hints=[
            "Begin with the last layer: 64 inputs, 10 outputs. Each output: a weighted sum of all inputs, plus a bias.",
            "The last layer has 64·10 + 10 = 650 parameters. Do the same for 784 → 128 and 128 → 64, and add up.",
        ],
    ),
    Exercise(
        "00.2",
        title="parameters of any network",
        solution=count_parameters,
        check=check_count_parameters,
        minutes=10,
        difficulty=1,
        wrong=[
            weights_only,
            bias_per_input,
            bias_for_inputs_too,
            one_bias_per_layer,
            returns_in_loop,
            keeps_only_last,
            skips_first,
            stops_early,
            counts_neurons,
            multiplies_everything,
        ],
        hints=[
            "A network with the sizes [4, 7, 2] has two layers: 4 → 7 and 7 → 2.",
            "`zip(layer_sizes[:-1], layer_sizes[1:])` gives the pairs (4, 7) and (7, 2).",
        ],
    ),
]
