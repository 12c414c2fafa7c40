"""The GPT that the course ships: its log says what it does, transformers opens it, its run can be taken up again."""

import json

import pytest
import torch

from course_utils.checkpoints import course_gpt, read_training_log
from course_utils.errors import UserError
from course_utils.models.gpt import GPT
from course_utils.runs import gpt_pretraining, scaling
from course_utils.runs.gpt_pretraining import PROMPT, WATCHED_TOKENS, Settings, Text, measure, prepare


@pytest.fixture(scope="module")
def text() -> Text:
    return prepare(Settings())


@pytest.fixture(scope="module")
def model() -> GPT:
    return GPT.from_pretrained("course-gpt")


def test_the_vocabulary_is_the_one_that_training_text_gives(text):
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer.from_pretrained(course_gpt.FOLDER)
    assert len(theirs) == text.tokenizer.vocab_size == 8_000
    assert theirs.eos_token_id == text.end_id
    assert theirs(PROMPT)["input_ids"] == text.tokenizer.encode(PROMPT)


def test_transformers_computes_the_same(model, text):
    from transformers import GPT2LMHeadModel

    ids = text.validation[:97][None]
    theirs = GPT2LMHeadModel.from_pretrained(course_gpt.FOLDER, dtype=torch.float32).eval()
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, model(ids), atol=1e-4)
    assert theirs.config.eos_token_id == text.end_id


def test_the_log_says_what_the_weights_do(model, text):
    log = read_training_log(course_gpt.FOLDER)
    best = min(log["rows"], key=lambda row: row["loss"])
    found = measure(model, text.validation[:WATCHED_TOKENS], text)
    assert found["loss"] == pytest.approx(best["loss"], abs=0.003)  # float16 on disk
    assert found["bits_per_byte"] == pytest.approx(best["bits_per_byte"], abs=0.002)
    assert best["loss"] < log["baselines"]["bigram"] < log["baselines"]["unigram"]
    assert log["rows"][-1]["step"] == log["settings"]["num_steps"]
    assert log["settings"] == Settings().__dict__


def test_the_scaling_log_has_every_model_once():
    rows = read_training_log(course_gpt.FOLDER, scaling.LOG)["rows"]
    found = sorted((row["d_model"], row["num_layers"], row["seed"]) for row in rows)
    seeds = scaling.Settings().seeds
    assert found == sorted([(*size, seed) for size in scaling.SIZES for seed in seeds] + [(*scaling.PREDICTED, 0)])
    assert len({row["tokens"] for row in rows}) == 1
    for row in rows:
        model = scaling.Settings().model(row["d_model"], row["num_layers"], 1_000)
        assert row["num_parameters"] == sum(p.numel() for p in model.parameters())
        assert row["num_block_parameters"] == sum(p.numel() for p in model.layers.parameters())


def test_a_run_that_was_stopped_goes_on_and_refuses_other_settings(text, tmp_path, monkeypatch):
    monkeypatch.setattr(gpt_pretraining, "LOG_EVERY", 2)
    monkeypatch.setattr(gpt_pretraining, "WATCHED_TOKENS", 100)
    small = {"vocab_size": 8_000, "d_model": 8, "num_layers": 1, "num_heads": 1, "context_length": 80, "batch_size": 2}
    settings = Settings(**small, num_steps=4)

    def run(folder, settings) -> list[dict]:
        torch.manual_seed(0)
        rows = gpt_pretraining.run(GPT(settings.model_config(8_000, 0)), settings, text, folder)
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    wanted = run(tmp_path / "whole", settings)
    assert [row["step"] for row in wanted] == [0, 2, 4]

    def stop(*args, **kwargs):
        saved = save_state(*args, **kwargs)
        raise KeyboardInterrupt(saved)

    save_state = gpt_pretraining.save_state
    monkeypatch.setattr(gpt_pretraining, "save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", settings)
    monkeypatch.setattr(gpt_pretraining, "save_state", save_state)
    with pytest.raises(UserError, match=r"max_lr was 0\.002, now 0\.1"):
        run(tmp_path / "stopped", Settings(**small, num_steps=4, max_lr=0.1))
    assert len(json.loads((tmp_path / "stopped" / "rows.json").read_text())["rows"]) == 2
    assert run(tmp_path / "stopped", settings) == wanted
