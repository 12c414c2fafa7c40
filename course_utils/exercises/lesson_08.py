"""Exercises of lesson 08: the loop that writes, temperature and top-k, top-p, repetition, beams, cache, padding."""

import torch
import torch.nn.functional as F

from course_utils.exercises import lesson_08_checks as checks
from course_utils.exercises import lesson_08_wrong as wrong
from course_utils.exercises import lesson_08_wrong_reading as wrong_reading
from course_utils.exercises.framework import Exercise
from course_utils.generation.prompts import left_pad
from course_utils.generation.sampling import repetition_logits, top_p_filter
from course_utils.models.attention import merge_heads, split_heads


def continue_text(model, input_ids, max_new_tokens, choose, eos_id=None):
    """Ids (1, T) and what is written behind them, at most `max_new_tokens` more: (1, T + new).

    `model` gives logits (1, T, V) for ids (1, T). `choose(logits, ids)` gives the next token, (1,), for the logits
    (1, V) after the last token and all ids so far. The text ends with `eos_id` as soon as that is chosen.
    """
    ids = input_ids
    for _ in range(max_new_tokens):
        token = choose(model(ids)[:, -1], ids)
        ids = torch.cat([ids, token[:, None]], dim=1)
        if token.item() == eos_id:
            break
    return ids


def top_k_probabilities(logits, temperature, top_k):
    """What the next token is drawn from: logits (B, V) to probabilities (B, V).

    Logits are divided by `temperature`. Each row keeps its `top_k` largest, and what equals the last of them; all
    others get probability 0.
    """
    warmed = logits / temperature
    smallest_kept = warmed.topk(top_k, dim=-1).values[:, -1:]  # (B, 1)
    return warmed.masked_fill(warmed < smallest_kept, -torch.inf).softmax(-1)


def beam_step(scores, log_p, eos_id, num_beams):
    """One step of beam search: k beams of total log-probability `scores` (k,), `log_p` (k, V) for their next tokens.

    The 2 * num_beams best of all k * V extensions are candidates, triples (score, beam, token), best first. Gives
    two lists: `running`, the first `num_beams` of them that do not end, and `finished`, those that end with `eos_id`
    and are among the first `num_beams`.
    """
    V = log_p.shape[-1]
    best, places = (scores[:, None] + log_p).flatten().topk(2 * num_beams)  # of k * V
    triples = [(score, place // V, place % V) for score, place in zip(best.tolist(), places.tolist(), strict=True)]
    running = [triple for triple in triples if triple[2] != eos_id][:num_beams]
    finished = [triple for triple in triples[:num_beams] if triple[2] == eos_id]
    return running, finished


def queries_keys_values(layer, x):
    """What a layer's attention computes of the states x (B, T, D): queries, keys, values, (B, H, T, K) each."""
    qkv = layer.attention.qkv(layer.attention_norm(x))  # (B, T, 3 D)
    return [split_heads(part, layer.attention.num_heads) for part in qkv.chunk(3, dim=-1)]


def finish_layer(layer, x, heads):
    """The rest of a layer, once its heads (B, H, T, K) have looked: states (B, T, D) for the next layer."""
    x = x + layer.attention.output(merge_heads(heads))
    return x + layer.feed_forward(layer.feed_forward_norm(x))


def read_new(model, token_ids, cache=None):
    """Logits (B, T, V) for ids (B, T) that follow what `cache` holds, and a new cache with them added.

    A cache is a list with one pair (keys, values) for each layer, (B, H, S, K) each, in the order in which positions
    were read; None is a beginning. The cache handed in stays as it is.
    """
    T, start = token_ids.shape[1], 0 if cache is None else cache[0][0].shape[2]
    x = model.token_embedding(token_ids) + model.position_embedding.weight[start : start + T]  # (B, T, D)
    is_visible = torch.ones(T, start + T, dtype=torch.bool).tril(start)  # row: query, column: key
    new_cache = []
    for number, layer in enumerate(model.layers):
        q, k, v = queries_keys_values(layer, x)
        if cache is not None:
            k, v = torch.cat([cache[number][0], k], dim=2), torch.cat([cache[number][1], v], dim=2)
        new_cache.append((k, v))
        x = finish_layer(layer, x, F.scaled_dot_product_attention(q, k, v, attn_mask=is_visible))
    return model.logits(model.norm(x)), new_cache


EXERCISES = [
    Exercise(
        "08.1",
        title="the loop that writes",
        solution=continue_text,
        check=checks.check_loop,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.reads_the_first,
            wrong.reads_the_prompt_only,
            wrong.reads_the_last_token,
            wrong.reads_the_one_before_last,
            wrong.chooses_itself,
            wrong.gives_probabilities_to_choose,
            wrong.one_token_too_many,
            wrong.writes_in_front,
            wrong.drops_the_end,
            wrong.never_ends,
            wrong.counts_the_prompt,
            wrong.new_tokens_only,
        ],
        hints=[
            "The last position's logits are `model(ids)[:, -1]`, shape (1, V).",
            "`torch.cat([ids, token[:, None]], dim=1)` puts the token (1,) behind the ids (1, T).",
        ],
    ),
    Exercise(
        "08.2",
        title="temperature and top-k",
        solution=top_k_probabilities,
        check=checks.check_top_k,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.softmax_over_the_batch,
            wrong.multiplied,
            wrong.temperature_afterwards,
            wrong.no_softmax,
            wrong.values_without_places,
            wrong.limit_before_temperature,
            wrong.one_too_few,
            wrong.one_too_many,
            wrong.logit_zero,
            wrong.not_shared_out,
            wrong.one_limit_for_all,
            wrong.ties_broken,
        ],
        hints=[
            "`logits.topk(top_k).values` is sorted; its last column is the smallest value that each row keeps.",
            "A logit of minus infinity has probability 0 after softmax, and the rest adds up to 1.",
        ],
    ),
    Exercise(
        "08.3",
        title="top-p, the nucleus",
        solution=top_p_filter,
        check=checks.check_top_p,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.drops_the_one_that_crosses,
            wrong.leaves_nothing,
            wrong.keeps_the_tail,
            wrong.cuts_by_probability,
            wrong.forgets_the_complement,
            wrong.marks_stay_sorted,
            wrong.gathers_the_marks,
            wrong.leaves_it_sorted,
            wrong.sums_over_the_batch,
            wrong.sums_logits,
            wrong.gives_probabilities,
            wrong.gives_log_probabilities,
        ],
        hints=[
            "Sort, softmax, `cumsum(-1)`. From the least probable up, a token goes while the sum is at most 1 - p.",
            "`scatter(-1, order, goes)` brings marks from sorted places back to the tokens' own.",
            "What must be true of the most probable token, whatever p is?",
        ],
    ),
    Exercise(
        "08.4",
        title="a penalty for repetition",
        solution=repetition_logits,
        check=checks.check_repetition,
        minutes=10,
        difficulty=3,
        wrong=[
            wrong_reading.always_divides,
            wrong_reading.subtracts,
            wrong_reading.rules_out,
            wrong_reading.once_per_occurrence,
            wrong_reading.last_token_alone,
            wrong_reading.all_rows_alike,
            wrong_reading.penalises_the_new,
            wrong_reading.counts_padding,
        ],
        hints=[
            "Make a table of booleans (B, V) first: is this token in this row's text? `scatter_` fills it.",
            "`torch.where(logits > 0, logits / penalty, logits * penalty)` lowers every logit.",
            "With padding, several positions hold one id. `scatter_reduce(..., 'amax')` is True if any of them counts.",
        ],
    ),
    Exercise(
        "08.5",
        title="one step of beam search",
        solution=beam_step,
        check=checks.check_beam_step,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong_reading.forgets_the_scores,
            wrong_reading.multiplies_logs,
            wrong_reading.adds_probabilities,
            wrong_reading.sorted_by_beam,
            wrong_reading.each_beam_alone,
            wrong_reading.grows_the_finished,
            wrong_reading.too_few_candidates,
            wrong_reading.every_ending_counts,
            wrong_reading.rows_for_columns,
        ],
        hints=[
            "`scores[:, None] + log_p` are the totals of all extensions, (k, V). Flatten, then one `topk`.",
            "Place i of the flattened table belongs to beam `i // V` and token `i % V`.",
        ],
    ),
    Exercise(
        "08.6",
        title="read only what is new",
        solution=read_new,
        check=checks.check_cache,
        minutes=20,
        difficulty=4,
        wrong=[
            wrong_reading.positions_from_zero,
            wrong_reading.positions_one_ahead,
            wrong_reading.new_keys_first,
            wrong_reading.values_not_kept,
            wrong_reading.keeps_only_the_new,
            wrong_reading.sees_everything,
            wrong_reading.mask_from_the_left,
            wrong_reading.mask_turned_over,
            wrong_reading.mask_of_numbers,
            wrong_reading.forgets_the_cache,
            wrong_reading.one_cache_for_all_layers,
        ],
        hints=[
            "How many positions are there already? `cache[0][0].shape[2]`. Position vectors begin there.",
            "Old keys stand in front: `torch.cat([old, new], dim=2)`. The same for values.",
            "Query t of the new ones sits at position start + t and sees keys 0 to start + t: `tril(start)`.",
        ],
    ),
    Exercise(
        "08.7",
        title="prompts of unequal lengths",
        solution=left_pad,
        check=checks.check_left_pad,
        minutes=5,
        difficulty=2,
        wrong=[
            wrong_reading.pads_on_the_right,
            wrong_reading.mask_turned_round,
            wrong_reading.mask_as_on_the_right,
            wrong_reading.mask_by_id,
            wrong_reading.pads_with_zero,
            wrong_reading.all_of_it_is_text,
            wrong_reading.cuts_to_the_shortest,
        ],
        hints=[
            "Every row is `[pad_id] * (T - len(prompt)) + prompt`, with T the longest prompt's length.",
            "A row's mask is False at its first T - len(prompt) places. Look at lengths, not at ids.",
        ],
    ),
]
