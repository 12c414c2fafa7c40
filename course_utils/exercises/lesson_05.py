"""Exercises of lesson 05: the loss of a guess, the schedule, clipping, averaging, pooling, calibration."""

import math
from collections.abc import Iterable

import numpy as np
import torch

from course_utils.exercises import lesson_05_wrong as wrong
from course_utils.exercises.expect import expect, expect_close
from course_utils.exercises.framework import Exercise
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
        got = [float(warmup_linear(step, warmup_steps, max_steps)) for step in range(max_steps)]
        tried = f"warmup_linear(step, {warmup_steps}, {max_steps}) for step 0 to {max_steps - 1}"
        expect(
            np.allclose(got[:warmup_steps], rise, atol=1e-3),
            f"Steps 0 to {warmup_steps - 1} are the warm-up. They use {shares(got[:warmup_steps])} of the peak; "
            f"expected {shares(rise)}.",
            "Steps count from 0. Does the first step learn anything, and does the last one of the warm-up reach 1?",
            tried=tried,
        )
        expect(
            np.allclose(got[warmup_steps:], fall, atol=1e-3),
            f"The warm-up is right. Steps {warmup_steps} to {max_steps - 1} use {shares(got[warmup_steps:])} of the "
            f"peak; expected {shares(fall)}.",
            f"The falling line starts at step {warmup_steps - 1}, where the factor is 1, and would meet 0 at step "
            f"{max_steps}, which never runs. How many equal parts is that?",
            tried=tried,
        )


def shares(values) -> str:
    """The first values of a list, two digits each."""
    return ", ".join(f"{value:.2f}" for value in values[:6]) + (", ..." if len(values) > 6 else "")


# 05.3 - clipping


def check_clip_grad_norm(clip_grad_norm) -> None:
    """One factor for all gradients, only when their global norm is above the limit; returns the norm before."""
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) for shape in [(3, 2), (5,), (1, 4)]]
    global_norm = math.sqrt(sum(x * x for gradient in gradients for x in gradient.flatten().tolist()))
    for max_norm, handed in [(global_norm / 3, list), (global_norm * 2, list), (global_norm / 2, iter)]:
        parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        parameters.append(torch.nn.Parameter(torch.zeros(2)))  # frozen or unused: its gradient is None
        returned = clip_grad_norm(handed(parameters), max_norm)
        check_clipped(parameters[:3], gradients, returned, global_norm, max_norm, handed is iter)


def check_clipped(parameters, gradients, returned, global_norm: float, max_norm: float, once: bool) -> None:
    """The norm that was returned, and the gradients as they are now; `once`: the parameters could be read only once."""
    how = "read once, like model.parameters()" if once else "in a list"
    tried = f"parameters {how}: three gradients of global norm {global_norm:.3f}, one None, max_norm={max_norm:.3f}"
    question = "Return the norm as it was before clipping: the root of the sum of all squares, over all tensors."
    expect_close(returned, global_norm, tried=tried, rtol=1e-3, question=question)
    factor = min(1.0, max_norm / global_norm)
    unchanged = all(torch.equal(p.grad, g) for p, g in zip(parameters, gradients, strict=True))
    copies = "Do you write into the gradients themselves? `grad = grad * factor` makes a new tensor."
    passes = "An iterator is empty after one pass: did you go through `parameters` twice?"
    message = f"The norm is right, but the gradients were not scaled (parameters {how})."
    expect(factor == 1.0 or not unchanged, message, passes if once else copies, tried=tried)
    expect_close(
        [parameter.grad for parameter in parameters],
        [gradient * factor for gradient in gradients],
        tried=tried,
        question="Clipping must keep the direction of the whole step. Do all tensors get the same factor, "
        "and none at all while the norm is below the limit?",
        atol=1e-4,
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
    labels = [torch.tensor(row) for row in ([1, 0, 2, 1], [2, 0, 0], [1])]
    predicted = [torch.tensor(row) for row in ([1, 0, 2, 1], [2, 0, 1], [0])]
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
    """The mean over the real tokens of each text, for texts of 1, 4 and 2 tokens padded to 4; zeros for 0 tokens."""
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
    attention_mask = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
    expected[0] = 0.0
    expect_close(
        mean_pool(hidden_states, attention_mask),
        expected,
        tried="the same states, but text 0 has no real token",
        question="A text without tokens has a sum of 0 and a count of 0. What do you divide by?",
    )


# 05.6 - calibration


def check_expected_calibration_error(expected_calibration_error) -> None:
    """The gaps of all bins, each weighted by its share of the predictions; over- and underconfidence both count."""
    confidence = np.array([0.62, 0.65, 0.68, 0.69, 0.66, 0.67, 0.95, 0.97, 0.45])
    correct = np.array([1, 1, 1, 1, 1, 0, 0, 1, 1])
    for num_bins, contents in [
        (10, "six in 0.6-0.7, two in 0.9-1.0, one in 0.4-0.5"),
        (3, "five in 0.67-1, four in 0.33-0.67"),
    ]:
        expected = 0.0
        for low in np.arange(num_bins) / num_bins:
            members = [(p, hit) for p, hit in zip(confidence, correct, strict=True) if low < p <= low + 1 / num_bins]
            expected += abs(sum(p for p, _ in members) - sum(hit for _, hit in members)) / len(confidence)
        expect_close(
            expected_calibration_error(confidence, correct, num_bins),
            float(expected),
            tried=f"nine predictions in {num_bins} bins: {contents}",
            question="A bin with six predictions weighs six times as much as a bin with one, an empty bin nothing. "
            "And can a gap be negative?",
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
        wrong=[
            wrong.starts_at_zero,
            wrong.peaks_twice,
            wrong.ends_at_zero,
            wrong.jumps_after_warmup,
            wrong.never_decays,
        ],
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
        wrong=[
            wrong.clip_each_tensor,
            wrong.clip_each_number,
            wrong.scale_always,
            wrong.adds_the_norms,
            wrong.changes_nothing,
            wrong.reads_parameters_twice,
        ],
        hints=[
            "First collect the gradients that are not None. `torch.linalg.vector_norm` gives the norm of a tensor.",
            "The norm of everything is the norm of the tensors' norms. `grad.mul_(factor)` scales in place. "
            "Go through `parameters` only once.",
        ],
    ),
    Exercise(
        "05.4",
        title="an average over batches of different size",
        solution=overall_accuracy,
        check=check_overall_accuracy,
        minutes=5,
        difficulty=1,
        wrong=[
            wrong.mean_of_batch_means,
            wrong.assumes_full_batches,
            wrong.last_batch_only,
            wrong.forgets_the_class_dim,
            wrong.reads_batches_twice,
        ],
        hints=["Carry two totals through the loop.", "Divide once, after the loop."],
    ),
    Exercise(
        "05.5",
        title="a mean that ignores padding",
        solution=mean_pool,
        check=check_mean_pool,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.mean_over_padding_too,
            wrong.divides_by_the_longest,
            wrong.divides_by_all_tokens,
            wrong.first_token_only,
            wrong.empty_text_is_nan,
        ],
        hints=[
            "`attention_mask.unsqueeze(-1)` is (B, T, 1) and multiplies (B, T, D).",
            "Divide the masked sum by the number of real tokens of each text, (B, 1). `clamp(min=1)` makes 0 / 0 a 0.",
        ],
    ),
    Exercise(
        "05.6",
        title="expected calibration error",
        solution=expected_calibration_error,
        check=check_expected_calibration_error,
        minutes=10,
        difficulty=3,
        wrong=[
            wrong.every_bin_equal,
            wrong.gaps_cancel,
            wrong.worst_bin,
            wrong.empty_bins_are_nan,
            wrong.ignores_num_bins,
        ],
        hints=[
            "`calibration_bins(confidence, correct, num_bins)` gives confidence, accuracy and counts of each bin; "
            "empty bins hold NaN.",
            "The weight of a bin is its count over all counts. `np.nan_to_num` turns NaN into 0.",
        ],
    ),
]
