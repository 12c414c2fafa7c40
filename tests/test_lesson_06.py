"""What lesson 06 shows is what later lessons import: its two models, loss, rotation and attention are the library's."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises import lesson_06 as solutions
from course_utils.models.attention import merge_heads, split_heads
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.gpt_layers import Shared, attend, init_weights, make_norm, rotary_table, rotate
from course_utils.models.gpt_weights import GPT2, their_names
from course_utils.models.language_model import LanguageModelLoss
from course_utils.notebook.percent import read_source

SOURCE = Path(__file__).resolve().parent.parent / "notebooks" / "src" / "06_gpt_architecture.py"
SIZES = {"vocab_size": 31, "d_model": 24, "num_layers": 3, "num_heads": 6, "d_ff": 40, "context_length": 16}
OLD = GPTConfig.gpt2(**SIZES)
MODERN = GPTConfig.llama(**SIZES, num_kv_heads=2, rope_theta=500.0)


def lesson(*cell_ids: str, **names) -> dict:
    """The names that these cells of the lesson define, with the course's solutions in the learner's place."""
    names |= {"torch": torch, "nn": nn, "F": F, "math": math, "GPTConfig": GPTConfig}
    names |= {"split_heads": split_heads, "merge_heads": merge_heads, "init_weights": init_weights}
    names |= {name: getattr(solutions, name) for name in ("rms_norm", "rotate_halves", "grouped_attention")}
    sources = {cell.id: cell.source for cell in read_source(SOURCE).cells}
    for cell_id in cell_ids:
        exec(compile(sources[cell_id], cell_id, "exec"), names)
    return names


def randomised(config: GPTConfig) -> GPT:
    """The library's model with random numbers also where training starts from 0 or 1."""
    torch.manual_seed(0)
    model = GPT(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=0.1, std=0.3)
    return model


def assert_same(shown: nn.Module, library: GPT) -> None:
    """The same parameter names, logits, and gradients."""
    shown.load_state_dict(library.state_dict())
    ids = torch.randint(0, 31, (2, 9))
    logits = shown(ids), library(ids)
    torch.testing.assert_close(*logits)
    importance = torch.linspace(-1, 2, logits[0].numel()).view_as(logits[0])
    for out in logits:
        (out * importance).sum().backward()
    for name, parameter in shown.named_parameters():
        torch.testing.assert_close(parameter.grad, library.get_parameter(name).grad, atol=1e-3, rtol=1e-3)


def test_gpt2_of_the_lesson_is_the_library_s():
    assert_same(lesson("attention", "block", "model")["GPT2"](OLD).eval(), randomised(OLD))


def test_modern_model_of_the_lesson_is_the_library_s():
    shown = lesson("swiglu", "modern-attention", "modern-model")["ModernGPT"](MODERN).eval()
    assert_same(shown, randomised(MODERN))


def test_fresh_models_are_drawn_alike():
    torch.manual_seed(0)
    library = GPT(OLD)
    shown = lesson("attention", "block", "model")["GPT2"](OLD)
    init_weights(shown, OLD)
    for name, ours in shown.named_parameters():
        assert ours.std().item() == pytest.approx(library.get_parameter(name).std().item(), rel=0.3, abs=1e-9), name


def test_the_loss_is_the_one_that_training_uses():
    library, ids = randomised(OLD), torch.randint(0, 31, (2, 9))
    shifted = LanguageModelLoss(library)(ids[:, :-1], ids[:, 1:])
    torch.testing.assert_close(solutions.next_token_loss(library(ids), ids), shifted.loss)


def test_the_rotation_is_the_library_s():
    x = torch.randn(2, 9, 4, 8)  # (B, T, H, K): the library turns before it moves the heads
    turn = tuple(part[:9, None] for part in rotary_table(8, 500.0, 16, x.dtype, x.device))
    shown = solutions.rotate_halves(x.transpose(1, 2), torch.arange(9), 500.0).transpose(1, 2)
    torch.testing.assert_close(shown, rotate(x, turn))


def test_shared_heads_are_the_library_s():
    q, k, v = torch.randn(2, 6, 9, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8)
    library = attend(q, k, v, Shared(None, is_causal=True, turn=None, cache=None), dropout=0.0)
    torch.testing.assert_close(solutions.grouped_attention(q, k, v), library)


def test_rms_norm_is_the_library_s():
    norm, x = make_norm(MODERN), torch.randn(2, 3, 24) + 1
    nn.init.normal_(norm.weight)
    torch.testing.assert_close(solutions.rms_norm(x, norm.weight, norm.eps), norm(x))


@pytest.mark.parametrize("config", [OLD, GPTConfig.gpt2(), GPTConfig.gpt2(**SIZES | {"num_layers": 7})])
def test_the_formula_counts_the_library_s_model(config):
    with torch.device("meta"):
        model = GPT(config)
    assert solutions.num_parameters(config) == sum(parameter.numel() for parameter in model.parameters())


def test_names_of_the_lesson_are_the_library_s():
    source = next(cell.source for cell in read_source(SOURCE).cells if cell.id == "names")
    definitions = source[source.index("REPLACEMENTS = ") : source.index("\n\n\nfor name, parameter")]
    names = {}
    exec(compile(definitions, "names", "exec"), names)
    for name in GPT(OLD).state_dict():
        assert (names["gpt2_name"](name),) == their_names(name, GPT2)
