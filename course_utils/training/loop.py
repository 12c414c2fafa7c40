"""The training loop of the course: one order of operations, any module, any batches.

Lesson 05 writes the same loop out before it imports this one. It evaluates nothing and saves nothing.

A batch is a dict of tensors; `model(**batch)` returns an object with a scalar `loss`, as models of transformers do.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from course_utils.config import TrainConfig
from course_utils.training.optim import clip_grad_norm, make_adamw
from course_utils.training.schedule import make_schedule

Batch = Mapping[str, torch.Tensor]


class Batches(Protocol):
    """Batches of one epoch at a time: a length, and an iterator that begins the next epoch."""

    def __len__(self) -> int: ...

    def __iter__(self): ...


@dataclass
class History:
    """What happened, one entry for each step: loss before the step, lr of the first group, norm before clipping."""

    losses: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.losses)


def to_device(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """The batch with every tensor on `device`."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def device_of(model: nn.Module) -> torch.device:
    """Where a module's parameters live (all of them on one device)."""
    return next(model.parameters()).device


def train_step(
    model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, scheduler, grad_clip_norm: float
) -> tuple[float, float, float]:
    """One optimizer update; returns (loss, lr, grad_norm) as it was done."""
    lr = optimizer.param_groups[0]["lr"]
    loss = model(**batch).loss
    loss.backward()
    grad_norm = clip_grad_norm(model.parameters(), grad_clip_norm)
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item(), lr, grad_norm.item()


def train(
    model: nn.Module,
    batches: Batches,
    config: TrainConfig,
    *,
    head_names: Iterable[str] = ("classifier",),
    on_step: Callable[[int, History], None] | None = None,
) -> History:
    """Train for `config.num_epochs` passes over `batches` and return the history; the model is changed in place.

    Seeds torch with `config.seed`, so that dropout falls the same way in every run; leaves the model in eval mode.
    `on_step(step, history)` is called after each step, for progress displays.
    Raises FloatingPointError as soon as the loss is not finite.
    """
    max_steps = config.num_epochs * len(batches)
    optimizer = make_adamw(model, config, tuple(head_names))
    scheduler = make_schedule(optimizer, config.warmup_steps(max_steps), max_steps)
    history, device, start = History(), device_of(model), time.perf_counter()
    torch.manual_seed(config.seed)
    model.train()
    for _ in range(config.num_epochs):
        for batch in batches:
            record = train_step(model, to_device(batch, device), optimizer, scheduler, config.grad_clip_norm)
            append(history, record)
            if on_step:
                on_step(len(history), history)
    model.eval()
    history.seconds = time.perf_counter() - start
    return history


def append(history: History, record: tuple[float, float, float]) -> None:
    """Add one step's (loss, lr, grad_norm) to a history. Raises FloatingPointError for a loss that is not finite."""
    loss, lr, grad_norm = record
    if not torch.isfinite(torch.tensor(loss)):
        raise FloatingPointError(
            f"the loss of step {len(history)} is {loss}, at lr {lr:.2g} and gradient norm {grad_norm:.3g}. "
            "Lower the learning rate or warm up for longer."
        )
    history.losses.append(loss)
    history.lrs.append(lr)
    history.grad_norms.append(grad_norm)
