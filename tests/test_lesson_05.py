"""What lesson 05 shows is what it imports: its loop and its upper layers equal the library's, number for number."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel
from transformers.modeling_outputs import SequenceClassifierOutput

from course_utils.config import TrainConfig
from course_utils.data.batches import LengthBatches
from course_utils.models import classifier
from course_utils.notebook.percent import read_source
from course_utils.training.evaluate import predict_logits
from course_utils.training.loop import train
from course_utils.training.optim import clip_grad_norm, parameter_groups
from course_utils.training.schedule import make_schedule

SOURCE = Path(__file__).resolve().parent.parent / "notebooks" / "src" / "05_bert_fine_tuning.py"


def shown(cell_id: str, **names) -> SimpleNamespace:
    """What a cell of the lesson defines, executed with the names that earlier cells bind."""
    (code,) = [cell.source for cell in read_source(SOURCE).cells if cell.id == cell_id]
    exec(compile(code, cell_id, "exec"), names)
    return SimpleNamespace(**names)


def tiny_classifier() -> classifier.BertClassifier:
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20}
    encoder = BertModel(BertConfig(vocab_size=50, **sizes), add_pooling_layer=False)
    return classifier.BertClassifier(encoder, num_classes=3)


def batches(seed: int | None = None) -> LengthBatches:
    generator = torch.Generator().manual_seed(1)
    sequences = [torch.randint(1, 50, (length,), generator=generator) for length in (3, 9, 5, 2, 7, 4, 8)]
    return LengthBatches(sequences, [0, 1, 2, 2, 1, 0, 1], batch_size=3, seed=seed)


def test_the_loop_written_out_is_the_loop_imported():
    by_hand = shown(
        "loop", nn=nn, torch=torch, LengthBatches=LengthBatches, TrainConfig=TrainConfig, device=lambda: "cpu",
        parameter_groups=parameter_groups, make_schedule=make_schedule, clip_grad_norm=clip_grad_norm,
    ).train_by_hand  # fmt: skip
    config = TrainConfig(max_lr=1e-2, head_lr=3e-2, num_epochs=3, grad_clip_norm=0.5)
    shown_model, library_model = tiny_classifier(), tiny_classifier()
    losses = by_hand(shown_model, batches(seed=4), config)
    assert losses == pytest.approx(train(library_model, batches(seed=4), config).losses, abs=1e-5)
    for got, expected in zip(shown_model.parameters(), library_model.parameters(), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


def test_the_upper_layers_shown_are_those_imported():
    lesson = shown(
        "top", nn=nn, torch=torch, BertClassifier=classifier.BertClassifier,
        SequenceClassifierOutput=SequenceClassifierOutput,
    )  # fmt: skip
    model, plain = tiny_classifier(), batches()
    states, _ = classifier.lower_states(model.encoder, plain, 1)
    stored = LengthBatches(states, torch.cat([batch["labels"] for batch in plain]), batch_size=4, name="hidden")
    got = predict_logits(lesson.TopLayers(model, 1), stored)
    torch.testing.assert_close(got, predict_logits(classifier.TopLayers(model, 1), stored))
