"""Wrong answers to the exercises of lesson 02. Each stands for one misconception, named by its first line."""

import math

import torch


def mask_queries(is_token, causal=False):
    """masks queries instead of keys: padding is still read by every token"""
    T = is_token.shape[1]
    mask = is_token[:, None, :, None].expand(-1, 1, T, T)
    return mask & torch.ones(T, T, dtype=torch.bool).tril() if causal else mask


def mask_both(is_token, causal=False):
    """masks queries too: a padding position then sees nothing at all, where seeing the tokens would do no harm"""
    mask = is_token[:, None, None, :] & is_token[:, None, :, None]
    return mask & torch.ones_like(mask[0, 0]).tril() if causal else mask


def blind_to_itself(is_token, causal=False):
    """hides each position from itself, so the first one sees nothing"""
    T = is_token.shape[1]
    mask = is_token[:, None, None, :].expand(-1, 1, T, T)
    return mask & torch.ones(T, T, dtype=torch.bool).tril(-1) if causal else mask


def future_only(is_token, causal=False):
    """swaps rows and columns: queries see the future and not the past"""
    T = is_token.shape[1]
    mask = is_token[:, None, None, :].expand(-1, 1, T, T)
    return mask & torch.ones(T, T, dtype=torch.bool).triu() if causal else mask


def softmax_over_queries(q, k, v, mask=None):
    """normalises over queries: every key hands out one unit of attention"""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-2) @ v


def scale_by_width(q, k, v, mask=None):
    """divides by K, not by its square root"""
    scores = q @ k.mT / q.shape[-1]
    return (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-1) @ v


def no_scale(q, k, v, mask=None):
    """does not divide by the square root of K at all"""
    scores = q @ k.mT
    return (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-1) @ v


def mask_after_softmax(q, k, v, mask=None):
    """zeroes weights after softmax, which has already given the hidden key its share: rows no longer add up to 1"""
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return (weights if mask is None else weights.masked_fill(~mask, 0.0)) @ v


def mask_with_zero(q, k, v, mask=None):
    """sets hidden scores to 0, but e to the 0 is 1: the hidden key still gets weight"""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores.masked_fill(~mask, 0.0)).softmax(-1) @ v


def mask_turned_round(q, k, v, mask=None):
    """hides where the mask is True: here True means visible"""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores.masked_fill(mask, -1e9)).softmax(-1) @ v


def blind_query_is_nan(q, k, v, mask=None):
    """is right except for a query that sees no key: softmax of nothing but minus infinity is 0/0"""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(-1) @ v


def blind_query_averages(q, k, v, mask=None):
    """is right except for a query that sees no key: equal scores, however low, share out all the weight"""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-1) @ v


def view_only(x, num_heads):
    """reshapes straight to (B, H, T, K), which mixes positions: the first head gets the first tokens"""
    B, T, D = x.shape
    return x.reshape(B, num_heads, T, D // num_heads)


def no_transpose(x, num_heads):
    """leaves the heads behind the positions: (B, T, H, K), so attention would run over heads"""
    B, T, D = x.shape
    return x.view(B, T, num_heads, D // num_heads)


def interleaved(x, num_heads):
    """deals the entries out in turn: head 0 gets entries 0, H, 2H, ... instead of neighbours"""
    B, T, D = x.shape
    return x.view(B, T, D // num_heads, num_heads).permute(0, 3, 1, 2)


def halves(num_positions, d_model):
    """puts all sines before all cosines: also used in practice, but another order than the paper's"""
    angles = torch.arange(num_positions)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def half_exponent(num_positions, d_model):
    """takes i / D instead of 2i / D as the exponent, so the slowest wave is a hundred times too fast"""
    angles = torch.arange(num_positions)[:, None] / 10_000 ** (torch.arange(d_model // 2) / d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def from_one(num_positions, d_model):
    """counts positions from 1; the first position is 0"""
    angles = torch.arange(1, num_positions + 1)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def post_norm(x, attention, feed_forward, norm_1, norm_2):
    """normalises after each sum: that is the post-norm block"""
    x = norm_1(x + attention(x))
    return norm_2(x + feed_forward(x))


def residual_from_normalised(x, attention, feed_forward, norm_1, norm_2):
    """adds to the normalised copy: the residual path then carries a normalised x"""
    h = norm_1(x)
    x = h + attention(h)
    return x + feed_forward(norm_2(x))


def parallel(x, attention, feed_forward, norm_1, norm_2):
    """feeds both parts from the block's input; the feed-forward layer should see what attention added"""
    return x + attention(norm_1(x)) + feed_forward(norm_2(x))


def no_second_residual(x, attention, feed_forward, norm_1, norm_2):
    """forgets the second residual connection"""
    x = x + attention(norm_1(x))
    return feed_forward(norm_2(x))
