"""What lesson 08 shows is what `course_utils.generation` does: its loop, filters, beams and cache give the same."""

import inspect
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from course_utils.exercises import framework
from course_utils.exercises import lesson_08 as solutions
from course_utils.generation import generate, temperature_logits, top_k_filter, top_p_filter
from course_utils.models.attention import merge_heads, split_heads
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.notebook.percent import read_source

SOURCE = Path(__file__).resolve().parent.parent / "notebooks" / "src" / "08_text_generation.py"
CELLS = {cell.id: cell.source for cell in read_source(SOURCE).cells}
END = 3


def shaken(seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    model = GPT(GPTConfig.gpt2(vocab_size=31, d_model=24, num_layers=2, num_heads=6, context_length=32)).eval()
    for parameter in model.requires_grad_(False).parameters():
        parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def shown(cell_id: str, definition: str, **names):
    """One function of a cell of the lesson, with the names that earlier cells bind."""
    source = CELLS[cell_id]
    start = source.index(f"def {definition}(")
    body = source[start:]
    lines = body.splitlines()
    end = next((i for i, line in enumerate(lines[1:], 1) if line and not line.startswith((" ", ")"))), len(lines))
    exec(compile("\n".join(lines[:end]), cell_id, "exec"), names)
    return names[definition]


@pytest.fixture(scope="module", params=range(3))
def model(request):
    return shaken(request.param)


@pytest.mark.parametrize("eos_id", [None, END])
def test_the_loop_writes_what_the_library_writes(model, eos_id):
    prompt = torch.tensor([[7, 8, 9]])
    greedy = shown("greedy", "greedy")
    assert torch.equal(
        solutions.continue_text(model, prompt, 14, greedy, eos_id), generate(model, prompt, 14, eos_id=eos_id)
    )


def test_temperature_and_top_k_are_the_library_s():
    logits = torch.randn(3, 31).round(decimals=1)  # with ties
    for temperature, top_k in [(0.7, 5), (1.4, 31), (1.0, 1)]:
        expected = top_k_filter(temperature_logits(logits, temperature), top_k).softmax(-1)
        torch.testing.assert_close(solutions.top_k_probabilities(logits, temperature, top_k), expected)


def test_one_seed_gives_one_text(model):
    def choose(logits, ids):
        return torch.multinomial(top_p_filter(temperature_logits(logits, 0.9), 0.9).softmax(-1), 1)[:, 0]

    prompt = torch.tensor([[7, 8, 9]])
    torch.manual_seed(4)
    ours = solutions.continue_text(model, prompt, 14, choose)
    torch.manual_seed(4)
    assert torch.equal(ours, generate(model, prompt, 14, temperature=0.9, top_p=0.9))


@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("eos_id", [END, 7])
def test_beams_of_the_lesson_are_the_library_s(model, num_beams, alpha, eos_id):
    beam_text = shown("beams-loop", "beam_text", torch=torch, gpt=model, beam_step=solutions.beam_step)
    prompt = torch.tensor([[9, 10, 11, 12]])
    library = generate(model, prompt, 9, num_beams=num_beams, length_penalty=alpha, eos_id=eos_id)
    assert beam_text(prompt, 9, num_beams, eos_id, alpha).tolist() == library.tolist()


def test_the_pieces_of_the_model_are_those_of_the_exercise():
    for name in ("queries_keys_values", "finish_layer"):
        assert inspect.getsource(getattr(solutions, name)).strip() in CELLS["pieces"]


def test_reading_in_pieces_is_reading_at_once(model):
    names = {"F": F, "split_heads": split_heads, "merge_heads": merge_heads}
    names |= {name: getattr(solutions, name) for name in ("queries_keys_values", "finish_layer")}
    ids = torch.randint(0, 31, (2, 12))
    expected = model(ids)
    torch.testing.assert_close(shown("pieces", "read", **names)(model, ids), expected, atol=1e-4, rtol=1e-4)
    cache, parts = None, []
    for start, end in [(0, 5), (5, 6), (6, 12)]:
        logits, cache = solutions.read_new(model, ids[:, start:end], cache)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-4, rtol=1e-4)
    library = model.make_cache(2, 12)
    model(ids, cache=library)
    torch.testing.assert_close(torch.stack([k for k, _ in cache]), library.keys, atol=1e-4, rtol=1e-4)
    assert sum(stored.nbytes for pair in cache for stored in pair) == library.num_bytes


def test_the_memory_formula_counts_the_library_s_cache(model):
    config = model.config
    cache_bytes = shown("memory", "cache_bytes")
    assert cache_bytes(config.num_layers, config.d_model, 20) == model.make_cache(1, 20).num_bytes
    assert 3 * cache_bytes(config.num_layers, config.d_model, 20) == model.make_cache(3, 20).num_bytes


@pytest.mark.parametrize("item", solutions.EXERCISES, ids=lambda item: item.id)
def test_each_wrong_answer_is_told_its_own_mistake(item):
    for answer, misconception in item.wrong_answers():
        assert framework.evaluate(item, answer).misconception == misconception


def test_passing_beams_are_lists_that_the_loop_can_join():
    item = next(item for item in solutions.EXERCISES if item.id == "08.5")

    def tensors(*inputs):
        return tuple(torch.tensor(triples) for triples in solutions.beam_step(*inputs))

    assert "as a list of triples" in framework.evaluate(item, tensors).headline
