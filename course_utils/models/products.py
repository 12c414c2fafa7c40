"""Matrix products as fast as this machine can: `F.linear`, and a detour around one of its weak spots.

Letters: n rows, I inputs, O outputs.
"""

import torch
import torch.nn.functional as F
from torch import nn

# Intel's library multiplies 4 to 15 rows by a large matrix more slowly than 16 rows, measured up to 2.8 times. Cut into
# small matrices the same product keeps pace with memory. Generating a few texts at once is exactly this case.
FEW_ROWS = range(4, 16)
MANY_WEIGHTS, MANY_INPUTS = 500_000, 256
BLOCK = 64  # outputs of one small matrix


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`F.linear(x, weight, bias)`: x (..., I) and weight (O, I) to (..., O)."""
    if weight.numel() < MANY_WEIGHTS or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    O, I = weight.shape  # noqa: E741 (see the letters above)
    n = x.numel() // I
    if n not in FEW_ROWS or O % BLOCK or I < MANY_INPUTS or not _uses_mkl(weight):
        return F.linear(x, weight, bias)
    blocks = weight.view(O // BLOCK, BLOCK, I).mT
    y = torch.bmm(x.reshape(n, I).expand(O // BLOCK, n, I), blocks)  # (O / 64, n, 64)
    y = y.transpose(0, 1).reshape(*x.shape[:-1], O)
    return y if bias is None else y.add_(bias)


def _uses_mkl(weight: torch.Tensor) -> bool:
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous()
    return is_plain and torch.backends.mkl.is_available()


class Linear(nn.Linear):
    """`nn.Linear` by way of `product`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return product(x, self.weight, self.bias)
