"""Attention and the blocks made of it: plain torch, every step visible, the fused kernel beside the written-out one.

One convention for masks: boolean, True where a query may see a key, broadcast to (B, H, T, S). Additive masks and masks
of 0 and 1 are refused, because each library reads them differently. Nothing here knows BERT or GPT: no vocabulary, no
weights from disk, no cache of keys and values.

Letters: B sequences, T query positions, S key positions, D = d_model, H heads, K = D / H width of a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def scaled_dot_product_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Queries (B, H, T, K), keys (B, H, S, K) and values (B, H, S, Dv) to averages of the values (B, H, T, Dv).

    `mask` (broadcast to (B, H, T, S)) is True where a query may see a key; a query that may see nothing gets zeros.
    Vaswani et al. 2017, section 3.2.1.
    """
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (B, H, T, S)
    if mask is None:
        return scores.softmax(-1) @ v
    # The lowest finite number, not minus infinity: a row of only infinities would be 0/0 in softmax.
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
    return weights.masked_fill(~mask, 0.0) @ v  # changes nothing but the rows that see no key at all


def fused_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None, dropout: float = 0.0
) -> torch.Tensor:
    """The same function from PyTorch's kernels, which never hold all of the (T, S) weights in memory.

    `dropout` is applied to the weights. Dao et al. 2022, section 3.
    """
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def make_mask(is_token: torch.Tensor, causal: bool = False) -> torch.Tensor:
    """Who may see whom: `is_token` (B, T), False at padding, to (B, 1, T, T) with True where a query may see a key.

    Padding is hidden as a key, for every query. With `causal`, query t also sees no key after position t.
    """
    T = is_token.shape[1]
    mask = is_token[:, None, None, :].expand(-1, 1, T, T)  # row: query, column: key
    if causal:
        mask = mask & torch.ones(T, T, dtype=torch.bool, device=is_token.device).tril()
    return mask


def split_heads(x: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Cut the width into heads: (B, T, D) to (B, H, T, K). Head h holds K neighbouring entries, from h * K on."""
    B, T, D = x.shape
    return x.view(B, T, num_heads, D // num_heads).transpose(1, 2)  # (B, T, H, K) -> (B, H, T, K)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, K) to (B, T, D)."""
    B, H, T, K = x.shape
    return x.transpose(1, 2).reshape(B, T, H * K)


def check_mask(mask: torch.Tensor | None, shape: tuple[int, int, int, int]) -> None:
    """Raise ValueError unless `mask` is boolean and broadcasts to `shape`, (B, H, T, S)."""
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise ValueError(
            f"an attention mask is boolean, True where a query may see a key; got {mask.dtype}. "
            "Make it boolean, for example with mask == 1."
        )
    fits = mask.dim() <= 4 and all(m in (1, n) for m, n in zip(reversed(mask.shape), reversed(shape), strict=False))
    if not fits:
        raise ValueError(
            f"an attention mask must broadcast to (B, H, T, S) = {shape}; got {tuple(mask.shape)}. See `make_mask`."
        )


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each on its own K-wide projection of the input. Vaswani et al. 2017, section 3.2.2.

    `qkv` holds the three input projections in one matrix, so that self-attention needs one product instead of three.
    `fused=False` takes the written-out version: same numbers, more memory.
    """

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0, fused: bool = True):
        super().__init__()
        if num_heads < 1 or d_model % num_heads:
            raise ValueError(f"d_model must be a multiple of num_heads; got {d_model} and {num_heads}.")
        self.num_heads, self.dropout, self.fused = num_heads, dropout, fused
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.output = nn.Linear(d_model, d_model)

    def project(self, x: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Queries from x (B, T, D), keys and values from `context` (B, S, D), by default x: each (B, H, T or S, K)."""
        D = x.shape[-1]
        if context is None:
            q, k, v = self.qkv(x).split(D, dim=-1)  # (B, T, 3 D) -> three of (B, T, D)
        else:
            (w_q, w_kv), (b_q, b_kv) = self.qkv.weight.split([D, 2 * D]), self.qkv.bias.split([D, 2 * D])
            q, (k, v) = F.linear(x, w_q, b_q), F.linear(context, w_kv, b_kv).split(D, dim=-1)
        return tuple(split_heads(part, self.num_heads) for part in (q, k, v))

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, T, D) to (B, T, D). Positions of x look at x itself, or at `context` (B, S, D) if that is given.

        Raises ValueError for a mask that is not boolean or does not broadcast to (B, H, T, S).
        """
        q, k, v = self.project(x, context)
        check_mask(mask, (*q.shape[:3], k.shape[2]))
        if self.fused:
            heads = fused_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        else:
            heads = self.written_out(q, k, v, mask)
        return self.output(merge_heads(heads))

    def written_out(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """What `fused_attention` computes, from the pieces; dropout needs the weights themselves."""
        if not (self.training and self.dropout):
            return scaled_dot_product_attention(q, k, v, mask)
        return F.dropout(self.weights_of(q, k, mask), self.dropout) @ v

    def weights(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What `forward` averages with, to look at: (B, H, T, S); each row adds up to 1."""
        q, k, _ = self.project(x, context)
        check_mask(mask, (*q.shape[:3], k.shape[2]))
        return self.weights_of(q, k, mask)

    @staticmethod
    def weights_of(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attention to one-hot values: value j is 1 at place j, so the average of the values is the weights."""
        one_hot = torch.eye(k.shape[-2], dtype=k.dtype, device=k.device)  # (S, S), the same for all heads
        return scaled_dot_product_attention(q, k, one_hot, mask)


class FeedForward(nn.Module):
    """Two linear layers with GELU between, applied to each position alone: (B, T, D) to (B, T, D), d_ff inside."""

    def __init__(self, d_model: int, d_ff: int):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x)))  # the exact GELU, which BERT uses; GPT-2 approximates it with tanh


class EncoderBlock(nn.Module):
    """Attention, then feed-forward, each with a residual connection and LayerNorm.

    `norm_first=False` normalises after each sum (Vaswani et al. 2017, section 3.1; BERT); True normalises the input of
    each part and leaves the residual path untouched (Xiong et al. 2020, section 3; GPT-2).
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        norm_first: bool = False,
        norm_eps: float = 1e-5,
        fused: bool = True,
    ):
        super().__init__()
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(d_model, num_heads, dropout, fused)
        self.attention_norm = nn.LayerNorm(d_model, eps=norm_eps)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.feed_forward_norm = nn.LayerNorm(d_model, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(B, T, D) and a mask as for `MultiHeadAttention` to (B, T, D)."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), mask))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class DecoderBlock(EncoderBlock):
    """An encoder block with attention to another sequence, `context`, between its two parts.

    Vaswani et al. 2017, section 3.1. Causality is in the mask: pass `make_mask(is_token, causal=True)`.
    """

    def __init__(self, d_model: int, num_heads: int, d_ff: int, dropout: float = 0.0, norm_first: bool = False):
        super().__init__(d_model, num_heads, d_ff, dropout, norm_first)
        self.cross_attention = MultiHeadAttention(d_model, num_heads, dropout)
        self.cross_norm = nn.LayerNorm(d_model)

    def forward(
        self,
        x: torch.Tensor,
        context: torch.Tensor,
        mask: torch.Tensor | None = None,
        context_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, T, D) and context (B, S, D) to (B, T, D); `context_mask` broadcasts to (B, H, T, S)."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), mask))
            x = x + self.dropout(self.cross_attention(self.cross_norm(x), context_mask, context))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, mask)))
        x = self.cross_norm(x + self.dropout(self.cross_attention(x, context_mask, context)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


def sinusoidal_positions(num_positions: int, d_model: int) -> torch.Tensor:
    """Fixed position vectors (T, D): sine in the even entries, cosine in the odd ones, each pair slower than the last.

    Entry 2i of position t is sin(t / 10000^(2i / D)), entry 2i + 1 its cosine. Vaswani et al. 2017, section 3.5.
    """
    positions = torch.arange(num_positions)[:, None]  # (T, 1)
    angles = positions / 10_000 ** (torch.arange(0, d_model, 2) / d_model)  # (T, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # (T, D / 2, 2) -> (T, D)


def rotate(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Rotary positions: turn each pair of entries of x (..., T, K) by an angle that grows with its position (T,).

    Applied to queries and keys, it makes scores depend on distances only. Su et al. 2021, section 3.2.
    """
    angles = positions[:, None] / 10_000 ** (
        torch.arange(0, x.shape[-1], 2, device=x.device) / x.shape[-1]
    )  # (T, K / 2)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()
    return torch.stack(turned, dim=-1).flatten(-2)  # (..., T, K / 2, 2) -> (..., T, K)
