"""Exercises of lesson 06: the next-token loss, initialisation, counting, and three parts of a model of today."""

import math

import torch
import torch.nn.functional as F

from course_utils.exercises import lesson_06_checks as checks
from course_utils.exercises import lesson_06_wrong as wrong
from course_utils.exercises.framework import Exercise
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.gpt_layers import init_weights


def next_token_loss(logits, token_ids):
    """Logits (B, T, V), made from ids (B, T), against the ids that follow: the mean loss, nats per predicted token."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten())


def num_parameters(config: GPTConfig) -> int:
    """How many numbers a GPT-2 of these sizes learns, biases and norms included; the output layer is tied."""
    D, d_ff = config.d_model, config.d_ff
    tables = (config.vocab_size + config.context_length) * D
    norm = 2 * D
    attention = 4 * (D * D + D)
    feed_forward = (D * d_ff + d_ff) + (d_ff * D + D)
    return tables + config.num_layers * (attention + feed_forward + 2 * norm) + norm


def rms_norm(x, weight, eps):
    """x (..., D) divided by its root mean square over the last dimension, times weight (D,); `eps` keeps 0 out."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def rotate_halves(x, positions, theta):
    """Turn entries i and i + K/2 of x (..., T, K) together, by positions (T,) / theta^(2i / K); same shape."""
    K = x.shape[-1]
    angles = positions[:, None] / theta ** (torch.arange(0, K, 2) / K)  # (T, K / 2)
    first, second = x.chunk(2, dim=-1)  # (..., T, K / 2) each
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def grouped_attention(q, k, v):
    """Queries (B, H, T, K) over keys and values (B, G, T, K), none ahead of the query: (B, H, T, K).

    Query heads 0 to H/G - 1 share the first key/value head, the next H/G the second, and so on.
    """
    T, K = q.shape[-2:]
    k, v = (part.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for part in (k, v))  # (B, H, T, K)
    is_ahead = torch.ones(T, T, dtype=torch.bool).triu(1)  # row: query, column: key
    scores = (q @ k.mT / math.sqrt(K)).masked_fill(is_ahead, -torch.inf)  # (B, H, T, T)
    return scores.softmax(-1) @ v


EXERCISES = [
    Exercise(
        "06.1",
        title="the loss of a language model",
        solution=next_token_loss,
        check=checks.check_loss,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.same_token,
            wrong.previous_token,
            wrong.round_the_corner,
            wrong.into_the_next_text,
            wrong.over_positions,
            wrong.summed,
            wrong.divides_by_all,
            wrong.without_softmax,
        ],
        hints=[
            "The last position of a text has no target, and the first token is nobody's target: drop one of each.",
            "`F.cross_entropy` takes (N, V) and (N,). Cut first, then flatten: otherwise texts run into each other.",
        ],
    ),
    Exercise(
        "06.2",
        title="how a GPT begins",
        solution=init_weights,
        check=checks.check_init,
        minutes=15,
        difficulty=3,
        guard=False,
        wrong=[
            wrong.by_num_layers,
            wrong.one_addition_per_layer,
            wrong.by_twice_the_layers,
            wrong.never_scaled,
            wrong.attention_alone,
            wrong.everything_scaled,
            wrong.biases_left,
            wrong.embeddings_left,
            wrong.norms_drawn,
            wrong.width_built_in,
        ],
        hints=[
            "`model.modules()` yields every part; those of type `nn.Linear` and `nn.Embedding` hold the matrices.",
            "`model.named_parameters()` gives names; two in each layer end with `attention.output.weight` and "
            "`feed_forward.down.weight`.",
            "2 * num_layers independent terms of width s add up to a width of s * sqrt(2 * num_layers).",
        ],
    ),
    Exercise(
        "06.3",
        title="GPT by formula",
        solution=num_parameters,
        check=checks.check_count,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.head_twice,
            wrong.without_positions,
            wrong.without_biases,
            wrong.without_last_norm,
            wrong.three_matrices,
            wrong.rule_of_thumb,
        ],
        hints=[
            "It is exercise 03.2 with two tables instead of three, and no pooler.",
            "Pre-norm blocks leave the sum as it is, so one more norm stands behind the last block.",
        ],
    ),
    Exercise(
        "06.4",
        title="RMSNorm",
        solution=rms_norm,
        check=checks.check_rms,
        minutes=5,
        difficulty=1,
        wrong=[
            wrong.subtracts_mean,
            wrong.eps_outside,
            wrong.sum_of_squares,
            wrong.without_root,
            wrong.over_positions_too,
            wrong.without_weight,
            wrong.weight_plus_one,
        ],
        hints=[
            "Square, mean, root: from the inside out, the name read backwards.",
            "`x.square().mean(-1, keepdim=True)` is (..., 1), so it divides each position by its own number.",
        ],
    ),
    Exercise(
        "06.5",
        title="rotary positions, in halves",
        solution=rotate_halves,
        check=checks.check_rotation,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.neighbours_paired,
            wrong.turned_backwards,
            wrong.mirrored,
            wrong.half_speed,
            wrong.one_speed,
            wrong.places_from_zero,
            wrong.theta_built_in,
        ],
        hints=[
            "Begin with the angles, (T, K/2): one row per position, one column per pair.",
            "`first, second = x.chunk(2, dim=-1)` are the two entries of every pair. Put the results back with `cat`.",
        ],
    ),
    Exercise(
        "06.6",
        title="causal attention with shared keys and values",
        solution=grouped_attention,
        check=checks.check_grouped,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.heads_in_turn,
            wrong.mask_transposed,
            wrong.blind_to_itself,
            wrong.sees_ahead,
            wrong.softmax_over_queries,
            wrong.masked_late,
            wrong.unscaled,
            wrong.first_head_for_all,
        ],
        hints=[
            "`repeat` and `repeat_interleave` both make H heads out of G. Which puts copies side by side?",
            "The mask is True above the diagonal: `torch.ones(T, T, dtype=torch.bool).triu(1)`.",
        ],
    ),
]
