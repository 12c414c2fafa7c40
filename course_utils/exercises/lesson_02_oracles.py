"""What the checks of lesson 02 compare attention with: loops in float64, and two rules that any weights must obey."""

import math

import torch

from course_utils.exercises.expect import expect

ONE_HOT = "one-hot values, which give back the weights"


def slow_weights(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The weights (B, H, T, S) by loops in float64; a query that sees nothing gets zeros."""
    B, H, T, K = q.shape
    weights = torch.zeros(B, H, T, k.shape[2], dtype=torch.float64)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                seen = [s for s in range(k.shape[2]) if mask[b, 0, t, s]]
                parts = [math.exp(float(q[b, h, t].double() @ k[b, h, s].double()) / math.sqrt(K)) for s in seen]
                for s, part in zip(seen, parts, strict=True):
                    weights[b, h, t, s] = part / sum(parts)
    return weights


def check_sums(weights: torch.Tensor) -> None:
    """The weights of every query add up to 1; names the first query where they do not."""
    sums = weights.sum(-1)
    off = ((sums - 1).abs() > 1e-4).nonzero().tolist()
    if off:
        b, h, t = off[0]
        expect(
            False,
            f"For query {t} of batch {b}, head {h}, the five weights add up to {sums[b, h, t]:.2f}; it should be 1.",
            "Over which dimension does softmax run, and is the mask applied before it?",
            tried=ONE_HOT,
        )


def check_hidden(weights: torch.Tensor, mask: torch.Tensor) -> None:
    """No hidden key gets weight; names the first that does."""
    leaks = ((weights.abs() > 1e-6) & ~mask).nonzero().tolist()
    if leaks:
        b, h, t, key = leaks[0]
        got, visible = weights[b, h, t, key], weights[b, h, t][mask[b, 0, t]].sum()
        expect(
            False,
            f"Key {key} is hidden from query {t} of batch {b} and gets the weight {got:.3g} in head {h}; "
            f"the visible keys get {visible:.3g} together.",
            "What must stand in a score so that e to it is 0, and do you put it where the mask is False?",
            tried=ONE_HOT,
        )


def expect_shape(got, shape: tuple[int, ...], *, tried: str, question: str) -> None:
    """The shape of a tensor; anything else is left to the comparison of values."""
    if isinstance(got, torch.Tensor):
        expect(tuple(got.shape) == shape, f"Expected shape {shape}, got {tuple(got.shape)}.", question, tried=tried)
