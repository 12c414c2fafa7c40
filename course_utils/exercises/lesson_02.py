"""Exercises of lesson 02: the size of scores, masks, attention itself, heads, positions, and a pre-norm block."""

import math

import torch
from torch import nn

from course_utils.exercises import lesson_02_wrong as wrong
from course_utils.exercises.expect import expect, expect_close, expect_equal
from course_utils.exercises.framework import Exercise
from course_utils.exercises.lesson_02_oracles import ONE_HOT, check_hidden, check_sums, expect_shape, slow_weights
from course_utils.models.attention import (
    make_mask,
    scaled_dot_product_attention,
    sinusoidal_positions,
    split_heads,
)

NARROW, WIDE = 16, 256  # widths of two heads


def check_ratio(score_ratio: float) -> None:
    """Variances of independent products add up: 256 of them against 16, and the spread is the root."""
    expected = math.sqrt(sum(1 for _ in range(WIDE)) / sum(1 for _ in range(NARROW)))
    expect(
        math.isclose(score_ratio, expected),
        f"It is not {score_ratio:g} times.",
        "The variance of a sum of independent terms is the sum of their variances. What is its standard deviation?",
    )


def check_mask(make_mask) -> None:
    """Padding hidden as a key from every query, the future hidden in causal masks, each position visible to itself."""
    is_token = torch.tensor([[True, True, True, True], [True, True, False, False]])
    for causal in (False, True):
        expected = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
        for b in range(2):
            for query in range(4):
                for key in range(4):
                    expected[b, 0, query, key] = bool(is_token[b, key]) and (key <= query or not causal)
        tried = f"two sequences of 4 tokens and of 2 tokens with 2 of padding, causal={causal}"
        got = make_mask(is_token, causal)
        whole = (
            "The whole table is wanted: a row for each query, a column for each key, and 1 in the place of the heads."
        )
        expect_shape(got, (2, 1, 4, 4), tried=tried, question=whole)
        kind = getattr(got, "dtype", torch.bool)
        expect(kind == torch.bool, f"Expected True and False, got {kind}.", "A mask is boolean.", tried=tried)
        question = "True is visible, rows are queries, columns are keys. Is padding hidden as a key, in its column?"
        if causal:
            question = (
                "Both rules hold: no padding, and only keys up to the query's own position, itself included. Do they?"
            )
        expect_equal(got, expected, tried=tried, question=question)


def check_attention(attention) -> None:
    """Weights add up to 1, hidden keys get none, a query that sees nothing gets zeros, and values equal a loop's."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, d, generator=g) for n, d in [(4, 8), (5, 8), (5, 7)])
    mask = torch.ones(2, 1, 4, 5, dtype=torch.bool)
    mask[0, :, 2, 0] = mask[1, :, :, 4] = False
    weights = attention(q, k, torch.eye(5).expand(2, 3, 5, 5), mask)  # one-hot values give back the weights
    expect_equal(tuple(weights.shape), (2, 3, 4, 5), tried="q (2, 3, 4, 8), k (2, 3, 5, 8), v (2, 3, 5, 5)")
    check_sums(weights)
    check_hidden(weights, mask)
    question = "What divides the scores before softmax, and is nothing done to the weights after it?"
    expect_close(weights, slow_weights(q, k, mask), tried=ONE_HOT, question=question)
    expected = slow_weights(q, k, mask) @ v.double()
    expect_close(attention(q, k, v, mask), expected, question="Are the values averaged with the weights?")
    everything = torch.ones_like(mask)
    without = slow_weights(q, k, everything) @ v.double()
    expect_close(attention(q, k, v), without, tried="no mask", question="With mask=None, every key is visible.")
    mask[1, :, 3] = False
    blind = attention(q, k, v, mask)[1, 0, 3]
    expect_close(
        blind,
        torch.zeros(7),
        tried="a query that may see no key at all",
        question="It should get zeros, neither 0/0 nor an average of hidden values. What does softmax make of its row?",
    )


def check_split(split_heads) -> None:
    """Head h is a slice of neighbouring entries, at every position, for 1, 3 and 4 heads."""
    for B, T, D, num_heads in [(2, 3, 8, 4), (2, 5, 12, 3), (1, 4, 6, 1)]:
        x = torch.arange(B * T * D, dtype=torch.float32).view(B, T, D)
        K = D // num_heads
        expected = torch.stack([x[..., h * K : (h + 1) * K] for h in range(num_heads)], dim=1)
        tried = f"B={B}, T={T}, D={D}, {num_heads} heads; x counts 0, 1, 2, ..."
        got = split_heads(x, num_heads)
        order = "The result is (B, H, T, K): heads, then positions, then K = D / H numbers. Which order is yours?"
        expect_shape(got, (B, num_heads, T, K), tried=tried, question=order)
        question = "Do the K numbers of one head and position stand side by side in x, at that same position?"
        expect_equal(got, expected, tried=tried, question=question)


def check_positions(sinusoidal_positions) -> None:
    """Every entry equals the formula, for widths 2, 6 and 8."""
    for num_positions, d_model in [(3, 2), (5, 6), (50, 8)]:
        rows = []
        for t in range(num_positions):
            angles = [t / 10_000 ** (2 * i / d_model) for i in range(d_model // 2)]
            rows.append([f(angle) for angle in angles for f in (math.sin, math.cos)])
        expect_close(
            sinusoidal_positions(num_positions, d_model),
            torch.tensor(rows),
            tried=f"{num_positions} positions, d_model = {d_model}",
            question="Sine and cosine of one angle stand side by side. Which angle belongs to entries 2i and 2i + 1?",
        )


def pre_norm_block(x, attention, feed_forward, norm_1, norm_2):
    """One encoder block that normalises the input of each part: x (B, T, D) to (B, T, D).

    `attention`, `feed_forward`, `norm_1` and `norm_2` are functions from (B, T, D) to (B, T, D).
    """
    x = x + attention(norm_1(x))
    return x + feed_forward(norm_2(x))


def check_block(pre_norm_block) -> None:
    """The path of x by hand, then equal to nn.TransformerEncoderLayer with norm_first=True; no norm on the path."""
    check_path(pre_norm_block)
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(4, 2, 10, dropout=0.0, batch_first=True, norm_first=True)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 3, 4)
    block = [
        lambda h: theirs.self_attn(h, h, h, need_weights=False)[0],
        lambda h: theirs.linear2(theirs.linear1(h).relu()),
        theirs.norm1,
        theirs.norm2,
    ]
    with torch.no_grad():
        silent = pre_norm_block(x, torch.zeros_like, torch.zeros_like, *block[2:])
        expect_close(
            silent,
            x,
            tried="attention and feed-forward that return zeros",
            question="If both parts add nothing, the block should return x itself. Is there a norm on the way through?",
        )
        tried = "the parts of an nn.TransformerEncoderLayer with random weights"
        question = "norm_1 stands before attention, norm_2 before feed-forward, and attention comes first. Is it so?"
        expect_close(pre_norm_block(x, *block), theirs(x), tried=tried, question=question)


def check_path(pre_norm_block) -> None:
    """With parts that only multiply, the result says which of them x went through."""
    x = torch.ones(1, 1, 1)
    got = pre_norm_block(x, lambda h: 10 * h, lambda h: 100 * h, torch.clone, torch.clone)
    tried = (
        "x = 1, norms that change nothing, an attention that multiplies by 10, a feed-forward that multiplies by 100"
    )
    question = "First x + 10 x = 11; then 11 + 100 · 11 = 1111. Is each part added to what stands on the path?"
    expect_close(got, torch.full((1, 1, 1), 1111.0), tried=tried, question=question)


EXERCISES = [
    Exercise(
        "02.1",
        title="scores of a wider head",
        name="score_ratio",
        solution=4.0,
        check=check_ratio,
        minutes=5,
        difficulty=1,
        wrong=[
            (16, "compares variances; the spread is their square root"),
            (256, "takes the wide head's width alone"),
            (1, "thinks that a sum of more terms is no larger"),
            (2, "takes the root of the root"),
        ],
        hints=["The variance of a score is the number of products added up.", "The root of 256 over the root of 16."],
    ),
    Exercise(
        "02.2",
        title="who may see whom",
        solution=make_mask,
        check=check_mask,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.mask_queries,
            wrong.mask_both,
            wrong.unexpanded,
            wrong.hidden_is_true,
            wrong.blind_to_itself,
            wrong.future_only,
            wrong.never_causal,
            wrong.padding_forgotten,
            wrong.either_rule,
        ],
        hints=[
            "Which of the two Ts is the key side? Put `is_token` there: `is_token[:, None, None, :]` is (B, 1, 1, T).",
            "`expand(-1, 1, T, T)` repeats it for all queries, `torch.ones(T, T, dtype=torch.bool).tril()` the past.",
        ],
    ),
    Exercise(
        "02.3",
        title="scaled dot-product attention",
        solution=scaled_dot_product_attention,
        check=check_attention,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.softmax_over_queries,
            wrong.scale_by_width,
            wrong.no_scale,
            wrong.scale_after_softmax,
            wrong.no_mask,
            wrong.mask_after_softmax,
            wrong.mask_with_zero,
            wrong.mask_added,
            wrong.mask_turned_round,
            wrong.blind_query_is_nan,
            wrong.blind_query_averages,
        ],
        hints=[
            "Which two dimensions of q and k must meet in the matrix product? `k.mT` swaps the last two.",
            "scores: (B, H, T, S). The mask goes in before softmax, with a number so low that e to it is 0.",
            "The lowest finite number, `torch.finfo(scores.dtype).min`, avoids 0/0; then clear what is still hidden.",
        ],
    ),
    Exercise(
        "02.4",
        title="from width to heads",
        solution=split_heads,
        check=check_split,
        minutes=10,
        difficulty=2,
        wrong=[wrong.view_only, wrong.no_transpose, wrong.interleaved, wrong.width_last, wrong.list_of_heads],
        hints=[
            "First cut the last dimension in two: (B, T, D) becomes (B, T, H, K).",
            "Then swap dimensions with `transpose`; a `view` alone would move numbers between positions.",
        ],
    ),
    Exercise(
        "02.5",
        title="positions made of waves",
        solution=sinusoidal_positions,
        check=check_positions,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.halves,
            wrong.half_exponent,
            wrong.double_exponent,
            wrong.angle_per_entry,
            wrong.cosine_first,
            wrong.from_one,
        ],
        hints=[
            "Make the angles first: a column of positions (T, 1) divided by a row of D / 2 numbers.",
            "`torch.arange(0, d_model, 2)` is 0, 2, 4, ...: that is 2i already.",
            "`torch.stack([sines, cosines], dim=-1)` is (T, D / 2, 2); flattening it puts each pair side by side.",
        ],
    ),
    Exercise(
        "02.6",
        title="a pre-norm block",
        solution=pre_norm_block,
        check=check_block,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.post_norm,
            wrong.norm_at_the_end,
            wrong.norm_behind_each_part,
            wrong.residual_from_normalised,
            wrong.parallel,
            wrong.no_residual,
            wrong.no_second_residual,
            wrong.one_norm_twice,
            wrong.no_norm,
            wrong.feed_forward_first,
        ],
        hints=[
            "Follow the path of x: nothing but two sums may happen to it.",
            "Each part reads a normalised copy: `attention(norm_1(x))`. The second reads what the first has added to.",
        ],
    ),
]
