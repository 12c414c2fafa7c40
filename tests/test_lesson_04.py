"""What lesson 04 shows is what the library does, and what it says of the shipped model holds."""

import math
import shutil
from pathlib import Path

import pytest
import torch

from course_utils import assets
from course_utils.checkpoints import course_bert, export, read_training_log
from course_utils.config import TrainConfig
from course_utils.data import ngrams
from course_utils.data.pretraining import PretrainingBatches, make_corpus
from course_utils.data.tokenizers import WordPiece
from course_utils.errors import EnvironmentProblem
from course_utils.exercises import lesson_04
from course_utils.models.bert import BertForPreTraining
from course_utils.models.bert_config import BertConfig
from course_utils.notebook.percent import read_source
from course_utils.runtime import device
from course_utils.training import pretraining
from course_utils.training.optim import clip_grad_norm, make_adamw
from course_utils.training.schedule import warmup_linear

SOURCE = Path(__file__).parents[1] / "notebooks" / "src" / "04_bert_pretraining.py"
TALKS = [["how are you today", "fine , and you ?", "good"], ["do you like tea ?", "no , coffee", "me too"]]


def shown(cell_id: str, **names) -> dict:
    """What a cell of the lesson defines, given the names it uses."""
    (cell,) = [cell for cell in read_source(SOURCE).cells if cell.id == cell_id]
    exec(cell.source, names)
    return names


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece.load(course_bert.FOLDER)


def tiny_model(tokenizer) -> BertForPreTraining:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 32, "context_length": 32, "dropout": 0.0}
    return BertForPreTraining(BertConfig(vocab_size=tokenizer.vocab_size, **sizes))


@pytest.mark.parametrize("use_nsp", [True, False])
def test_the_loop_that_is_shown_is_the_librarys(tokenizer, use_nsp):
    names = {"TrainConfig": TrainConfig, "warmup_linear": warmup_linear, "device": device, "math": math}
    lesson = shown("train", **names, clip_grad_norm=clip_grad_norm, use_nsp=use_nsp)["pretrain"]
    corpus = make_corpus(TALKS, tokenizer)
    batches = PretrainingBatches(corpus, tokenizer, batch_size=4, max_length=20, num_steps=4)
    config, models = TrainConfig(max_lr=1e-2), [tiny_model(tokenizer), tiny_model(tokenizer)]
    mlm_losses, _ = lesson(models[0], batches, make_adamw(models[0], config), config)
    history = pretraining.pretrain(models[1], batches, make_adamw(models[1], config), config, use_nsp=use_nsp)
    assert mlm_losses == pytest.approx(history.mlm_losses, rel=1e-6)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_the_baseline_of_the_exercise_is_the_librarys():
    ids = torch.randint(30, (2, 200), generator=torch.Generator().manual_seed(0))
    for alpha in (1.0, 0.1):
        assert lesson_04.unigram_loss(*ids, 40, alpha) == ngrams.unigram_loss(*ids, 40, alpha)


def test_the_loss_of_the_exercise_is_the_models(tokenizer):
    batch = PretrainingBatches(make_corpus(TALKS, tokenizer), tokenizer, batch_size=6, max_length=20).batch(0)
    model = tiny_model(tokenizer).eval()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    everywhere = model(**inputs)
    by_hand = lesson_04.pretraining_loss(
        everywhere.mlm_logits, batch["labels"], everywhere.nsp_logits, batch["next_sentence_label"]
    )
    torch.testing.assert_close(by_hand, model(**batch).loss)


def test_the_shipped_model_is_whole_small_and_found_by_name():
    assert assets.verify_shipped("course-bert") == assets.model_path("course-bert") == course_bert.FOLDER
    assert (course_bert.FOLDER / "model.safetensors").stat().st_size <= export.MOST_BYTES
    model = BertForPreTraining.from_pretrained("course-bert")
    assert next(model.parameters()).dtype == torch.float32
    log = read_training_log(course_bert.FOLDER)
    assert log["command"].startswith("python -m course_utils.runs.") and len(log["rows"]) > 10


def test_an_altered_shipped_model_is_noticed(tmp_path, monkeypatch):
    folder = tmp_path / "course_bert"
    shutil.copytree(course_bert.FOLDER, folder)
    monkeypatch.setattr(assets, "CHECKPOINTS", tmp_path)
    assert assets.verify_shipped("course-bert") == folder
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(EnvironmentProblem, match="model 'course-bert' is damaged: .*model.safetensors"):
        assets.verify_shipped("course-bert")


def test_a_model_too_large_to_ship_is_refused(tmp_path, tokenizer):
    model = BertForPreTraining(BertConfig(vocab_size=8_000, d_model=512, num_layers=1, num_heads=2, d_ff=4096))
    with pytest.raises(ValueError, match="at most 10,000,000 bytes"):
        export.export(tmp_path, model, tokenizer, {"rows": []})
    assert list(tmp_path.iterdir()) == []


def test_an_export_vouches_for_its_own_files_only(tmp_path, tokenizer, monkeypatch):
    folder = tmp_path / "course_tiny"
    folder.mkdir()
    (folder / "experiment.json").write_text("{}")
    model = BertForPreTraining(BertConfig(vocab_size=60, d_model=8, num_layers=1, num_heads=2, d_ff=8))
    export.export(folder, model, tokenizer, {"rows": [{"step": 0}]})
    monkeypatch.setattr(assets, "CHECKPOINTS", tmp_path)
    (folder / "experiment.json").write_text("changed")
    assert assets.verify_shipped("course-tiny") == folder
    assert (folder / "vocab.txt").is_file()
    assert not [path for path in folder.iterdir() if path.is_dir()]
