"""The loss of a language model, made for training: the logits of a whole batch never exist at once.

With a vocabulary of 8,000 the logits of 2,048 tokens take 65 MB, more than all the rest of a small model's step, and
plain cross-entropy writes several arrays of that size. Here logits are made for some rows at a time, turned into
gradients while the processor's cache still holds them, and forgotten. Same numbers, within rounding.

Letters: B sequences, T positions, N = B * T rows, n rows of one chunk, D = d_model, V = vocab_size.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.models.inputs import IGNORED_LABEL, check_labels

CHUNK_BYTES = 4_000_000  # logits made at a time: so few that they stay in the processor's cache,
MIN_CHUNK_ROWS = 128  # yet not so few that the matrix products become slow


class LossOutput(NamedTuple):
    """Mean loss over the targets, in nats per token, and how many targets there were."""

    loss: torch.Tensor
    num_targets: int


class LanguageModelLoss(nn.Module):
    """A model and its loss, for training loops that call `model(**batch).loss`.

    `model` offers `hidden_states(input_ids, attention_mask)` (B, T, D) and `head_weight` (V, D), as `GPT` does.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, targets: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> LossOutput:
        """Ids (B, T) and the ids that follow them, `targets` (B, T), -100 where nothing is to be predicted.

        Raises ValueError for targets of another shape or outside the vocabulary, or if none is left.
        """
        weight = self.model.head_weight
        check_labels(targets, input_ids.shape, weight.shape[0], "targets", IGNORED_LABEL)
        hidden, targets = self.model.hidden_states(input_ids, attention_mask).flatten(0, 1), targets.flatten()
        counts = targets != IGNORED_LABEL
        num_targets = int(counts.sum())
        if num_targets == 0:
            raise ValueError(f"every target is {IGNORED_LABEL}, so there is nothing to learn. Leave such batches out.")
        if num_targets < len(targets):
            hidden, targets = hidden[counts], targets[counts]  # the output layer is the most expensive of all
        return LossOutput(vocabulary_cross_entropy(hidden, weight, targets), num_targets)


def vocabulary_cross_entropy(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """`F.cross_entropy(hidden @ weight.T, targets)` for states (N, D), matrix (V, D), targets (N,), in chunks."""
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        return ChunkedCrossEntropy.apply(hidden, weight, targets)
    loss_sum = hidden.new_zeros(())
    for rows in chunks(hidden, weight):
        loss_sum += F.cross_entropy(hidden[rows] @ weight.T, targets[rows], reduction="sum")
    return loss_sum / len(targets)


def chunks(hidden: torch.Tensor, weight: torch.Tensor) -> list[slice]:
    """The N rows in slices of n, whose logits take about CHUNK_BYTES."""
    n = max(MIN_CHUNK_ROWS, CHUNK_BYTES // (weight.shape[0] * hidden.element_size()))
    return [slice(start, start + n) for start in range(0, len(hidden), n)]


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy whose gradients are made in the forward pass, where the logits are.

    The gradient by the logits is softmax minus one-hot, so no part of it has to wait for what comes after the loss but
    one factor. The idea is from memory-saving kernels for large vocabularies (Hsu et al. 2024, section 3.2).
    """

    @staticmethod
    def forward(ctx, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        N = len(targets)
        loss_sum = hidden.new_zeros((), dtype=torch.float32 if hidden.itemsize < 4 else hidden.dtype)
        hidden_grad, weight_grad = torch.empty_like(hidden), torch.zeros_like(weight)
        for rows in chunks(hidden, weight):
            h, target = hidden[rows], targets[rows, None]  # (n, D), (n, 1)
            log_p = (h @ weight.T).log_softmax(-1, dtype=loss_sum.dtype)  # (n, V)
            loss_sum -= log_p.gather(1, target).sum()
            logits_grad = log_p.exp_()  # softmax, in the memory of its logarithm
            logits_grad.scatter_add_(1, target, logits_grad.new_full((1, 1), -1.0).expand_as(target))
            logits_grad = logits_grad.to(h.dtype)
            torch.mm(logits_grad, weight, out=hidden_grad[rows])  # (n, V) @ (V, D)
            weight_grad.addmm_(logits_grad.T, h)  # (V, n) @ (n, D)
        ctx.save_for_backward(hidden_grad.div_(N), weight_grad.div_(N))
        return loss_sum / N

    @staticmethod
    def backward(ctx, loss_grad: torch.Tensor):
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * loss_grad, weight_grad * loss_grad, None
