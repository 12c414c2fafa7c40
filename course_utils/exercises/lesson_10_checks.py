"""Checks of lesson 10. Oracles: torch's own counter on real models, sums written out, a search by halves."""

import itertools
import math
import numbers

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_utils.data.sentiment import Split, Tweet
from course_utils.exercises.describe import describe
from course_utils.exercises.expect import expect, expect_close
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig

SIZES = {"vocab_size": 13, "d_model": 6, "num_heads": 2, "num_layers": 2, "d_ff": 10, "context_length": 12}


def counted_flops(config: GPTConfig, T: int) -> int:
    """What torch counts while a real model learns from one text of T tokens, per token."""
    from torch.utils.flop_counter import FlopCounterMode

    model, ids = GPT(config), torch.zeros(1, T, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    return counter.get_total_flops() // T


def check_flops(training_flops) -> None:
    """Equal to what torch counted, per token, while models of five shapes learned; T differs from the context."""
    for changes, T in [
        ({}, 5),
        ({"num_layers": 3}, 5),
        ({"vocab_size": 29}, 7),
        ({"d_ff": 17}, 7),
        ({"d_model": 10, "context_length": 20}, 9),
    ]:
        sizes = SIZES | changes
        config = GPTConfig(**sizes)
        got, expected = training_flops(config, T), counted_flops(config, T)
        is_number = isinstance(got, numbers.Real) and not isinstance(got, bool)
        expect(is_number, f"Expected a number, got {describe(got)}.", "Return one number: the operations of a token.")
        expect(
            got == expected,
            f"torch counted {expected:,} operations a token, you count {got:,}: {got / expected:.3f} times as many.",
            "A layer multiplies by four matrices of D x D and two of D x d_ff, with T keys and T values; the output "
            "layer by one of D x V. Each multiplication brings an addition. What does the way back cost?",
            tried=f"GPTConfig({', '.join(f'{name}={size}' for name, size in sizes.items())}), T = {T}",
        )


def check_gigabytes(gigabytes) -> None:
    """1,557,611,200 parameters with a gradient and two moments each, 4 bytes a number: 24.9 GB."""
    question = "How many numbers does training keep for each parameter, and how many bytes has each?"
    is_number = isinstance(gigabytes, numbers.Real) and not isinstance(gigabytes, bool)
    expect(is_number, f"Expected a number, got {describe(gigabytes)}.", "Write the gigabytes as a plain number.")
    is_right = abs(gigabytes - 1_557_611_200 * 16 / 1e9) < 0.5
    expect(is_right, f"About {gigabytes:,.0f} GB is not what training keeps.", question)


def line_by_sums(x: list[float], y: list[float]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line, by the textbook's sums."""
    n = len(x)
    x_mean, y_mean = sum(x) / n, sum(y) / n
    slope = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / sum((a - x_mean) ** 2 for a in x)
    return slope, y_mean - slope * x_mean


def check_fit(fit_power_law) -> None:
    """A law without noise found exactly, with a floor of 0 and of 1.7; noisy losses, as a line by hand has them."""
    sizes = [2e4, 9e4, 3e5, 7e5, 4e6]
    question = (
        "Take the floor off, then logarithms of sizes and losses: a straight line. The factor comes from its "
        "intercept, the exponent from its slope. The exponent is positive where losses fall."
    )
    for floor in (0.0, 1.7):
        losses = [floor + 9.0 * N**-0.15 for N in sizes]
        tried = f"losses = {floor} + 9 * sizes ** -0.15"
        expect_close(fit_power_law(sizes, losses, floor), (9.0, 0.15), tried=tried, question=question, rtol=1e-3)
    noisy = [loss * factor for loss, factor in zip(losses, [1.02, 0.97, 1.01, 1.03, 0.99], strict=True)]
    slope, intercept = line_by_sums([math.log(N) for N in sizes], [math.log(loss - 1.7) for loss in noisy])
    expected = (math.exp(intercept), -slope)
    expect_close(fit_power_law(sizes, noisy, 1.7), expected, tried="noisy losses", question=question, rtol=1e-3)


def size_by_halves(flops: float, ratio: float) -> float:
    """The N with 6 * N * (ratio * N) = flops, by cutting an interval in half."""
    low, high = 0.0, flops
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if 6 * middle * ratio * middle < flops else (low, middle)
    return low


def check_budget(chinchilla_optimal) -> None:
    """For four budgets and two ratios, N by a search, D as the ratio says; together they cost the budget."""
    question = "Two conditions: 6 * N * D is the budget, and D / N is the ratio. Which of the two does yours miss?"
    for flops, ratio in [(1e15, 20.0), (3.14e23, 20.0), (5.76e23, 20.0), (6e18, 7.0)]:
        N = size_by_halves(flops, ratio)
        tried = f"flops = {flops:.3g}, tokens_per_parameter = {ratio:g}"
        got = chinchilla_optimal(flops, ratio)
        is_pair = isinstance(got, tuple | list) and len(got) == 2 and all(isinstance(n, numbers.Real) for n in got)
        order = "Return parameters and tokens, in this order."
        expect(is_pair, f"Expected a pair of numbers, got {describe(got)}.", order)
        your_N, your_D = map(float, got)
        expect(your_N > 0, f"You answered N = {your_N:.4g} parameters.", order, tried=tried)
        costs = f"You answered N = {your_N:.4g} and D = {your_D:.4g}: {your_D / your_N:.3g} tokens per parameter, and "
        costs += f"6 N D is {6 * your_N * your_D / flops:.3g} times the budget."
        is_right = math.isclose(your_N, N, rel_tol=1e-3) and math.isclose(your_D, ratio * N, rel_tol=1e-3)
        expect(is_right, costs, question, tried=tried)


def check_examples(draw_examples) -> None:
    """From the training split alone, no repeats, classes even, order mixed; the seed decides; too few are an error."""
    parts = [
        [Tweet(f"{part} {label}.{i}", label) for label in range(3) for i in range(11)]
        for part in ("train", "validation", "test")
    ]
    split = Split(*parts, class_names=("a", "b", "c"))
    for num_shots in (1, 3, 7, 12):
        draws = [check_one_draw(draw_examples, split, num_shots, seed) for seed in range(6)]
        again = draw_examples(split, num_shots, 3)
        same = "Expected the same examples for the same seed, got others."
        expect(again == draws[3], same, "Do you make `random.Random(seed)` inside the function?")
        differs = any(draw != draws[0] for draw in draws)
        expect(differs, "Six seeds drew the same examples.", "Does the seed reach the random numbers?")
    check_order([[tweet.label for tweet in draw] for draw in draws])
    check_too_few(draw_examples, split)


def check_order(orders: list[list[int]]) -> None:
    """The labels of six prompts of 12: not class after class in all of them, and not one order for all seeds."""
    question = "A model leans towards the labels it has read last. Are the examples shuffled at the end?"
    num_changes = [sum(a != b for a, b in itertools.pairwise(order)) for order in orders]
    expect(any(changes > 2 for changes in num_changes), f"Each draw has class after class: {orders[0]}.", question)
    is_varied = any(order != orders[0] for order in orders)
    expect(is_varied, f"The labels come in the same order for every seed: {orders[0]}.", question)


def check_too_few(draw_examples, split: Split) -> None:
    """Twelve examples of three classes, one of which has three texts: a ValueError."""
    few = [t for t in split.train if t.label != 2] + [t for t in split.train if t.label == 2][:3]
    short = Split(few, split.validation, split.test, class_names=split.class_names)
    try:
        got = draw_examples(short, 12, 0)
    except ValueError:
        return
    counts = [sum(tweet.label == label for tweet in got) for label in range(3)]
    expect(
        False,
        f"A class has only 3 training texts, 12 examples need 4 of it. Expected a ValueError, got {counts} per class.",
        "`rng.sample(items, k)` raises one where there are fewer than k; a slice does not. Which do you use?",
        tried="num_shots = 12, three classes with 11, 11 and 3 training texts",
    )


def check_one_draw(draw_examples, split: Split, num_shots: int, seed: int) -> list[Tweet]:
    """One draw: number, origin, repeats and balance; returns it."""
    tried = f"num_shots = {num_shots}, seed = {seed}"
    before = list(split.train)
    got = draw_examples(split, num_shots, seed)
    is_kept = split.train == before
    expect(is_kept, "Your function changed the order of `split.train`.", "Do you shuffle the list itself?", tried=tried)
    is_list = isinstance(got, list) and all(isinstance(tweet, Tweet) for tweet in got)
    expect(is_list, f"Expected a list of tweets, got {describe(got)}.", "Return the tweets themselves.", tried=tried)
    question = "`num_shots` counts the examples of all classes together. What if the classes do not divide it?"
    expect(len(got) == num_shots, f"Examples wanted: {num_shots}, drawn: {len(got)}.", question, tried=tried)
    for name in ("test", "validation"):
        leaked = [tweet.text for tweet in got if tweet in getattr(split, name)]
        question = "Who judges on a text must not show its label in the prompt. Which split may examples come from?"
        expect(
            not leaked,
            f"Texts of the {name} set are among your {num_shots} examples: {leaked[:2]}.",
            question,
            tried=tried,
        )
    repeats = len(got) - len(set(got))
    expect(
        repeats == 0,
        f"Of {num_shots} examples only {num_shots - repeats} are different.",
        "Do you draw without replacement?",
        tried=tried,
    )
    counts = [sum(tweet.label == label for tweet in got) for label in range(3)]
    even = max(counts) - min(counts) <= 1
    expect(even, f"The classes are uneven: {counts}.", "How many does each class get, at least?", tried=tried)
    return got


def check_scores(label_scores) -> None:
    """Three labels of 1, 3 and 2 tokens: the mean of the log-probabilities of their tokens, picked one by one."""
    g = torch.Generator().manual_seed(0)
    labels = [[4], [1, 0, 3], [2, 4]]
    log_probs = [(2 * torch.randn(len(ids), 5, generator=g)).log_softmax(-1) for ids in labels]
    expected = [sum(rows[r, i].item() for r, i in enumerate(ids)) / len(ids)
                for rows, ids in zip(log_probs, labels, strict=True)]  # fmt: skip
    question = (
        "Row r is about the label's token r; take that token's log-probability. Labels have 1, 3 and 2 tokens: what "
        "makes their scores comparable?"
    )
    tried = "three labels of 1, 3 and 2 tokens, V = 5"
    expect_close(label_scores(log_probs, labels), torch.tensor(expected), tried=tried, question=question)
