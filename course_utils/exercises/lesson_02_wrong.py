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


def unexpanded(is_token, causal=False):
    """leaves the queries to broadcasting: good enough for attention, but the whole table is asked for here"""
    mask = is_token[:, None, None, :]
    return mask & torch.ones(is_token.shape[1], is_token.shape[1], dtype=torch.bool).tril() if causal else mask


def hidden_is_true(is_token, causal=False):
    """marks what is hidden, as nn.MultiheadAttention does; here True is visible"""
    return ~right_mask(is_token, causal)


def right_mask(is_token, causal):
    T = is_token.shape[1]
    mask = is_token[:, None, None, :].expand(-1, 1, T, T)
    return mask & torch.ones(T, T, dtype=torch.bool).tril() if causal else mask


def never_causal(is_token, causal=False):
    """ignores `causal`, so every query sees the future"""
    return right_mask(is_token, False)


def padding_forgotten(is_token, causal=False):
    """hides the future and forgets padding when `causal` is set"""
    everything = torch.ones_like(is_token)
    return right_mask(everything if causal else is_token, causal)


def either_rule(is_token, causal=False):
    """lets a key be seen if one of the two rules allows it; both must"""
    mask = right_mask(is_token, False)
    return mask | right_mask(torch.ones_like(is_token), True) if causal else mask


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


def scale_after_softmax(q, k, v, mask=None):
    """divides the weights instead of the scores, so they no longer add up to 1"""
    scores = q @ k.mT
    weights = (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-1)
    return weights / math.sqrt(q.shape[-1]) @ v


def no_mask(q, k, v, mask=None):
    """never uses the mask"""
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v


def mask_added(q, k, v, mask=None):
    """adds the mask to the scores as 0 and 1; only minus infinity would hide a key that way"""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores + mask).softmax(-1) @ v


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


def width_last(x, num_heads):
    """puts the heads before the positions and turns each head: (B, H, K, T)"""
    B, T, D = x.shape
    return x.view(B, T, num_heads, D // num_heads).permute(0, 2, 3, 1)


def list_of_heads(x, num_heads):
    """returns a list of heads; attention wants them in one tensor"""
    return list(x.chunk(num_heads, dim=-1))


def halves(num_positions, d_model):
    """puts all sines before all cosines: also used in practice, but another order than the paper's"""
    angles = torch.arange(num_positions)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def half_exponent(num_positions, d_model):
    """takes i / D instead of 2i / D as the exponent, so the slowest wave is a hundred times too fast"""
    angles = torch.arange(num_positions)[:, None] / 10_000 ** (torch.arange(d_model // 2) / d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def double_exponent(num_positions, d_model):
    """doubles the exponent: `arange(0, D, 2)` is 2i already"""
    angles = torch.arange(num_positions)[:, None] / 10_000 ** (2 * torch.arange(0, d_model, 2) / d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def angle_per_entry(num_positions, d_model):
    """gives every entry an angle of its own; sine and cosine of a pair share one"""
    angles = torch.arange(num_positions)[:, None] / 10_000 ** (torch.arange(d_model) / d_model)
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=-1).flatten(1)


def cosine_first(num_positions, d_model):
    """puts the cosine before the sine"""
    angles = torch.arange(num_positions)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)


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


def norm_at_the_end(x, attention, feed_forward, norm_1, norm_2):
    """normalises the result too; a pre-norm block leaves the path alone, and one norm follows the whole stack"""
    x = x + attention(norm_1(x))
    return norm_2(x + feed_forward(norm_2(x)))


def norm_behind_each_part(x, attention, feed_forward, norm_1, norm_2):
    """normalises what each part gives instead of what it reads"""
    x = x + norm_1(attention(x))
    return x + norm_2(feed_forward(x))


def no_residual(x, attention, feed_forward, norm_1, norm_2):
    """forgets both residual connections"""
    return feed_forward(norm_2(attention(norm_1(x))))


def one_norm_twice(x, attention, feed_forward, norm_1, norm_2):
    """uses norm_1 twice; each part has a norm of its own"""
    x = x + attention(norm_1(x))
    return x + feed_forward(norm_1(x))


def no_norm(x, attention, feed_forward, norm_1, norm_2):
    """forgets the norms"""
    x = x + attention(x)
    return x + feed_forward(x)


def feed_forward_first(x, attention, feed_forward, norm_1, norm_2):
    """puts the feed-forward layer first; positions exchange information before each is worked on"""
    x = x + feed_forward(norm_2(x))
    return x + attention(norm_1(x))
