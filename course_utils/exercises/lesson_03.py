"""Exercises of lesson 03: embeddings, counting parameters, joining weights, pooling."""

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises import lesson_03_wrong as wrong
from course_utils.exercises.describe import describe
from course_utils.exercises.expect import expect, expect_close
from course_utils.exercises.framework import Exercise
from course_utils.models.bert import BertConfig, BertModel
from course_utils.models.sentence_encoder import mean_pool


def embed(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """BERT's input: ids and types (B, T), tables (V, D), (P, D) and (2, D), a LayerNorm; returns states (B, T, D)."""
    T = input_ids.shape[1]
    return norm(token_table[input_ids] + type_table[token_type_ids] + position_table[:T])


def check_embed(embed) -> None:
    """Each position's three vectors, added up one by one and normalised; T, V and the position table differ in size."""
    g = torch.Generator().manual_seed(0)
    token_table, position_table, type_table = (torch.randn(n, 4, generator=g) for n in (9, 6, 2))
    norm = nn.LayerNorm(4, eps=0.1)  # large, so that a sum and a mean do not look alike
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 0.5, 1.5])), norm.bias.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    input_ids, types = torch.tensor([[3, 8, 3], [0, 1, 7]]), torch.tensor([[0, 0, 1], [0, 1, 1]])
    expected = torch.stack(
        [
            torch.stack(
                [norm(token_table[input_ids[b, t]] + position_table[t] + type_table[types[b, t]]) for t in range(3)]
            )
            for b in range(2)
        ]
    ).detach()
    with torch.no_grad():
        got = embed(input_ids, types, token_table, position_table, type_table, norm)
    question = "Which row of each table belongs to position t of a sequence, and is the norm applied to their sum?"
    expect_close(got, expected, tried="2 sequences of 3 tokens", question=question)


MISSING = (
    "Three tables and a norm; in each layer four matrices of attention, two of feed-forward, two norms; the pooler. "
    "Each matrix has a bias. What do you count differently?"
)


def num_parameters(config: BertConfig) -> int:
    """How many numbers a BertModel of these sizes learns: embeddings, layers and pooler, biases and norms included."""
    D, d_ff = config.d_model, config.d_ff
    tables = (config.vocab_size + config.context_length + config.num_token_types) * D
    norm = 2 * D
    attention = 4 * (D * D + D)
    feed_forward = (D * d_ff + d_ff) + (d_ff * D + D)
    pooler = D * D + D
    return tables + norm + config.num_layers * (attention + feed_forward + 2 * norm) + pooler


def check_count(num_parameters) -> None:
    """Equal to counting the tensors of real models of four shapes, bert-base-uncased among them."""
    sizes = {"vocab_size": 11, "d_model": 6, "num_heads": 2, "d_ff": 10, "context_length": 9, "num_token_types": 3}
    for config in [
        BertConfig(**sizes, num_layers=2),
        BertConfig(**sizes, num_layers=3),
        BertConfig(**sizes | {"num_heads": 3, "num_token_types": 4}, num_layers=3),
        BertConfig(),
    ]:
        with torch.device("meta"):  # shapes without numbers
            expected = sum(parameter.numel() for parameter in BertModel(config).parameters())
        got = num_parameters(config)
        expect(type(got) in (int, float), f"Expected a number, got {describe(got)}.", "Did you forget `return`?")
        amount = f"{abs(got - expected):,} too {'few' if got < expected else 'many'}"
        expect(got == expected, f"Expected {expected:,}, got {got:,}: {amount}.", MISSING, tried=repr(config))


def join_qkv(file: dict[str, torch.Tensor], layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight (3 D, D) and bias (3 D,) of our `qkv` for one layer, from the file's query, key and value."""
    prefix = f"encoder.layer.{layer}.attention.self"
    parts = ("query", "key", "value")
    weight = torch.cat([file[f"{prefix}.{part}.weight"] for part in parts])
    bias = torch.cat([file[f"{prefix}.{part}.bias"] for part in parts])
    return weight, bias


def check_join(join_qkv) -> None:
    """The joined matrix gives the queries, keys and values of three separate layers, for layer 0 and layer 2."""
    g = torch.Generator().manual_seed(0)
    file = {}
    for layer in range(3):
        for part in ("query", "key", "value"):
            name = f"encoder.layer.{layer}.attention.self.{part}"
            file |= {f"{name}.weight": torch.randn(4, 4, generator=g), f"{name}.bias": torch.randn(4, generator=g)}
    x = torch.randn(2, 4, generator=g)
    for layer in (0, 2):
        answer = join_qkv(file, layer)
        two = isinstance(answer, tuple | list) and len(answer) == 2
        expect(two, f"Expected weight and bias, got {describe(answer)}.", "Does your function return both?")
        weight, bias = answer
        check_join_shapes(weight, bias)
        name = f"encoder.layer.{layer}.attention.self"
        for part, got in zip(("query", "key", "value"), F.linear(x, weight, bias).split(4, dim=-1), strict=True):
            expected = x @ file[f"{name}.{part}.weight"].T + file[f"{name}.{part}.bias"]
            question = "Our `qkv` gives queries first, then keys, then values, and a Linear computes x @ weight.T."
            if layer:
                question = "Layer 0 was right. Do the names that you look up hold the number of the layer?"
            expect_close(got, expected, tried=f"{part} of layer {layer}, for 2 inputs of width 4", question=question)


def check_join_shapes(weight, bias) -> None:
    """Three times as many outputs: (3 D, D) and (3 D,)."""
    shapes = [tuple(getattr(part, "shape", ())) for part in (weight, bias)]
    question = "One row of a Linear's weight is one output. Which way do you put the three together?"
    message = f"With D = 4, expected a weight (12, 4) and a bias (12,), got {shapes[0]} and {shapes[1]}."
    expect(shapes == [(12, 4), (12,)], message, question)


def check_pool(mean_pool) -> None:
    """The mean over tokens alone, whatever stands at padding; a row without tokens gives zeros."""
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 5, 4, generator=g)
    lengths = [5, 3, 1]
    mask = (torch.arange(5) < torch.tensor(lengths)[:, None]).long()
    expected = torch.stack([hidden[row, :length].double().mean(0) for row, length in enumerate(lengths)])
    question = "By how many positions is each row divided, and what do padded positions add to its sum?"
    expect_close(mean_pool(hidden, mask), expected, tried="texts of 5, 3 and 1 tokens", question=question)
    empty = mean_pool(hidden[:1], torch.zeros(1, 5, dtype=torch.long))
    expect(
        bool(empty.isfinite().all()) and not empty.any(),
        f"A row without tokens should give zeros, got {empty[0].tolist()}.",
        "What is divided by what when no position counts?",
    )


EXERCISES = [
    Exercise(
        "03.1",
        title="what goes into the first layer",
        solution=embed,
        check=check_embed,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.no_norm,
            wrong.norm_each,
            wrong.norm_of_tokens,
            wrong.mean_of_three,
            wrong.no_positions,
            wrong.positions_from_one,
            wrong.whole_table,
            wrong.position_by_token,
            wrong.position_by_row,
            wrong.no_types,
        ],
        hints=[
            "Indexing a table with ids looks rows up: `table[ids]` is (B, T, D).",
            "Every sequence starts at position 0, so the rows of `position_table` that are needed are the first T.",
        ],
    ),
    Exercise(
        "03.2",
        title="a parameter count by formula",
        solution=num_parameters,
        check=check_count,
        minutes=15,
        difficulty=3,
        wrong=[
            wrong.without_biases,
            wrong.without_norms,
            wrong.without_first_norm,
            wrong.one_norm_per_layer,
            wrong.without_pooler,
            wrong.three_matrices,
            wrong.per_head,
            wrong.with_output_layer,
            wrong.rule_of_thumb,
        ],
        hints=[
            "A linear layer from a to b numbers has a * b + b parameters; a LayerNorm of width D has 2 * D.",
            "Attention: four linear layers from D to D, however many heads. Feed-forward: D to d_ff and back.",
            "Norms: one after the embeddings, two in each layer.",
        ],
    ),
    Exercise(
        "03.3",
        title="three matrices into one",
        solution=join_qkv,
        check=check_join,
        minutes=10,
        difficulty=2,
        wrong=[wrong.keys_first, wrong.side_by_side, wrong.stacked, wrong.transposed, wrong.always_layer_0],
        hints=[
            "The names are `encoder.layer.{layer}.attention.self.query.weight`, and so on.",
            "A Linear's weight has one row per output; three times as many outputs means more rows: `torch.cat`.",
        ],
    ),
    Exercise(
        "03.4",
        title="one vector for a text",
        solution=mean_pool,
        check=check_pool,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.over_padding,
            wrong.divides_by_length,
            wrong.divides_by_batch,
            wrong.no_division,
            wrong.first_token,
            wrong.largest,
            wrong.zero_by_zero,
        ],
        hints=[
            "Multiply by the mask, (B, T, 1), so that padding adds nothing to the sum.",
            "Divide by the number of tokens of each row, at least 1: `mask.sum(1).clamp(min=1)`.",
        ],
    ),
]
