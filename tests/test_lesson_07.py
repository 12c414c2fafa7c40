"""What lesson 07 shows is what the library does: loop, blocks, measures, groups; and its counts and claims hold."""

import math
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_utils.checkpoints import course_gpt, read_training_log
from course_utils.config import TrainConfig
from course_utils.data.language_model import BlockBatches, bits_per_byte
from course_utils.exercises import lesson_07
from course_utils.exercises.framework import run_check
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.language_model import LanguageModelLoss
from course_utils.notebook.percent import read_source
from course_utils.runtime import Timer, device
from course_utils.training.language_model import GPT_RUN, accumulate_gradients, train_language_model
from course_utils.training.loop import to_device
from course_utils.training.optim import clip_grad_norm, make_adamw, parameter_groups
from course_utils.training.schedule import warmup_cosine

SOURCE = Path(__file__).parents[1] / "notebooks" / "src" / "07_gpt_pretraining.py"
SIZES = {"vocab_size": 31, "d_model": 24, "num_layers": 2, "num_heads": 3, "context_length": 16, "dropout": 0.1}


def shown(cell_id: str, **names) -> dict:
    """What a cell of the lesson defines, given the names it uses."""
    (cell,) = [cell for cell in read_source(SOURCE).cells if cell.id == cell_id]
    exec(compile(cell.source, cell_id, "exec"), names)
    return names


def tiny_objective() -> LanguageModelLoss:
    torch.manual_seed(0)
    return LanguageModelLoss(GPT(GPTConfig.gpt2(**SIZES)))


def shown_loop() -> dict:
    names = {"torch": torch, "nn": nn, "time": time, "device": device, "TrainConfig": TrainConfig}
    names |= {"to_device": to_device, "clip_grad_norm": clip_grad_norm, "warmup_cosine": warmup_cosine}
    names |= {"accumulate_gradients": accumulate_gradients, "decay_groups": lesson_07.decay_groups}
    return shown("loop", **names)


@pytest.mark.parametrize("num_parts", [1, 3])
def test_the_loop_that_is_shown_is_the_librarys(num_parts):
    lesson, ids = shown_loop(), torch.randint(31, (900,), generator=torch.Generator().manual_seed(0))
    batches = BlockBatches(ids, batch_size=4, context_length=16, num_steps=6)
    config = TrainConfig(max_lr=1e-2, warmup_fraction=0.3, grad_clip_norm=0.5, **GPT_RUN)
    ours, library = tiny_objective(), tiny_objective()
    torch.manual_seed(1)
    history = lesson["train_gpt"](
        ours, batches, lesson["make_optimizer"](ours, config), config, num_micro_batches=num_parts
    )
    torch.manual_seed(1)
    optimizer = make_adamw(library, config, head_names=())
    expected = train_language_model(library, batches, optimizer, config, num_micro_batches=num_parts)
    assert history["loss"] == pytest.approx(expected.losses, rel=1e-6)
    assert history["lr"] == pytest.approx(expected.lrs)
    assert history["grad_norm"] == pytest.approx(expected.grad_norms, rel=1e-5)
    assert max(expected.grad_norms) > 0.5, "nothing was clipped, so nothing was compared"
    for a, b in zip(ours.parameters(), library.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_going_on_reads_the_same_batches_at_the_same_rate():
    lesson, ids = shown_loop(), torch.randint(31, (900,))
    batches = BlockBatches(ids, batch_size=4, context_length=16, num_steps=6)
    config, objective = TrainConfig(max_lr=1e-2, **GPT_RUN), tiny_objective().eval()
    optimizer, seen = lesson["make_optimizer"](objective, config), []
    history = lesson["train_gpt"](objective, batches, optimizer, config, first_step=4, on_step=seen.append)
    assert seen == [5, 6]
    assert history["lr"] == pytest.approx([1e-2 * warmup_cosine(step, 1, 6) for step in (4, 5)])


def test_blocks_of_the_exercise_are_those_of_training():
    ids = torch.randint(31, (300,))
    batches = BlockBatches(ids, batch_size=5, context_length=7, num_steps=3, seed=2)
    for step in range(3):
        batch = batches.batch(step)
        starts = [batches._start(number) for number in range(5 * step, 5 * step + 5)]
        inputs, targets = lesson_07.blocks_at(ids, starts, 7)
        torch.testing.assert_close(inputs, batch["input_ids"])
        torch.testing.assert_close(targets, batch["targets"])


def test_bits_of_the_exercise_are_the_librarys():
    log_probs = torch.rand(13).log()
    loss, perplexity, bits = lesson_07.measures(log_probs, 41)
    assert bits == pytest.approx(bits_per_byte(loss, 13, 41))
    assert math.log(perplexity) == pytest.approx(loss)


def test_groups_of_the_exercise_are_the_librarys():
    objective, config = tiny_objective(), TrainConfig(weight_decay=0.3)
    ours, library = lesson_07.decay_groups(objective, 0.3), parameter_groups(objective, config, head_names=())
    for mine, theirs in zip(ours, library, strict=True):
        assert mine["weight_decay"] == theirs["weight_decay"]
        assert [id(p) for p in mine["params"]] == [id(p) for p in theirs["params"]]


def split_in_file_order(documents, end_id, num_validation, generator):
    drawn = set(torch.rand(len(documents), generator=generator).argsort()[:num_validation].tolist())
    rows = [], []
    for number, document in enumerate(documents):
        rows[number in drawn].extend([*document, end_id])
    return [torch.tensor(row, dtype=torch.int32) for row in rows]


def blocks_by_index(ids, starts, context_length):
    places = torch.tensor(starts)[:, None] + torch.arange(context_length)
    return ids[places], ids[places + 1]


def measures_as_tensors(log_probs, num_bytes):
    loss = -sum(log_probs) / len(log_probs)
    return loss, loss.exp(), -log_probs.sum() / math.log(2) / num_bytes


def groups_by_name(model, weight_decay):
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    other = [p for name, p in named if name.endswith("bias") or "norm" in name]
    matrices = (p for _, p in named if not any(p is spared for spared in other))
    return {"weight_decay": weight_decay, "params": matrices}, {"params": other, "weight_decay": 0}


def cosine_squared(step, warmup_steps, max_steps, min_share=0.1):
    progress = torch.tensor((step - warmup_steps) / (max_steps - warmup_steps)).clamp(0, 1)
    return min(1.0, (step + 1) / warmup_steps) * (min_share + (1 - min_share) * torch.cos(progress * math.pi / 2) ** 2)


def accumulate_then_divide(model, batch, num_micro_batches=1):
    if num_micro_batches > len(batch["targets"]):
        raise ValueError("too many parts")
    model.zero_grad()
    num_targets, total = 0, 0.0
    for k in range(num_micro_batches):
        output = model(**{name: tensor[k::num_micro_batches] for name, tensor in batch.items()})
        (output.loss * output.num_targets).backward()
        num_targets, total = num_targets + output.num_targets, total + output.loss.item() * output.num_targets
    for parameter in model.parameters():
        parameter.grad /= num_targets
    return total / num_targets


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("07.1", split_in_file_order),
        ("07.2", blocks_by_index),
        ("07.3", measures_as_tensors),
        ("07.4", groups_by_name),
        ("07.5", cosine_squared),
        ("07.6", accumulate_then_divide),
    ],
)
def test_a_right_answer_may_be_written_another_way(exercise_id, answer):
    (item,) = [item for item in lesson_07.EXERCISES if item.id == exercise_id]
    verdict = run_check(item, answer)
    assert verdict.status == "pass", verdict.message


@pytest.mark.parametrize("num_layers", [1, 3])
def test_operations_per_token_are_what_torch_counts(num_layers):
    names = {"torch": torch, "GPT": GPT, "device": device, "Timer": Timer}
    cell = next(cell for cell in read_source(SOURCE).cells if cell.id == "speed").source
    exec(cell[: cell.index("\n\nflops = ")], names)
    T = 64
    model = GPT(GPTConfig.gpt2(vocab_size=500, d_model=48, num_layers=num_layers, num_heads=3, context_length=T))
    ids = torch.randint(500, (2, T))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    assert counter.get_total_flops() / ids.numel() == pytest.approx(
        names["training_flops_per_token"](model, T), rel=0.02
    )


def test_leaks_are_counted():
    leaks = shown("leak", torch=torch, seed=0, end_id=0)["leaks"]
    talks = [[1] * 30 + [0] for _ in range(400)]  # shorter than four blocks of 8
    found = leaks(torch.tensor([i for talk in talks for i in talk]), 8)
    assert found["whole conversations"] == (0.0, 0.0)
    assert found["blocks at random"][0] == 0.0 < 0.9 < found["blocks at random"][1] <= 1.0
    assert found["windows at random"][0] == pytest.approx(1 - math.exp(-0.9), abs=0.1)


def test_the_log_beside_the_model_holds_what_the_lesson_shows():
    log = read_training_log(course_gpt.FOLDER)
    rows = log["rows"]
    assert rows[0]["step"] == 0 and rows[0]["loss"] == pytest.approx(math.log(8_000), abs=0.1)
    assert {"unigram", "bigram"} == log["baselines"].keys()
    assert min(row["loss"] for row in rows) < log["baselines"]["bigram"]
    assert sum("sample" in row for row in rows) >= 4
    assert log["command"].endswith("course_utils.runs.gpt_pretraining")
