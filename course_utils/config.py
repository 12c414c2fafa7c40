"""The numbers a training run depends on: frozen dataclasses that refuse impossible values when they are made.

They hold choices (hyperparameters), never tensors or paths. Imports nothing of ours.
"""

from dataclasses import dataclass


def require(condition: bool, rule: str, got: object) -> None:
    """Raise ValueError saying the rule and what was got, unless `condition` holds."""
    if not condition:
        raise ValueError(f"{rule}; got {got!r}.")


@dataclass(frozen=True)
class TrainConfig:
    """How to train: AdamW with a warm-up and a linear decay of the learning rate, gradients clipped by global norm.

    `head_lr` is the peak learning rate of parameters that start from noise (None: the same as `max_lr`);
    `batch_size` counts sequences in one step; `warmup_fraction` is a share of all steps.
    """

    max_lr: float = 5e-5
    head_lr: float | None = None
    num_epochs: int = 1
    batch_size: int = 32
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    grad_clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.max_lr > 0, "TrainConfig.max_lr must be above 0", self.max_lr)
        require(self.head_lr is None or self.head_lr > 0, "TrainConfig.head_lr must be above 0 or None", self.head_lr)
        for name in ("num_epochs", "batch_size"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, f"TrainConfig.{name} must be a whole number from 1", value)
        warmup = self.warmup_fraction
        require(0 <= warmup < 1, "TrainConfig.warmup_fraction must be from 0 to below 1 (0.1 is 10% of steps)", warmup)
        require(self.weight_decay >= 0, "TrainConfig.weight_decay must not be negative", self.weight_decay)
        betas_fit = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(betas_fit, "TrainConfig.betas must be two numbers from 0 to below 1", self.betas)
        require(self.eps > 0, "TrainConfig.eps must be above 0", self.eps)
        require(self.grad_clip_norm > 0, "TrainConfig.grad_clip_norm must be above 0", self.grad_clip_norm)

    def warmup_steps(self, max_steps: int) -> int:
        """How many of `max_steps` steps the learning rate rises: the share rounded, and at least one."""
        return max(1, round(self.warmup_fraction * max_steps))
