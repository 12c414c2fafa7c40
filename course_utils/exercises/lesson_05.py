"""Exercises of lesson 05: the loss of a guess, the schedule, clipping, averaging, pooling, calibration."""

import math
from collections.abc import Iterable

import numpy as np
import torch

from course_utils.exercises.expect import expect, expect_close
from course_utils.exercises.framework import Exercise
from course_utils.exercises.lesson_05_wrong import (
    assumes_full_batches,
    clip_each_number,
    clip_each_tensor,
    divides_by_the_longest,
    every_bin_equal,
    first_token_only,
    gaps_cancel,
    jumps_after_warmup,
    last_batch_only,
    mean_of_batch_means,
    mean_over_padding_too,
    never_decays,
    scale_always,
    starts_at_zero,
    worst_bin,
)
from course_utils.models.sentence_encoder import mean_pool
from course_utils.training.metrics import expected_calibration_error
from course_utils.training.optim import clip_grad_norm
from course_utils.training.schedule import warmup_linear

# 05.1 - what a head that knows nothing pays


def check_untrained_loss(untrained_loss: float) -> None:
    """A head that gives each of three classes the same probability pays -ln(1/3) nats, whatever the label."""
    got = float(untrained_loss)
    uniform = torch.full((1, 3), 0.37, dtype=torch.float64)  # equal logits, whatever their value
    expected = torch.nn.functional.cross_entropy(uniform, torch.tensor([2])).item()
    expect(
        abs(got - expected) < 0.02,
        f"Cross-entropy on three equal logits is not {got:.3f}.",
        "Cross-entropy is minus the natural logarithm of the probability of the right class. What is that probability?",
    )


# 05.2 - warm-up


def check_warmup_linear(warmup_linear) -> None:
    """Rises from 1/warmup_steps to 1 at step warmup_steps - 1, then falls in equal parts to 0 at step max_steps."""
    for warmup_steps, max_steps in [(4, 10), (1, 5), (3, 50)]:
        rise = np.linspace(0, 1, warmup_steps + 1)[1:]
        fall = np.linspace(1, 0, max_steps - warmup_steps + 2)[1:-1]
        expected = np.concatenate([rise, fall]).round(4).tolist()
        got = [round(float(warmup_linear(step, warmup_steps, max_steps)), 4) for step in range(max_steps)]
        expect(
            abs(got[0] - expected[0]) < 1e-3,
            f"With warmup_steps={warmup_steps}, step 0 uses {got[0]:.3f} of the peak instead of {expected[0]:.3f}.",
            "Steps count from 0. Does your first step learn anything, and does the rise have warmup_steps equal parts?",
        )
        expect_close(
            got,
            expected,
            tried=f"warmup_linear(step, {warmup_steps}, {max_steps}) for step 0 to {max_steps - 1}",
            question=f"The peak is step {warmup_steps - 1}, and the line from there would meet 0 at step {max_steps}. "
            "Is there a jump where one piece ends and the other begins?",
        )


# 05.3 - clipping


def check_clip_grad_norm(clip_grad_norm) -> None:
    """One factor for all gradients, only when their global norm is above the limit; returns the norm before."""
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) for shape in [(3, 2), (5,), (1, 4)]]
    global_norm = math.sqrt(sum(x * x for gradient in gradients for x in gradient.flatten().tolist()))
    for max_norm in (global_norm / 3, global_norm * 2):
        parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        parameters.append(torch.nn.Parameter(torch.zeros(2)))  # frozen or unused: its gradient is None
        returned = clip_grad_norm(parameters, max_norm)
        factor = min(1.0, max_norm / global_norm)
        tried = f"three gradients of global norm {global_norm:.3f}, a parameter without one, max_norm={max_norm:.3f}"
        expect_close(
            [parameter.grad for parameter in parameters[:3]],
            [gradient * factor for gradient in gradients],
            tried=tried,
            question="Clipping must keep the direction of the whole step. Do all tensors get the same factor, "
            "and none at all while the norm is below the limit?",
            atol=1e-4,
        )
        expect_close(
            returned, global_norm, tried=tried, rtol=1e-3, question="Return the norm as it was before clipping."
        )


# 05.4 - averages over batches


def overall_accuracy(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The accuracy over all examples of `batches`: pairs of logits (B, C) and labels (B,) whose B differ."""
    num_correct = num_examples = 0
    for logits, labels in batches:
        num_correct += (logits.argmax(dim=-1) == labels).sum().item()
        num_examples += len(labels)
    return num_correct / num_examples


def check_overall_accuracy(overall_accuracy) -> None:
    """Correct predictions over all batches, divided once by the number of examples; batches of 4, 3 and 1."""
    labels = [torch.tensor(row) for row in ([0, 1, 2, 1], [2, 0, 0], [1])]
    predicted = [torch.tensor(row) for row in ([0, 1, 2, 1], [2, 0, 1], [0])]
    batches = [(torch.nn.functional.one_hot(p, 3).float(), y) for p, y in zip(predicted, labels, strict=True)]
    pairs = [(p, y) for ps, ys in zip(predicted, labels, strict=True) for p, y in zip(ps, ys, strict=True)]
    expect_close(
        overall_accuracy(iter(batches)),
        sum(int(p == y) for p, y in pairs) / len(pairs),
        tried="batches of 4, 3 and 1 examples with 4, 2 and 0 right predictions",
        question="Six of eight examples are right. Does the lone example of the last batch weigh more than the others?",
    )


# 05.5 - pooling


def check_mean_pool(mean_pool) -> None:
    """The mean over the real tokens of each text, for texts of 1, 4 and 2 tokens padded to 4."""
    generator = torch.Generator().manual_seed(1)
    hidden_states = torch.randn(3, 4, 5, generator=generator) + 2.0
    attention_mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
    expected = torch.stack(
        [states[: int(mask.sum())].double().mean(0) for states, mask in zip(hidden_states, attention_mask, strict=True)]
    )
    expect_close(
        mean_pool(hidden_states, attention_mask),
        expected,
        tried="states (3, 4, 5) and a mask with 1, 4 and 2 real tokens",
        question="Text 0 has one real token, so its mean is that token's vector. "
        "Does padding reach the sum, or the count?",
    )


# 05.6 - calibration


def check_expected_calibration_error(expected_calibration_error) -> None:
    """The gaps of all bins, each weighted by its share of the predictions; over- and underconfidence both count."""
    confidence = np.array([0.62, 0.65, 0.68, 0.69, 0.66, 0.67, 0.95, 0.97, 0.45])
    correct = np.array([1, 1, 1, 1, 1, 0, 0, 1, 1])
    expected = 0.0
    for low, high in [(0.4, 0.5), (0.6, 0.7), (0.9, 1.0)]:
        members = [(p, hit) for p, hit in zip(confidence, correct, strict=True) if low < p <= high]
        gap = abs(sum(p for p, _ in members) - sum(hit for _, hit in members)) / len(members)
        expected += len(members) / len(confidence) * gap
    expect_close(
        expected_calibration_error(confidence, correct, 10),
        float(expected),
        tried="nine predictions: six in the bin 0.6-0.7, two in 0.9-1.0, one in 0.4-0.5",
        question="A bin with six predictions weighs six times as much as a bin with one. And can a gap be negative?",
    )


EXERCISES = [
    Exercise(
        "05.1",
        title="the loss of a head that knows nothing",
        name="untrained_loss",
        solution=1.0986,
        check=check_untrained_loss,
        minutes=5,
        difficulty=1,
        wrong=[
            (0.3333, "that is the probability of the right class, not minus its logarithm"),
            (-1.0986, "that is the logarithm of the probability; the loss is minus that"),
            (1.585, "that is the logarithm to base 2: bits instead of nats"),
            (0.6931, "that is the loss for two classes"),
        ],
        hints=[
            "A head without knowledge gives each class the same probability.",
            "The loss of one text is -ln(probability of its class).",
        ],
    ),
    Exercise(
        "05.2",
        title="warm up, then decay",
        solution=warmup_linear,
        check=check_warmup_linear,
        minutes=10,
        difficulty=2,
        wrong=[starts_at_zero, jumps_after_warmup, never_decays],
        hints=[
            "Two cases: step < warmup_steps, and the rest. What do steps 0 and warmup_steps - 1 return?",
            "The falling line runs from (warmup_steps - 1, 1) to (max_steps, 0). How many parts is that?",
        ],
    ),
    Exercise(
        "05.3",
        title="clip by the global norm",
        solution=clip_grad_norm,
        check=check_clip_grad_norm,
        minutes=15,
        difficulty=3,
        guard=False,
        wrong=[clip_each_tensor, clip_each_number, scale_always],
        hints=[
            "First collect the gradients that are not None. `torch.linalg.vector_norm` gives the norm of a tensor.",
            "The norm of everything is the norm of the tensors' norms. `grad.mul_(factor)` scales in place.",
        ],
    ),
    Exercise(
        "05.4",
        title="an average over batches of different size",
        solution=overall_accuracy,
        check=check_overall_accuracy,
        minutes=5,
        difficulty=1,
        wrong=[mean_of_batch_means, assumes_full_batches, last_batch_only],
        hints=["Carry two totals through the loop.", "Divide once, after the loop."],
    ),
    Exercise(
        "05.5",
        title="a mean that ignores padding",
        solution=mean_pool,
        check=check_mean_pool,
        minutes=10,
        difficulty=2,
        wrong=[mean_over_padding_too, divides_by_the_longest, first_token_only],
        hints=[
            "`attention_mask.unsqueeze(-1)` is (B, T, 1) and multiplies (B, T, D).",
            "Divide the masked sum by the number of real tokens of each text, (B, 1).",
        ],
    ),
    Exercise(
        "05.6",
        title="expected calibration error",
        solution=expected_calibration_error,
        check=check_expected_calibration_error,
        minutes=10,
        difficulty=3,
        wrong=[every_bin_equal, gaps_cancel, worst_bin],
        hints=[
            "`calibration_bins(confidence, correct, num_bins)` gives confidence, accuracy and counts of each bin; "
            "empty bins hold NaN.",
            "The weight of a bin is its count over all counts. `np.nan_to_num` turns NaN into 0.",
        ],
    ),
]
