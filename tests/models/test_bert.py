"""Our BERT is transformers' BERT: every hidden state, the pooled output, both heads and all gradients; its errors."""

import dataclasses
import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from course_utils.assets import model_path
from course_utils.errors import EnvironmentProblem, UserError
from course_utils.models.bert import (
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
)
from course_utils.models.bert_weights import their_names

SIZES = {"vocab_size": 41, "d_model": 12, "num_layers": 3, "num_heads": 3, "d_ff": 20, "context_length": 11}
TINY = BertConfig(**SIZES, norm_eps=1e-6)
ODD = dataclasses.replace(
    TINY, vocab_size=17, d_model=35, num_heads=7, d_ff=11, num_layers=1, num_token_types=3, pad_id=2
)


def batch_for(config, B=3, T=7):
    """Ids, a mask with padding in two rows, and token types."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, config.vocab_size, (B, T), generator=generator)
    mask = (torch.arange(T) < torch.tensor([T, T - 3, 1])[:B, None]).long()
    types = torch.randint(0, config.num_token_types, (B, T), generator=generator)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def shake(model):
    """Give every parameter a value of its own: zero biases and unit norms would hide mistakes."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)


def pair(our_class, their_class, config, folder, **options):
    """Our model and transformers' with the same weights, through a folder that both read or write."""
    ours = our_class(config, **options)
    shake(ours)
    ours.save_pretrained(folder)
    theirs = their_class.from_pretrained(folder, attn_implementation="eager", **({"num_labels": 4} if options else {}))
    return ours.eval(), theirs.eval()


def assert_same_gradients(ours, theirs, atol=1e-5):
    reference = {name.removeprefix("bert."): p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        if parameter.grad is not None:
            expected = torch.cat([reference[theirs_name] for theirs_name in their_names(name)])
            torch.testing.assert_close(
                parameter.grad, expected, atol=atol, rtol=10 * atol, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
@pytest.mark.parametrize("shape", [(3, 7), (1, 1), (2, 11)])
def test_equals_transformers_with_padding_and_token_types(config, shape, tmp_path):
    ours, theirs = pair(BertModel, transformers.BertModel, config, tmp_path)
    batch = batch_for(config, *shape)
    own, reference = ours(**batch), theirs(**batch, output_hidden_states=True)
    assert len(own.hidden_states) == config.num_layers + 1
    for a, b in zip(own.hidden_states, reference.hidden_states, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(own.pooler_output, reference.pooler_output, atol=1e-5, rtol=1e-5)
    assert own.last_hidden_state is own.hidden_states[-1]
    for out in (own, reference):
        (out.last_hidden_state.sin().sum() + out.pooler_output.square().sum()).backward()
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_equals_transformers_on_the_real_weights(dtype, atol):
    """In float64 equality is beyond doubt on every machine; float32 adds rounding, which six layers make larger."""
    ours = BertModel.from_pretrained("minilm").to(dtype)
    theirs = transformers.BertModel.from_pretrained(model_path("minilm"), dtype=dtype).eval()
    assert not ours.training
    batch = batch_for(ours.config, 3, 33)
    own, reference = ours(**batch), theirs(**batch, output_hidden_states=True)
    for a, b in zip(own.hidden_states, reference.hidden_states, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=0)
    torch.testing.assert_close(own.pooler_output, reference.pooler_output, atol=atol, rtol=0)
    for out in (own, reference):
        (out.last_hidden_state.mean() + out.pooler_output.mean()).backward()
    assert_same_gradients(ours, theirs, atol)
    assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters()


def test_written_out_attention_gives_the_same_model():
    torch.manual_seed(0)
    fused, written_out = BertModel(TINY).eval(), BertModel(TINY, fused=False).eval()
    written_out.load_state_dict(fused.state_dict())
    batch = batch_for(TINY)
    torch.testing.assert_close(fused(**batch).last_hidden_state, written_out(**batch).last_hidden_state)


def test_defaults_mean_no_padding_and_one_sentence():
    torch.manual_seed(0)
    model, batch = BertModel(TINY).eval(), batch_for(TINY)
    full = {"attention_mask": torch.ones(3, 7, dtype=torch.bool), "token_type_ids": torch.zeros(3, 7, dtype=torch.long)}
    expected = model(batch["input_ids"], **full).last_hidden_state
    torch.testing.assert_close(model(batch["input_ids"]).last_hidden_state, expected)


def test_padding_changes_nothing():
    torch.manual_seed(0)
    model, ids = BertModel(TINY).eval(), batch_for(TINY)["input_ids"][:1]
    padded = torch.cat([ids, torch.full((1, 4), TINY.pad_id)], dim=1)
    mask = (torch.arange(11) < 7).long()[None]
    torch.testing.assert_close(model(padded, mask).last_hidden_state[:, :7], model(ids).last_hidden_state)


def test_pretraining_losses_equal_transformers(tmp_path):
    ours, theirs = pair(BertForPreTraining, transformers.BertForPreTraining, TINY, tmp_path)
    batch = batch_for(TINY)
    labels = torch.where(torch.rand(3, 7) < 0.4, batch["input_ids"], -100)
    next_sentence = torch.tensor([0, 1, 1])
    own = ours(**batch, labels=labels, next_sentence_label=next_sentence)
    reference = theirs(**batch, labels=labels, next_sentence_label=next_sentence)
    torch.testing.assert_close(own.loss, reference.loss)
    torch.testing.assert_close(own.nsp_logits, reference.seq_relationship_logits)
    torch.testing.assert_close(own.mlm_logits, reference.prediction_logits[labels != -100])
    torch.testing.assert_close(ours(**batch).mlm_logits, reference.prediction_logits)
    own.loss.backward(), reference.loss.backward()
    assert_same_gradients(ours, theirs)


def test_pretraining_loss_without_hidden_words_is_zero():
    batch = batch_for(TINY)
    out = BertForPreTraining(TINY)(**batch, labels=torch.full((3, 7), -100))
    assert out.mlm_loss.item() == 0
    assert BertForPreTraining(TINY)(**batch).loss is None


def test_classifier_equals_transformers(tmp_path):
    classes = (BertForSequenceClassification, transformers.BertForSequenceClassification)
    ours, theirs = pair(*classes, TINY, tmp_path, num_classes=4)
    batch, labels = batch_for(TINY), torch.tensor([3, 0, 1])
    own, reference = ours(**batch, labels=labels), theirs(**batch, labels=labels)
    torch.testing.assert_close(own.logits, reference.logits)
    torch.testing.assert_close(own.loss, reference.loss)
    own.loss.backward(), reference.loss.backward()
    assert_same_gradients(ours, theirs)


def test_a_classifier_takes_the_encoder_and_starts_its_head_from_noise(tmp_path):
    BertModel(TINY).save_pretrained(tmp_path)
    model = BertForSequenceClassification.from_pretrained(tmp_path, num_classes=4)
    assert 0 < model.classifier.weight.std() < 0.1
    saved = BertModel.from_pretrained(tmp_path)
    torch.testing.assert_close(model.bert.state_dict(), saved.state_dict())


def test_weights_survive_a_round_trip_and_heads_are_left_out(tmp_path):
    model = BertForPreTraining(TINY)
    shake(model)
    model.save_pretrained(tmp_path / "new" / "folder")
    again = BertForPreTraining.from_pretrained(tmp_path / "new" / "folder")
    torch.testing.assert_close(again.state_dict(), model.state_dict(), atol=0, rtol=0)
    encoder = BertModel.from_pretrained(tmp_path / "new" / "folder")
    torch.testing.assert_close(encoder.state_dict(), model.bert.state_dict(), atol=0, rtol=0)
    assert encoder.config == TINY
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == ["config.json", "model.safetensors"]


def test_old_names_and_half_precision_are_read(tmp_path):
    model = BertModel(TINY)
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    old = {}
    for name, tensor in load_file(file).items():
        if "LayerNorm" in name:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        old[f"bert.{name}"] = tensor.half()
    save_file(old, file)
    again = BertModel.from_pretrained(tmp_path)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), atol=1e-3, rtol=1e-3)


def saved_with(change, folder):
    """A folder with a tiny model whose tensors went through `change`."""
    BertModel(TINY).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


QUERY = "encoder.layer.2.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(QUERY), f"missing {QUERY}"),
        (lambda tensors: tensors.update(surprise=torch.zeros(2)), "unexpected surprise"),
        (
            lambda tensors: tensors.update({QUERY: torch.zeros(5, 12)}),
            rf"{QUERY} has shape \(5, 12\) instead of \(12, 12\)",
        ),
        (lambda tensors: tensors.update({QUERY: torch.zeros(12)}), rf"{QUERY} has shape \(12,\) instead of \(12, 12\)"),
        (lambda tensors: tensors.update({"pooler.dense.bias": torch.zeros(13)}), r"\(13,\) instead of \(12,\)"),
        (lambda tensors: [tensors.pop(name) for name in list(tensors)[:9]], "and 3 more"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        BertModel.from_pretrained(saved_with(change, tmp_path))


def test_heads_must_be_in_the_file_for_pretraining(tmp_path):
    BertModel(TINY).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"missing cls\.predictions\.bias"):
        BertForPreTraining.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"model_type": "roberta"}, "model_type = 'bert' only; got 'roberta'"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"num_attention_heads": 5}, "multiple of num_heads"),
    ],
)
def test_other_models_are_refused(entry, message, tmp_path):
    BertModel(TINY).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | entry))
    with pytest.raises(ValueError, match=message):
        BertModel.from_pretrained(tmp_path)


def test_broken_and_missing_files(tmp_path):
    with pytest.raises(UserError, match="config.json cannot be read"):
        BertModel.from_pretrained(tmp_path)
    BertModel(TINY).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no model.safetensors"):
        BertModel.from_pretrained(tmp_path)
    with pytest.raises(EnvironmentProblem, match="course fetch"):
        BertModel.from_pretrained("bert-that-nobody-fetched")


def test_truncated_weights_are_a_clear_error(tmp_path):
    BertModel(TINY).save_pretrained(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        BertModel.from_pretrained(tmp_path)


IDS = torch.ones(2, 5, dtype=torch.long)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_ids": torch.tensor([[1, 2], [3, 41]])}, r"input_ids must be from 0 to 40; got 41 at \(1, 1\)"),
        ({"input_ids": torch.tensor([[-1]])}, "got -1"),
        ({"input_ids": IDS.float()}, "whole numbers.*float32"),
        ({"input_ids": IDS[0]}, r"shape \(B, T\).*got \(5,\)"),
        ({"input_ids": IDS[:, :0]}, "at least one token"),
        ({"input_ids": torch.ones(1, 12, dtype=torch.long)}, "ends at 11 tokens; got sequences of 12"),
        ({"input_ids": IDS, "attention_mask": IDS[:, :4]}, r"attention_mask must have shape \(2, 5\); got \(2, 4\)"),
        ({"input_ids": IDS, "attention_mask": (IDS[:, :4]) == 1}, r"attention_mask must have shape \(2, 5\)"),
        ({"input_ids": IDS, "attention_mask": IDS.float()}, "attention_mask.*float32"),
        ({"input_ids": IDS, "attention_mask": IDS * 2}, "attention_mask must be from 0 to 1; got 2"),
        ({"input_ids": IDS, "token_type_ids": IDS * 2}, "token_type_ids must be from 0 to 1; got 2"),
        ({"input_ids": IDS, "token_type_ids": IDS[:1]}, r"token_type_ids must have shape \(2, 5\); got \(1, 5\)"),
    ],
)
def test_bad_input_is_a_clear_error(inputs, message):
    with pytest.raises(ValueError, match=message):
        BertModel(TINY)(**inputs)


def test_bad_labels_are_clear_errors():
    with pytest.raises(ValueError, match="labels must be from 0 to 40, or -100"):
        BertForPreTraining(TINY)(IDS, labels=IDS * 41)
    with pytest.raises(ValueError, match="next_sentence_label must be from 0 to 1; got 2"):
        BertForPreTraining(TINY)(IDS, next_sentence_label=torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="labels must be from 0 to 2; got 3"):
        BertForSequenceClassification(TINY, num_classes=3)(IDS, labels=torch.tensor([0, 3]))


@pytest.mark.parametrize("fused", [True, False])
def test_a_row_of_only_padding_gives_no_nan(fused):
    torch.manual_seed(0)
    model, mask = BertModel(TINY, fused=fused), torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    out = model(IDS, mask)
    out.last_hidden_state.sum().backward()
    assert all(state.isfinite().all() for state in out.hidden_states)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": 0}, "BertConfig.num_layers is a whole number from 1; got 0"),
        ({"d_model": 13}, r"multiple of num_heads; got \(13, 3\)"),
        ({"dropout": 1.0}, "dropout"),
        ({"pad_id": 41}, "pad_id"),
        ({"norm_eps": 0}, "norm_eps"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)
