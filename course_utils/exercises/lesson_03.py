"""Exercises of lesson 03: embeddings, counting parameters, joining weights, pooling."""

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises.expect import expect, expect_close, expect_equal
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
    norm = nn.LayerNorm(4)
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
    question = "Which row of each table belongs to position t, and is the norm applied to the sum?"
    expect_close(got, expected, tried="2 sequences of 3 tokens", question=question)


def no_norm(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """adds up the three vectors and forgets to normalise the sum"""
    return token_table[input_ids] + position_table[: input_ids.shape[1]] + type_table[token_type_ids]


def norm_each(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """normalises each vector before adding; the norm belongs to the sum"""
    return norm(token_table[input_ids]) + norm(position_table[: input_ids.shape[1]]) + norm(type_table[token_type_ids])


def positions_from_one(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """counts positions from 1"""
    T = input_ids.shape[1]
    return norm(token_table[input_ids] + position_table[1 : T + 1] + type_table[token_type_ids])


def no_types(input_ids, token_type_ids, token_table, position_table, type_table, norm):
    """gives every position type 0, so the two sentences cannot be told apart"""
    return norm(token_table[input_ids] + position_table[: input_ids.shape[1]] + type_table[0])


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
    sizes = {"vocab_size": 11, "d_model": 6, "num_heads": 2, "d_ff": 10, "context_length": 7}
    for config in [
        BertConfig(**sizes, num_layers=1),
        BertConfig(**sizes, num_layers=3),
        BertConfig(**sizes | {"num_heads": 3}, num_layers=3, num_token_types=4),
        BertConfig(),
    ]:
        with torch.device("meta"):  # shapes without numbers
            expected = sum(parameter.numel() for parameter in BertModel(config).parameters())
        shape = f"D={config.d_model}, L={config.num_layers}, H={config.num_heads}, d_ff={config.d_ff}"
        got = num_parameters(config)
        question = (
            "Tables, four matrices of attention, two of feed-forward, norms, biases, pooler: is anything missing?"
        )
        expect_equal(got, expected, tried=shape, question=question)


def without_biases(config):
    """counts matrices and forgets biases"""
    D, d_ff = config.d_model, config.d_ff
    tables = (config.vocab_size + config.context_length + config.num_token_types) * D
    return tables + 2 * D + config.num_layers * (4 * D * D + 2 * D * d_ff + 4 * D) + D * D


def without_norms(config):
    """forgets the scale and shift of every LayerNorm"""
    norms = 2 * config.d_model * (1 + 2 * config.num_layers)
    return num_parameters(config) - norms


def without_pooler(config):
    """forgets the pooler"""
    return num_parameters(config) - config.d_model**2 - config.d_model


def per_head(config):
    """multiplies attention by the number of heads; heads divide the width, they do not add to it"""
    attention = 4 * (config.d_model**2 + config.d_model)
    return num_parameters(config) + config.num_layers * (config.num_heads - 1) * attention


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
    x = torch.randn(5, 4, generator=g)
    for layer in (0, 2):
        weight, bias = join_qkv(file, layer)
        expect_equal(
            (tuple(weight.shape), tuple(bias.shape)), ((12, 4), (12,)), tried="shapes of weight and bias, D = 4"
        )
        name = f"encoder.layer.{layer}.attention.self"
        for part, got in zip(("query", "key", "value"), F.linear(x, weight, bias).split(4, dim=-1), strict=True):
            expected = x @ file[f"{name}.{part}.weight"].T + file[f"{name}.{part}.bias"]
            question = "Our `qkv` gives queries first, then keys, then values, and a Linear computes x @ weight.T."
            expect_close(got, expected, tried=f"{part} of layer {layer}", question=question)


def wrong_order(file, layer):
    """puts keys before queries"""
    prefix = f"encoder.layer.{layer}.attention.self"
    parts = [f"{prefix}.{part}" for part in ("key", "query", "value")]
    return torch.cat([file[f"{p}.weight"] for p in parts]), torch.cat([file[f"{p}.bias"] for p in parts])


def side_by_side(file, layer):
    """joins the matrices side by side: outputs are rows of a Linear's weight"""
    prefix = f"encoder.layer.{layer}.attention.self"
    parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
    return torch.cat([file[f"{p}.weight"] for p in parts], dim=1), torch.cat([file[f"{p}.bias"] for p in parts])


def transposed(file, layer):
    """transposes each matrix, which TensorFlow's files need and PyTorch's do not"""
    prefix = f"encoder.layer.{layer}.attention.self"
    parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
    return torch.cat([file[f"{p}.weight"].T for p in parts]), torch.cat([file[f"{p}.bias"] for p in parts])


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


def over_padding(hidden_states, attention_mask):
    """averages over padded positions too"""
    return hidden_states.mean(1)


def divides_by_length(hidden_states, attention_mask):
    """clears padding but divides by all positions, so short texts get short vectors"""
    return (hidden_states * attention_mask[..., None]).mean(1)


def no_division(hidden_states, attention_mask):
    """adds up and never divides, so long texts get long vectors"""
    return (hidden_states * attention_mask[..., None]).sum(1)


def zero_by_zero(hidden_states, attention_mask):
    """is right except for a row without tokens, where it divides 0 by 0"""
    return (hidden_states * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)


EXERCISES = [
    Exercise(
        "03.1",
        title="what goes into the first layer",
        solution=embed,
        check=check_embed,
        minutes=10,
        difficulty=2,
        wrong=[no_norm, norm_each, positions_from_one, no_types],
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
        wrong=[without_biases, without_norms, without_pooler, per_head],
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
        wrong=[wrong_order, side_by_side, transposed],
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
        wrong=[over_padding, divides_by_length, no_division, zero_by_zero],
        hints=[
            "Multiply by the mask, (B, T, 1), so that padding adds nothing to the sum.",
            "Divide by the number of tokens of each row, at least 1: `mask.sum(1).clamp(min=1)`.",
        ],
    ),
]
