"""Exercises of lesson 07: splitting, blocks, measures of a loss, decay groups, the cosine, accumulated gradients."""

import math

import torch

from course_utils.exercises import lesson_07_checks as checks
from course_utils.exercises import lesson_07_wrong as wrong
from course_utils.exercises import lesson_07_wrong_training as wrong_training
from course_utils.exercises.framework import Exercise
from course_utils.training.language_model import accumulate_gradients
from course_utils.training.schedule import warmup_cosine


def split_rows(documents: list[list[int]], end_id: int, num_validation: int, generator) -> tuple:
    """Whole documents, drawn at random, as two rows of ids: (training, validation), `end_id` after every document.

    `num_validation` documents go to validation, all others to training.
    """
    order = torch.randperm(len(documents), generator=generator).tolist()
    parts = order[num_validation:], order[:num_validation]
    train, validation = (torch.tensor([i for number in part for i in [*documents[number], end_id]]) for part in parts)
    return train, validation


def blocks_at(ids: torch.Tensor, starts: list[int], context_length: int) -> tuple:
    """Blocks of a row ids (N,), one for each start: inputs (B, T) and targets (B, T), T = context_length."""
    blocks = torch.stack([ids[start : start + context_length + 1] for start in starts])  # (B, T + 1)
    return blocks[:, :-1], blocks[:, 1:]


def measures(log_probs: torch.Tensor, num_bytes: int) -> tuple[float, float, float]:
    """Loss (nats per token), perplexity and bits per byte of a text.

    `log_probs` (N,) holds the logarithm (base e) of the probability that each token got; the text has `num_bytes`.
    """
    loss = -log_probs.mean().item()
    return loss, math.exp(loss), loss * len(log_probs) / (math.log(2) * num_bytes)


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict]:
    """Two groups for AdamW, each {"params": [...], "weight_decay": ...}: what decays, then what does not.

    Matrices and tables decay, biases and the weights of norms do not. Frozen parameters are in neither group.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


EXERCISES = [
    Exercise(
        "07.1",
        title="a split that leaks nothing",
        solution=split_rows,
        check=checks.check_split,
        minutes=15,
        difficulty=2,
        wrong=[
            wrong.cuts_the_row,
            wrong.deals_blocks,
            wrong.validates_on_training,
            wrong.first_come,
            wrong.runs_documents_together,
            wrong.ends_between_only,
            wrong.other_way_round,
            wrong.draws_unseeded,
            wrong.draws_with_replacement,
            wrong.ends_in_front,
        ],
        hints=[
            "Draw documents, not tokens: `torch.randperm(len(documents), generator=generator)` is a random order.",
            "Only then join: the ids of each document, then `end_id`, for the last document too.",
        ],
    ),
    Exercise(
        "07.2",
        title="blocks and their targets",
        solution=blocks_at,
        check=checks.check_blocks,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.same_token,
            wrong.two_ahead,
            wrong.one_back,
            wrong.round_the_corner,
            wrong.one_short,
            wrong.last_left_out,
            wrong.one_target,
        ],
        hints=[
            "T inputs and T targets, shifted by one, need T + 1 tokens in a row.",
            "Cut T + 1 tokens at each start and stack them; inputs are all but the last, targets all but the first.",
        ],
    ),
    Exercise(
        "07.3",
        title="three names for one loss",
        solution=measures,
        check=checks.check_measures,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.perplexity_base_two,
            wrong.perplexity_of_mean_probability,
            wrong.mean_of_inverse,
            wrong.bits_per_token,
            wrong.nats_per_byte,
            wrong.bytes_per_token_upside_down,
            wrong.whole_text,
            wrong.loss_in_bits,
            wrong.sign_forgotten,
            wrong.logarithm_twice,
            wrong.probability_for_perplexity,
            wrong.multiplies_by_ln_two,
        ],
        hints=[
            "Perplexity undoes the logarithm of the mean, so it needs the same base as the logarithm.",
            "The whole text costs `loss * N` nats. A bit is ln 2 nats. Spread that over the bytes.",
        ],
    ),
    Exercise(
        "07.4",
        title="what decays and what does not",
        solution=decay_groups,
        check=checks.check_groups,
        minutes=10,
        difficulty=2,
        guard=False,  # parameters are handed on as they are
        wrong=[
            wrong_training.everything_decays,
            wrong_training.norms_decay,
            wrong_training.biases_decay,
            wrong_training.rest_forgotten,
            wrong_training.frozen_too,
            wrong_training.found_twice,
            wrong_training.decay_built_in,
            wrong_training.groups_swapped,
            wrong_training.tables_spared,
            wrong_training.decay_left_to_adamw,
            wrong_training.named_pairs,
            wrong_training.as_sets,
        ],
        hints=[
            "You need no names: biases and the weights of norms have one dimension.",
            "`model.parameters()` yields each tensor once, tied ones too. `p.requires_grad` says whether it trains.",
        ],
    ),
    Exercise(
        "07.5",
        title="warm up, then half a cosine",
        solution=warmup_cosine,
        check=checks.check_cosine,
        minutes=10,
        difficulty=3,
        wrong=[
            wrong_training.starts_at_zero,
            wrong_training.rises_again,
            wrong_training.falls_to_zero,
            wrong_training.floor_on_top,
            wrong_training.cut_at_the_floor,
            wrong_training.jumps_after_warmup,
            wrong_training.straight_line,
            wrong_training.quarter_cosine,
            wrong_training.a_step_early,
            wrong_training.no_pi,
            wrong_training.floor_built_in,
            wrong_training.warmup_too_long,
        ],
        hints=[
            "Progress runs from 0 at step `warmup_steps` to 1 at step `max_steps`, and stays at 1 after that.",
            "(1 + cos(pi * progress)) / 2 falls from 1 to 0. Squeeze it into the room between `min_share` and 1.",
        ],
    ),
    Exercise(
        "07.6",
        title="one large step in small parts",
        solution=accumulate_gradients,
        check=checks.check_accumulation,
        minutes=15,
        difficulty=3,
        guard=False,  # it changes the model's gradients, which is its purpose
        wrong=[
            wrong_training.mean_of_means,
            wrong_training.never_divides,
            wrong_training.counts_positions,
            wrong_training.last_part_only,
            wrong_training.drops_the_rest,
            wrong_training.returns_last_loss,
            wrong_training.whole_at_once,
            wrong_training.parts_of_size,
            wrong_training.one_backward,
            wrong_training.steps_too,
            wrong_training.returns_a_tensor,
            wrong_training.fewer_parts_silently,
        ],
        hints=[
            "`backward` adds to the gradients that are there. So nothing has to be set to zero between the parts.",
            "`output.loss` is a mean over `output.num_targets`. Weighted with its share of all targets, it adds up.",
            "`torch.arange(num_sequences).chunk(num_micro_batches)` splits the rows, and loses none.",
        ],
    ),
]
