"""Training a model with two objectives at once, hidden words and next sentences, and measuring each on its own.

Takes any module that returns `loss`, `mlm_loss`, `nsp_loss`, `mlm_logits` (of the labelled positions) and `nsp_logits`,
as `BertForPreTraining` does. The batches are `course_utils.data.pretraining`; this module only counts and steps.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.config import TrainConfig
from course_utils.training.loop import Batch, device_of, to_device
from course_utils.training.optim import clip_grad_norm
from course_utils.training.schedule import warmup_linear


class StepBatches(Protocol):
    """Batches by step: how many there are, and the one of a step."""

    def __len__(self) -> int: ...

    def batch(self, step: int) -> dict[str, torch.Tensor]: ...


@dataclass
class PretrainingHistory:
    """One entry for each step, in nats: the loss of the hidden words and of the next sentence (0 if switched off)."""

    mlm_losses: list[float] = field(default_factory=list)
    nsp_losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    num_tokens: int = 0  # read so far, padding not counted
    seconds: float = 0.0


@dataclass(frozen=True)
class PretrainingEvaluation:
    """Held-out averages: nats per hidden word and per pair, and the shares that were guessed right."""

    mlm_loss: float
    mlm_accuracy: float
    nsp_loss: float
    nsp_accuracy: float
    num_targets: int
    num_pairs: int


def pretrain(
    model: nn.Module,
    batches: StepBatches,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    *,
    first_step: int = 0,
    use_nsp: bool = True,
    on_step: Callable[[int, PretrainingHistory], None] | None = None,
) -> PretrainingHistory:
    """Steps `first_step` to `len(batches)` - 1 of a run; the model is changed in place and left in eval mode.

    The learning rate is a function of the step (`warmup_linear` of each group's own peak, `initial_lr`), so a run that
    goes on needs no schedule to restore. `on_step(steps_done, history)` is called after each step. Raises
    FloatingPointError as soon as a loss is not finite.
    """
    max_steps, history, start = len(batches), PretrainingHistory(), time.perf_counter()
    warmup_steps, device = config.warmup_steps(max_steps), device_of(model)
    model.train()
    for step in range(first_step, max_steps):
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * warmup_linear(step, warmup_steps, max_steps)
        batch = to_device(batches.batch(step), device)
        history.num_tokens += int(batch["attention_mask"].sum())
        if not use_nsp:
            batch.pop("next_sentence_label", None)
        output = model(**batch)
        if not torch.isfinite(output.loss):
            raise FloatingPointError(
                f"the loss of step {step} is {output.loss.item()}. Lower the learning rate or warm up for longer."
            )
        output.loss.backward()
        grad_norm = clip_grad_norm(model.parameters(), config.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        history.mlm_losses.append(output.mlm_loss.item())
        history.nsp_losses.append(output.nsp_loss.item() if use_nsp else 0.0)
        history.grad_norms.append(grad_norm.item())
        history.seconds = time.perf_counter() - start
        if on_step:
            on_step(step + 1, history)
    model.eval()
    return history


@torch.inference_mode()
def evaluate_pretraining(model: nn.Module, batches: Iterable[Batch]) -> PretrainingEvaluation:
    """Both objectives on held-out batches: totals and counts over all of them, one division at the end.

    Raises ValueError if no word is hidden or there is no pair.
    """
    was_training, device = model.training, device_of(model)
    model.eval()
    loss_sums, hits, counts = [0.0, 0.0], [0, 0], [0, 0]
    for batch in batches:
        output = model(**to_device(batch, device))
        targets = batch["labels"][batch["labels"] >= 0].to(device)  # (N,) in reading order, as the logits
        pairs = batch["next_sentence_label"].to(device)
        for i, (logits, wanted) in enumerate([(output.mlm_logits, targets), (output.nsp_logits, pairs)]):
            loss_sums[i] += F.cross_entropy(logits, wanted, reduction="sum").item()
            hits[i] += int((logits.argmax(-1) == wanted).sum())
            counts[i] += len(wanted)
    model.train(was_training)
    if 0 in counts:
        raise ValueError(f"nothing to evaluate: {counts[0]} hidden words, {counts[1]} pairs. Pass more batches.")
    losses, shares = ([total / n for total, n in zip(totals, counts, strict=True)] for totals in (loss_sums, hits))
    return PretrainingEvaluation(losses[0], shares[0], losses[1], shares[1], *counts)
