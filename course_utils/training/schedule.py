"""Learning-rate schedules: pure functions from a step to a factor of the peak learning rate. They hold no state."""

import math

import torch


def warmup_linear(step: int, warmup_steps: int, max_steps: int) -> float:
    """The share of the peak learning rate that step `step` uses; steps count from 0 to `max_steps` - 1.

    Rises in equal parts: step 0 uses 1 / warmup_steps, so that no step is wasted at zero, and step warmup_steps - 1 the
    whole. Then falls in a straight line, which would reach 0 at step `max_steps`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (max_steps - step) / (max_steps - warmup_steps + 1))


def warmup_cosine(step: int, warmup_steps: int, max_steps: int, min_share: float = 0.1) -> float:
    """The share of the peak learning rate that step `step` uses; rises as `warmup_linear`, then falls as half a cosine.

    It would reach `min_share` at step `max_steps`: slow at first, fastest in the middle, slow at the end.
    Loshchilov and Hutter 2017, *SGDR*, section 3, without restarts.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps))
    return min_share + (1 - min_share) * (1 + math.cos(math.pi * progress)) / 2


def make_schedule(
    optimizer: torch.optim.Optimizer, warmup_steps: int, max_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """`warmup_linear` for every group of an optimizer, each scaled by its own peak learning rate.

    Raises ValueError unless 1 <= warmup_steps <= max_steps.
    """
    if not 1 <= warmup_steps <= max_steps:
        raise ValueError(f"warm-up takes 1 to all of the steps; got {warmup_steps} of {max_steps}.")
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_linear(step, warmup_steps, max_steps))
