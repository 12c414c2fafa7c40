"""What a model says about held-out batches. Averages are totals divided once, so batch sizes cannot distort them.

It computes logits and their averages; everything derived from arrays (F1, intervals, calibration) is `metrics`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.training.loop import Batch, device_of, to_device


@dataclass(frozen=True)
class Evaluation:
    """Averages over `num_examples`: `loss` in nats per example, `accuracy` from 0 to 1."""

    loss: float
    accuracy: float
    num_examples: int


@torch.inference_mode()
def predict_logits(model: nn.Module, batches: Iterable[Batch]) -> torch.Tensor:
    """Logits (N, C) in float32 on the CPU, in the order of the batches; dropout off, the model's mode restored."""
    was_training, device = model.training, device_of(model)
    model.eval()
    inputs = ({name: tensor for name, tensor in batch.items() if name != "labels"} for batch in batches)
    logits = [model(**to_device(batch, device)).logits.float().cpu() for batch in inputs]
    model.train(was_training)
    return torch.cat(logits)


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Iterable[Batch]) -> Evaluation:
    """Loss and accuracy over all examples: sums and counts first, one division at the end.

    Raises ValueError if there is nothing to evaluate.
    """
    loss_sum, num_correct, num_examples = 0.0, 0, 0
    for batch in batches:
        logits, labels = predict_logits(model, [batch]), batch["labels"]
        loss_sum += F.cross_entropy(logits, labels, reduction="sum").item()
        num_correct += (logits.argmax(-1) == labels).sum().item()
        num_examples += len(labels)
    if not num_examples:
        raise ValueError("there are no examples to evaluate. Pass batches that are not empty.")
    return Evaluation(loss_sum / num_examples, num_correct / num_examples, num_examples)
