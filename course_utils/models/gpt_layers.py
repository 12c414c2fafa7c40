"""The parts of a GPT: causal self-attention, two kinds of feed-forward layer, norm and position, and the block.

Everything works on whole sequences and, with a cache, on what follows them. Nothing here knows a vocabulary.
`course_utils.models.attention` has the same arithmetic with every step visible.

Letters: B sequences, T positions, S key positions, D = d_model, H query heads, G key/value heads, K width of a head.
"""

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.models.gpt_cache import KeyValueCache
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.products import Linear


class Shared(NamedTuple):
    """What is the same for all layers of one pass, worked out once."""

    mask: torch.Tensor | None  # True where a query may see a key, broadcast to (B, H, T, S); None: see `is_causal`
    is_causal: bool  # without a mask: query t sees keys up to t; False: all keys, right for a single new position
    turn: tuple[torch.Tensor, torch.Tensor] | None  # rotary cosine and sine, broadcast to (B, T, H, K)
    cache: KeyValueCache | None


def make_norm(config: GPTConfig) -> nn.Module:
    """LayerNorm (Ba et al. 2016), or RMSNorm, which neither subtracts the mean nor adds a bias (Zhang et al. 2019)."""
    if config.norm == "rms":
        return nn.RMSNorm(config.d_model, eps=config.norm_eps)
    return nn.LayerNorm(config.d_model, eps=config.norm_eps, bias=config.has_bias)


def make_embedding(num_rows: int, d_model: int) -> nn.Embedding:
    """A table (num_rows, D) whose values `init_weights` or a file will give: none are drawn here for nothing."""
    return nn.Embedding.from_pretrained(torch.empty(num_rows, d_model), freeze=False)


def causal_mask(start: int, T: int, device: torch.device, is_token: torch.Tensor | None = None) -> torch.Tensor:
    """Who may see whom for T positions behind `start` earlier ones: (T, S), or (B, 1, T, S) with `is_token` (B, S).

    Padding is hidden as a key. Yet every position sees itself, also padding: a softmax over nothing would be 0/0.
    """
    keys = torch.arange(start + T, device=device)
    queries = keys[start:, None]  # (T, 1)
    if is_token is None:
        return keys <= queries
    return (is_token[:, None, None, :] & (keys <= queries)) | (keys == queries)


@functools.lru_cache(maxsize=8)
def rotary_table(
    d_head: int, theta: float, num_positions: int, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine for `rotate`: (num_positions, K) each. Su et al. 2021, section 3.4.2.

    Entry i of the first half turns together with entry i of the second, as in Llama's released weights; the sine of
    the first half is negated here, once. Angles are made in float32, as they were when those weights were trained.
    """
    with torch.inference_mode(False), torch.no_grad():  # kept between calls, so training must be able to use it
        exponents = torch.arange(0, d_head, 2, device=device).float() / d_head
        angles = torch.arange(num_positions, device=device).float()[:, None] / theta**exponents  # (T, K / 2)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([cos, cos], -1).to(dtype), torch.cat([-sin, sin], -1).to(dtype)


def rotate(x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turn each pair of entries of x (..., K) by its position's angle: (a, b) to (a cos - b sin, b cos + a sin)."""
    cos, sin = turn
    swapped = x.roll(x.shape[-1] // 2, -1)  # the other entry of each pair
    return torch.addcmul(x * cos, swapped, sin)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, shared: Shared, dropout: float) -> torch.Tensor:
    """Queries (B, H, T, K) over keys and values (B, G, S, K) to (B, H, T, K); no key is copied to fill a group."""
    B, H, T, K = q.shape
    G = k.shape[1]
    if H == G:
        return F.scaled_dot_product_attention(q, k, v, shared.mask, dropout, shared.is_causal)
    if T > 1:
        return F.scaled_dot_product_attention(q, k, v, shared.mask, dropout, shared.is_causal, enable_gqa=True)
    # One new position sees all keys, so the heads of a group can stand in line as if they were several positions.
    heads = F.scaled_dot_product_attention(q.reshape(B, G, H // G, K), k, v, shared.mask, dropout)
    return heads.reshape(B, H, 1, K)


class CausalSelfAttention(nn.Module):
    """Attention to earlier positions, H query heads over G heads of keys and values.

    G = H is Vaswani et al. 2017, section 3.2.2; fewer are shared by groups (Ainslie et al. 2023, section 2).
    """

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.layer, self.dropout = layer, config.dropout
        self.num_heads, self.num_kv_heads, self.d_head = config.num_heads, config.num_kv_heads, config.d_head
        d_qkv = (config.num_heads + 2 * config.num_kv_heads) * config.d_head
        self.qkv = Linear(config.d_model, d_qkv, bias=config.has_bias)
        self.output = Linear(config.d_model, config.d_model, bias=config.has_bias)

    def forward(self, x: torch.Tensor, shared: Shared) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.output(self.mix(self.qkv(x), shared))

    def mix(self, qkv: torch.Tensor, shared: Shared) -> torch.Tensor:
        """What happens between the two projections: (B, T, (H + 2 G) K) to (B, T, H K)."""
        B, T, _ = qkv.shape
        H, G, K = self.num_heads, self.num_kv_heads, self.d_head
        qkv = qkv.view(B, T, H + 2 * G, K)
        if shared.turn is None:
            q, k, v = qkv.split_with_sizes((H, G, G), 2)
        else:
            qk, v = qkv.split_with_sizes((H + G, G), 2)
            q, k = rotate(qk, shared.turn).split_with_sizes((H, G), 2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, T, H, K) -> (B, H, T, K)
        if shared.cache is not None:
            k, v = shared.cache.append(self.layer, k, v)  # (B, G, S, K)
        heads = attend(q, k, v, shared, self.dropout if self.training else 0.0)
        return heads.transpose(1, 2).reshape(B, T, H * K)


class GeluFeedForward(nn.Module):
    """Two linear layers with GELU between: (B, T, D) to (B, T, D), d_ff inside. GPT-2 approximates GELU with tanh."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.up = Linear(config.d_model, config.d_ff, bias=config.has_bias)
        self.down = Linear(config.d_ff, config.d_model, bias=config.has_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class SwiGluFeedForward(nn.Module):
    """One linear layer opens and closes the entries of another: (B, T, D) to (B, T, D). Shazeer 2020, section 2."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.gate = Linear(config.d_model, config.d_ff, bias=config.has_bias)
        self.up = Linear(config.d_model, config.d_ff, bias=config.has_bias)
        self.down = Linear(config.d_ff, config.d_model, bias=config.has_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class GPTBlock(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy and adds to the residual path, which stays untouched.

    Pre-norm: Radford et al. 2019, section 2.3; Xiong et al. 2020, section 3.
    """

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.attention_norm, self.feed_forward_norm = make_norm(config), make_norm(config)
        self.attention = CausalSelfAttention(config, layer)
        self.feed_forward = GeluFeedForward(config) if config.feed_forward == "gelu" else SwiGluFeedForward(config)
        self.dropout = config.dropout

    def forward(self, x: torch.Tensor, shared: Shared) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        dropout = self.dropout if self.training else 0.0
        update = self.attention(self.attention_norm(x), shared)
        x = x + (F.dropout(update, dropout) if dropout else update)
        update = self.feed_forward(self.feed_forward_norm(x))
        return x + (F.dropout(update, dropout) if dropout else update)


def init_weights(model: nn.Module, config: GPTConfig) -> None:
    """Matrices from a normal distribution of width `init_std`, biases 0; nothing on the device "meta".

    Each layer adds to the residual path twice, so the matrices that do so start smaller, by 1/sqrt(2 * num_layers):
    the sum then has the same width whatever the depth. Radford et al. 2019, section 2.3.
    """
    if next(model.parameters()).is_meta:  # shapes only; there, drawing numbers would load a second of torch's compiler
        return
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=config.init_std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for name, parameter in model.named_parameters():
        if name.endswith(("attention.output.weight", "feed_forward.down.weight")):
            nn.init.normal_(parameter, std=config.init_std / math.sqrt(2 * config.num_layers))
