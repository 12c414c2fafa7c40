"""AdamW as BERT is trained: what decays and what does not, and gradients clipped by their global norm.

Takes any module. It does not step: that is `loop`. The learning rate over time is `schedule`.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from course_utils.config import TrainConfig


def parameter_groups(
    model: nn.Module, config: TrainConfig, head_names: Sequence[str] = ("classifier",)
) -> list[dict[str, object]]:
    """Optimizer groups of the parameters that train: {body, head} x {decays, does not decay}, empty ones left out.

    Matrices decay; biases and LayerNorm's gains (one dimension) do not, as in BERT's own optimizer (Devlin et al. 2019,
    code release). The head is every parameter whose name starts with one of `head_names`; its lr is `config.head_lr`.
    """
    head_lr = config.head_lr or config.max_lr
    groups = {
        (is_head, decays): {
            "params": [],
            "lr": head_lr if is_head else config.max_lr,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for is_head in (False, True)
        for decays in (True, False)
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[name.startswith(tuple(head_names)), parameter.ndim >= 2]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


def make_adamw(model: nn.Module, config: TrainConfig, head_names: Sequence[str] = ("classifier",)) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over `parameter_groups`.

    Raises ValueError if nothing trains, which otherwise shows only as a loss that never moves.
    """
    groups = parameter_groups(model, config, head_names)
    if not groups:
        raise ValueError("no parameter has requires_grad=True, so nothing would train. Unfreeze at least the head.")
    return torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=True)  # fused: one pass over memory


def clip_grad_norm(parameters: Iterable[torch.Tensor], max_norm: float) -> torch.Tensor:
    """Scale all gradients, in place and by one common factor, so that their global L2 norm is at most `max_norm`.

    Returns the global norm before clipping, a tensor (). Parameters without a gradient are ignored.
    Pascanu et al. 2013, section 3.2.
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # The norm of all numbers together is the norm of the tensors' norms: no copy of the gradients is made.
    grad_norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
    if grad_norm > max_norm:
        for grad in grads:
            grad.mul_(max_norm / grad_norm)
    return grad_norm
