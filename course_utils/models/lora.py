"""LoRA, low-rank adaptation: a frozen matrix W plus a product of two thin ones, which alone are trained.

Hu et al. 2022, section 4.1. Works on any module that holds `nn.Linear` layers. Merged, a model is what it was before:
the same modules, the same speed, other numbers.

Letters: I inputs, O outputs, r = rank of the update.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.config import require


class LoraLinear(nn.Module):
    """A linear layer whose own weights stay as they are: y = W x + b + (alpha / r) B A x, with A (r, I) and B (O, r).

    B begins at zero, so that nothing has changed before the first step; A begins as a fresh linear layer would.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        num_outputs, num_inputs = linear.weight.shape
        self.linear = linear.requires_grad_(False)
        self.A = nn.Parameter(torch.empty(rank, num_inputs).uniform_(-1, 1) / num_inputs**0.5)
        self.B = nn.Parameter(torch.zeros(num_outputs, rank))
        self.scale = alpha / rank

    def forward(self, x):
        """(..., I) to (..., O)."""
        update = F.linear(F.linear(x, self.A), self.B)  # (..., I) -> (..., r) -> (..., O)
        return self.linear(x) + self.scale * update

    def merged(self):
        """W + (alpha / r) B A, (O, I): the one matrix that does the same."""
        return self.linear.weight + self.scale * (self.B @ self.A)


def add_lora(model: nn.Module, names: tuple[str, ...], rank: int, alpha: float) -> nn.Module:
    """Freeze all of a model, and put `LoraLinear` in place of every linear layer whose name ends in one of `names`.

    The model is changed in place and returned; only the thin matrices have gradients. For a GPT, ("qkv",) are the
    projections of attention. Raises ValueError for a rank that is not smaller than the matrix, or if no name fits.
    """
    require(isinstance(rank, int) and rank >= 1, "LoRA's rank is a whole number from 1", rank)
    found = [(parent, name, layer) for parent, name, layer in children(model) if name.endswith(tuple(names))]
    linear = [entry for entry in found if isinstance(entry[2], nn.Linear)]
    require(bool(linear), "LoRA needs linear layers; `names` must be the ends of their names", names)
    smallest = min(min(layer.weight.shape) for _, _, layer in linear)
    require(rank < smallest, f"LoRA's rank must be below {smallest}, the smaller side of the matrix", rank)
    model.requires_grad_(False)
    for parent, name, layer in linear:
        setattr(parent, name, LoraLinear(layer, rank, alpha).to(layer.weight.device, layer.weight.dtype))
    return model


@torch.no_grad()
def merge_lora(model: nn.Module) -> nn.Module:
    """Put plain linear layers with the merged matrices back, in place, and let everything train again."""
    for parent, name, layer in list(children(model)):
        if isinstance(layer, LoraLinear):
            layer.linear.weight.copy_(layer.merged())
            setattr(parent, name, layer.linear)
    return model.requires_grad_(True)


def trained_parameters(model: nn.Module) -> int:
    """How many numbers have gradients."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """The memory of what an optimiser remembers about each parameter, after its first step: its state's tensors."""
    tensors = (value for state in optimizer.state.values() for value in state.values())
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))


def children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every module with the one that holds it and its name there."""
    return ((parent, name, child) for parent in model.modules() for name, child in parent.named_children())
