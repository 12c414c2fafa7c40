"""Wrong answers to the exercises of lesson 06. Each stands for one misconception, named by its first line."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def same_token(logits, token_ids):
    """compares each position with the token it has just read: a copy would be perfect"""
    return F.cross_entropy(logits.flatten(0, 1), token_ids.flatten())


def previous_token(logits, token_ids):
    """shifts the wrong way: each position is asked for the token before it"""
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), token_ids[:, :-1].flatten())


def round_the_corner(logits, token_ids):
    """shifts with `roll`, so the last position is asked for the first token of its text"""
    return F.cross_entropy(logits.flatten(0, 1), token_ids.roll(-1, 1).flatten())


def into_the_next_text(logits, token_ids):
    """flattens before it shifts: the end of one text is asked for the beginning of the next"""
    return F.cross_entropy(logits.flatten(0, 1)[:-1], token_ids.flatten()[1:])


def over_positions(logits, token_ids):
    """takes softmax over the positions; probabilities add up to 1 over the vocabulary"""
    log_p = logits.log_softmax(1)
    return -log_p[:, :-1].gather(-1, token_ids[:, 1:, None]).mean()


def summed(logits, token_ids):
    """adds up and never divides, so long texts have a large loss"""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten(), reduction="sum")


def divides_by_all(logits, token_ids):
    """divides by all B * T positions; the last of each text predicts nothing and does not count"""
    return summed(logits, token_ids) / token_ids.numel()


def without_softmax(logits, token_ids):
    """takes logits for log-probabilities: softmax is missing"""
    return -logits[:, :-1].gather(-1, token_ids[:, 1:, None]).mean()


WRITERS = ("attention.output.weight", "feed_forward.down.weight")


def _init(model, config, factor, scaled=WRITERS, biases=True, std=None):
    """The right initialisation, with one of its parts changed."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            continue
        if name.endswith("bias"):
            if biases:
                nn.init.zeros_(parameter)
        else:
            nn.init.normal_(parameter, std=(std or config.init_std) * (factor if name.endswith(scaled) else 1))


def by_num_layers(model, config):
    """divides by num_layers; widths of independent terms grow with the root of their number"""
    _init(model, config, 1 / config.num_layers)


def one_addition_per_layer(model, config):
    """divides by the root of num_layers: a layer adds to the residual path twice"""
    _init(model, config, config.num_layers**-0.5)


def by_twice_the_layers(model, config):
    """divides by 2 * num_layers and forgets the root"""
    _init(model, config, 1 / (2 * config.num_layers))


def never_scaled(model, config):
    """gives all matrices one width, so the sum grows with the depth"""
    _init(model, config, 1)


def attention_alone(model, config):
    """scales what attention adds and forgets what feed-forward adds"""
    _init(model, config, (2 * config.num_layers) ** -0.5, scaled="attention.output.weight")


def everything_scaled(model, config):
    """scales every matrix; only those that write to the residual path start smaller"""
    _init(model, config, (2 * config.num_layers) ** -0.5, scaled="weight")


def biases_left(model, config):
    """leaves the biases as they were"""
    _init(model, config, (2 * config.num_layers) ** -0.5, biases=False)


def embeddings_left(model, config):
    """sets the linear layers and leaves both embedding tables as they were"""
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items() if "embedding" in name}
    _init(model, config, (2 * config.num_layers) ** -0.5)
    model.load_state_dict(kept, strict=False)


def width_built_in(model, config):
    """always takes 0.02, whatever the configuration says"""
    _init(model, config, (2 * config.num_layers) ** -0.5, std=0.02)


def norms_drawn(model, config):
    """draws the weights of the norms too; they begin at 1 and change nothing"""
    _init(model, config, (2 * config.num_layers) ** -0.5)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.normal_(parameter, std=config.init_std)


def _count(config, biases=1, layer_norms=2, last_norm=1, positions=1, matrices=4, heads=0):
    """The right count, with one of its terms changed."""
    D, d_ff = config.d_model, config.d_ff
    tables = (config.vocab_size * (1 + heads) + positions * config.context_length) * D
    attention, feed_forward = matrices * (D * D + biases * D), 2 * D * d_ff + biases * (d_ff + D)
    layers = config.num_layers * (attention + feed_forward + layer_norms * 2 * D)
    return tables + layers + last_norm * 2 * D


def head_twice(config):
    """counts the output layer beside the token table; tied, they are one tensor"""
    return _count(config, heads=1)


def without_positions(config):
    """forgets the position table"""
    return _count(config, positions=0)


def without_biases(config):
    """counts matrices and forgets biases"""
    return _count(config, biases=0)


def without_last_norm(config):
    """forgets the norm behind the last block"""
    return _count(config, last_norm=0)


def three_matrices(config):
    """counts query, key and value and forgets the matrix behind the heads"""
    return _count(config, matrices=3)


def rule_of_thumb(config):
    """takes 12 D² per layer: a good estimate of large models, but not the count"""
    return 12 * config.num_layers * config.d_model**2


def subtracts_mean(x, weight, eps):
    """subtracts the mean first, as LayerNorm does"""
    return F.layer_norm(x, x.shape[-1:], weight, None, eps)


def eps_outside(x, weight, eps):
    """adds eps after the root; it belongs to the mean of the squares"""
    return x / (x.square().mean(-1, keepdim=True).sqrt() + eps) * weight


def sum_of_squares(x, weight, eps):
    """divides by the length of the vector: the sum of the squares instead of their mean"""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + eps) * weight


def without_root(x, weight, eps):
    """divides by the mean square and forgets the root"""
    return x / (x.square().mean(-1, keepdim=True) + eps) * weight


def over_positions_too(x, weight, eps):
    """takes one mean for all positions; each position has its own, or the future would show through"""
    return x * torch.rsqrt(x.square().mean() + eps) * weight


def without_weight(x, weight, eps):
    """forgets the learned weight"""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def weight_plus_one(x, weight, eps):
    """multiplies by 1 + weight, which is how Gemma stores its weights; Llama stores the factor itself"""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * (1 + weight)


def _angles(x, positions, theta):
    K = x.shape[-1]
    return positions[:, None] / theta ** (torch.arange(0, K, 2) / K)


def _turn(x, angles):
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * angles.cos() - second * angles.sin(), first * angles.sin() + second * angles.cos()], -1)


def neighbours_paired(x, positions, theta):
    """pairs neighbours, entries 2i and 2i + 1, as in lesson 02; Llama's files pair i with i + K/2"""
    angles = _angles(x, positions, theta)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()
    return torch.stack(turned, -1).flatten(-2)


def turned_backwards(x, positions, theta):
    """turns the other way round"""
    return _turn(x, -_angles(x, positions, theta))


def mirrored(x, positions, theta):
    """adds where it should subtract: that stretches and mirrors, and lengths change"""
    angles = _angles(x, positions, theta)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * angles.cos() + second * angles.sin(), first * angles.sin() + second * angles.cos()], -1)


def half_speed(x, positions, theta):
    """takes theta^(i / K) instead of theta^(2i / K), so slow pairs turn too fast"""
    K = x.shape[-1]
    return _turn(x, positions[:, None] / theta ** (torch.arange(K // 2) / K))


def one_speed(x, positions, theta):
    """turns every pair by the same angle, so positions 2π apart are alike"""
    return _turn(x, positions[:, None].expand(-1, x.shape[-1] // 2).float())


def places_from_zero(x, positions, theta):
    """counts 0, 1, 2, ... and ignores the positions it is given"""
    return _turn(x, _angles(x, torch.arange(x.shape[-2]), theta))


def theta_built_in(x, positions, theta):
    """always takes 10,000, whatever theta is asked for"""
    return _turn(x, _angles(x, positions, 10_000))


def _attend(q, k, v, hidden, scale=None, dim=-1):
    scores = q @ k.mT / (math.sqrt(q.shape[-1]) if scale is None else scale)
    return scores.masked_fill(hidden, -torch.inf).softmax(dim) @ v


def _ahead(q, diagonal=1):
    return torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(diagonal)


def _shared(q, *parts):
    return [part.repeat_interleave(q.shape[1] // part.shape[1], 1) for part in parts]


def heads_in_turn(q, k, v):
    """deals the shared heads out in turn (0, 1, 2, 0, 1, 2); each serves neighbours (0, 0, 1, 1, 2, 2)"""
    k, v = (part.repeat(1, q.shape[1] // part.shape[1], 1, 1) for part in (k, v))
    return _attend(q, k, v, _ahead(q))


def mask_transposed(q, k, v):
    """hides the past instead of the future: the mask is transposed"""
    return _attend(q, *_shared(q, k, v), _ahead(q).T)


def blind_to_itself(q, k, v):
    """hides each position from itself, so the first one sees nothing and becomes 0/0"""
    return _attend(q, *_shared(q, k, v), _ahead(q, 0))


def sees_ahead(q, k, v):
    """has no mask: every position sees the future"""
    return _attend(q, *_shared(q, k, v), torch.zeros_like(_ahead(q)))


def softmax_over_queries(q, k, v):
    """normalises over queries: every key hands out one unit of attention"""
    return _attend(q, *_shared(q, k, v), _ahead(q), dim=-2)


def masked_late(q, k, v):
    """zeroes weights after softmax, when hidden keys have taken their share"""
    k, v = _shared(q, k, v)
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    return weights.masked_fill(_ahead(q), 0.0) @ v


def unscaled(q, k, v):
    """forgets the root of K"""
    return _attend(q, *_shared(q, k, v), _ahead(q), scale=1.0)


def first_head_for_all(q, k, v):
    """lets all query heads read the first key/value head"""
    k, v = (part[:, :1].expand(-1, q.shape[1], -1, -1) for part in (k, v))
    return _attend(q, k, v, _ahead(q))
