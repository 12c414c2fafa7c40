"""Training a language model step by step, as GPT-3 was: AdamW, warm-up and cosine, clipping, accumulated gradients.

Takes a module that returns `loss`, a mean over `num_targets` targets, as `LanguageModelLoss` does, and batches by step
(`data.language_model`). Lesson 07 writes the same loop out before it imports this one. Brown et al. 2020, appendix B.
"""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import nn

from course_utils.config import TrainConfig
from course_utils.training.loop import Batch, History, append, device_of, to_device
from course_utils.training.optim import clip_grad_norm
from course_utils.training.pretraining import StepBatches
from course_utils.training.schedule import warmup_cosine

IGNORED_LABEL = nn.CrossEntropyLoss().ignore_index  # -100: nothing to predict here
GPT_RUN = {"betas": (0.9, 0.95), "weight_decay": 0.1}  # as in GPT-3 (Brown et al. 2020, appendix B)


class LanguageModelEvaluation(NamedTuple):
    """Mean loss in nats per token, and over how many tokens."""

    loss: float
    num_targets: int


def train_language_model(
    model: nn.Module,
    batches: StepBatches,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    *,
    first_step: int = 0,
    num_micro_batches: int = 1,
    on_step: Callable[[int, History], None] | None = None,
) -> History:
    """Steps `first_step` to `len(batches)` - 1 of a run; the model is changed in place and left in eval mode.

    The learning rate is a function of the step (`warmup_cosine` of each group's own peak, `initial_lr`), so a run that
    goes on needs no schedule to restore. `on_step(steps_done, history)` is called after each step. Raises
    FloatingPointError as soon as a loss is not finite.
    """
    history, start, device = History(), time.perf_counter(), device_of(model)
    max_steps, warmup_steps = len(batches), config.warmup_steps(len(batches))
    model.train()
    for step in range(first_step, max_steps):
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * warmup_cosine(step, warmup_steps, max_steps)
        loss = accumulate_gradients(model, to_device(batches.batch(step), device), num_micro_batches)
        grad_norm = clip_grad_norm(model.parameters(), config.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        append(history, (loss, optimizer.param_groups[0]["lr"], grad_norm.item()))
        history.seconds = time.perf_counter() - start
        if on_step:
            on_step(step + 1, history)
    model.eval()
    return history


def accumulate_gradients(model: nn.Module, batch: Batch, num_micro_batches: int = 1) -> float:
    """Add the gradients of a batch, taken in parts one after the other; returns its mean loss in nats per target.

    Each part counts by its number of targets: the mean of the parts' means would be another loss wherever they hold
    different numbers. Raises ValueError for more parts than sequences.
    """
    num_sequences = len(batch["input_ids"])
    if not 1 <= num_micro_batches <= num_sequences:
        raise ValueError(f"a batch of {num_sequences} has 1 to {num_sequences} parts; got {num_micro_batches}.")
    if num_micro_batches == 1:
        loss = model(**batch).loss
        loss.backward()
        return loss.item()
    num_targets, total = int((batch["targets"] != IGNORED_LABEL).sum()), 0.0
    for rows in torch.arange(num_sequences).chunk(num_micro_batches):
        output = model(**{name: tensor[rows] for name, tensor in batch.items()})
        loss = output.loss * (output.num_targets / num_targets)
        loss.backward()
        total += loss.item()
    return total


@torch.inference_mode()
def evaluate_language_model(model: nn.Module, batches: Iterable[Batch]) -> LanguageModelEvaluation:
    """The mean loss over all targets of held-out batches: sums and counts, one division at the end.

    Raises ValueError if there is no batch.
    """
    was_training, device, loss_sum, count = model.training, device_of(model), 0.0, 0
    model.eval()
    for batch in batches:
        output = model(**to_device(batch, device))
        loss_sum += output.loss.item() * output.num_targets
        count += output.num_targets
    model.train(was_training)
    if count == 0:
        raise ValueError("nothing to evaluate: there is no batch. Pass more text.")
    return LanguageModelEvaluation(loss_sum / count, count)
