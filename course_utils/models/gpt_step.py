"""A small model's step by one token costs more Python than arithmetic; here are its layers without modules around them.

Looking up a submodule or a parameter takes as long as adding two vectors, and a layer does it some twenty times.
`PlainLayers` looks everything up once, when a cache is made, and computes what the blocks compute. Blocks that somebody
changed (other modules in them, hooks on them) are left to run as they are.

Letters: B sequences, T positions, D = d_model.
"""

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.models.gpt_config import GPTConfig
from course_utils.models.gpt_layers import CausalSelfAttention, GeluFeedForward, GPTBlock, Shared, SwiGluFeedForward
from course_utils.models.products import Linear, product

OURS = (GPTBlock, CausalSelfAttention, GeluFeedForward, SwiGluFeedForward, Linear, nn.LayerNorm, nn.RMSNorm)


class PlainLayers:
    """All layers of a GPT as one function, for evaluation; valid while the model keeps its modules and parameters."""

    def __init__(self, layers: nn.ModuleList, config: GPTConfig):
        self.is_rms, self.shape, self.eps = config.norm == "rms", (config.d_model,), config.norm_eps
        self.is_gated = config.feed_forward == "swiglu"
        self.layers = []
        for block in layers:
            attention, feed_forward = block.attention, block.feed_forward
            gate = pair(feed_forward.gate) if self.is_gated else None
            self.layers.append(
                (pair(block.attention_norm), pair(attention.qkv), attention.mix, pair(attention.output))
                + (pair(block.feed_forward_norm), gate, pair(feed_forward.up), pair(feed_forward.down))
            )

    @classmethod
    def of(cls, layers: nn.ModuleList, config: GPTConfig) -> "PlainLayers | None":
        """The layers without their modules, or None if somebody changed these."""
        is_ours = all(
            type(module) in OURS and not (module._forward_hooks or module._forward_pre_hooks)
            for block in layers
            for module in block.modules()
        )
        return cls(layers, config) if is_ours else None

    def __call__(self, x: torch.Tensor, shared: Shared) -> torch.Tensor:
        """(B, T, D) to (B, T, D): what `GPTBlock.forward` does, layer after layer."""
        for attention_norm, qkv, mix, output, feed_forward_norm, gate, up, down in self.layers:
            x = x + product(mix(product(self.norm(x, *attention_norm), *qkv), shared), *output)
            h = self.norm(x, *feed_forward_norm)
            if gate is None:
                h = F.gelu(product(h, *up), approximate="tanh")
            else:
                h = F.silu(product(h, *gate)) * product(h, *up)
            x = x + product(h, *down)
        return x

    def norm(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """LayerNorm or RMSNorm."""
        if self.is_rms:
            return torch.rms_norm(x, self.shape, weight, self.eps)
        return torch.layer_norm(x, self.shape, weight, bias, self.eps)


def pair(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of a linear layer or a norm."""
    return module.weight, getattr(module, "bias", None)
