"""What lesson 09 shows is what the library does, and the recorded run asked the questions that the lesson asks."""

import math
import random
from pathlib import Path

import pytest
import torch

from course_utils.chat.compare import logged_hits
from course_utils.checkpoints import course_gpt, read_training_log
from course_utils.data import dialogues
from course_utils.data.dialogues import Exchange
from course_utils.data.instruction import answer_batch
from course_utils.exercises import lesson_09_tuning_checks as tuning_checks
from course_utils.exercises.expect import Failure
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.language_model import LanguageModelLoss
from course_utils.models.lora import LoraLinear, add_lora
from course_utils.notebook.percent import read_source
from course_utils.runs import gpt_dialogue

SOURCE = Path(__file__).resolve().parent.parent / "notebooks" / "src" / "09_dialogue.py"


def code(cell_id: str, until: str = "") -> str:
    """A cell's source, up to a line that begins with `until`."""
    (source,) = [cell.source for cell in read_source(SOURCE).cells if cell.id == cell_id]
    return source.split(f"\n{until}")[0] if until else source


def test_the_loss_by_hand_is_the_librarys():
    names = {"torch": torch}
    exec(code("mask-check", until="ids, targets"), names)
    torch.manual_seed(0)
    model = GPT(GPTConfig.gpt2(vocab_size=11, d_model=12, num_layers=2, num_heads=2, context_length=9))
    batch = answer_batch([[0, 5, 6], [0, 4, 4, 4]], [[7, 8, 9, 9], [3]], 0)
    counts = batch["targets"] >= 0
    other = torch.where(counts, batch["targets"], 5)
    by_hand = names["loss_by_hand"](model, batch["input_ids"], other, counts)
    torch.testing.assert_close(by_hand, LanguageModelLoss(model)(**batch).loss)


def test_lora_put_on_by_hand_is_the_librarys():
    torch.manual_seed(0)
    base = GPT(GPTConfig.gpt2(vocab_size=11, d_model=24, num_layers=2, num_heads=2, context_length=9))
    names = {"base": base, "LoraLinear": LoraLinear, "torch": torch, "seed": 3}
    exec("import copy\n" + code("lora", until="same_at_start"), names)
    torch.manual_seed(3)
    library = add_lora(base, ("qkv",), rank=8, alpha=16)
    theirs = dict(library.named_parameters())
    for name, parameter in names["adapted"].named_parameters():
        assert torch.equal(parameter, theirs[name]) and parameter.requires_grad == theirs[name].requires_grad


@pytest.fixture(scope="module")
def asked() -> dict:
    """What the lesson's cells hold: exchanges of each split, and the choice task for as many items as there are."""
    names = {"random": random, "seed": 0, "num_questions": 320, "num_choices": 4}
    names |= {name: getattr(dialogues, name) for name in ("load_conversations", "clean_conversations")}
    names |= {name: getattr(dialogues, name) for name in ("split_conversations", "exchanges")}
    exec(code("data", until="print("), names)
    exec(code("choices", until="reply_ids"), names)
    return names


def test_the_recorded_run_asks_the_lessons_questions(asked):
    settings = gpt_dialogue.Settings()
    assert settings.seed == 0 and settings.num_questions == 320
    items, choices = gpt_dialogue.questions(asked["pairs"]["test"], settings)
    assert (items, choices) == (asked["items"], asked["choices"])


def test_its_exchanges_are_the_lessons(asked):
    assert gpt_dialogue.open_material(0).pairs == asked["pairs"]


def test_bits_count_the_end_as_a_byte():
    items = [Exchange("a", 1, ("Hi",), "ab\u00e9"), Exchange("b", 1, ("Hi",), " c  d ")]
    assert [gpt_dialogue.num_bytes(e.reply) for e in items] == [5, 4]
    found = gpt_dialogue.summary([torch.tensor([-math.log(2)] * 6), torch.tensor([-math.log(2)] * 3)], items)
    assert found == {"bits_per_byte": 1.0, "perplexity": 2.0}


def test_the_log_is_whole(asked):
    log = read_training_log(course_gpt.FOLDER, "dialogue")
    assert log["command"] == gpt_dialogue.COMMAND
    steps = [*gpt_dialogue.WATCHED_STEPS, log["settings"]["num_steps"]]
    for method in ("full", "LoRA"):
        assert [row["step"] for row in log["rows"] if row["method"] == method] == steps
        assert {len(marks) for marks in log["hits"][method].values()} == {len(asked["items"])}
    assert len(asked["items"]) == len(logged_hits()["retrieval"])
    assert log["test_bytes"] == [gpt_dialogue.num_bytes(e.reply) for e in asked["items"]]
    assert {len(bits) for bits in log["test_bits"].values()} == {len(asked["items"])}


def test_an_answer_that_writes_into_its_input_spoils_no_later_attempt():
    def extends_the_prompts(prompts, answers, end_id):
        for prompt, answer in zip(prompts, answers, strict=True):
            prompt.extend(answer)
        return {}

    before = str((tuning_checks.PROMPTS, tuning_checks.ANSWERS))
    with pytest.raises(Failure):
        tuning_checks.check_answer_batch(extends_the_prompts)
    assert str((tuning_checks.PROMPTS, tuning_checks.ANSWERS)) == before
