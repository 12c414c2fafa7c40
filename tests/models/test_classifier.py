"""Layers trained over stored states are the same network as the whole model, in values and in gradients."""

import math

import pytest
import torch
from transformers import BertConfig, BertModel

from course_utils.data.batches import LengthBatches
from course_utils.models.classifier import BertClassifier, TopLayers, freeze, lower_states
from course_utils.models.tfidf import sparse_logistic, tfidf_features
from course_utils.training.evaluate import predict_logits


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20}
    config = BertConfig(vocab_size=50, initializer_range=0.3, **sizes)
    return BertClassifier(BertModel(config, add_pooling_layer=False), num_classes=4).eval()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    sequences = [torch.randint(1, 50, (length,), generator=generator) for length in (3, 9, 5, 2, 7)]
    return LengthBatches(sequences, [0, 1, 2, 3, 1], batch_size=2)


def stored(model, batches, first_layer):
    states, pooled = lower_states(model.encoder, batches, first_layer)
    labels = torch.cat([batch["labels"] for batch in batches])
    return LengthBatches(states, labels, batch_size=3, name="hidden"), pooled


@pytest.mark.parametrize("first_layer", [0, 1, 3])
def test_top_layers_give_the_logits_of_the_whole_model(model, batches, first_layer):
    hidden_batches, _ = stored(model, batches, first_layer)
    got = predict_logits(TopLayers(model, first_layer), hidden_batches)
    torch.testing.assert_close(got, predict_logits(model, batches))


def test_gradients_equal_those_of_the_whole_model(model, batches):
    hidden_batches, _ = stored(model, batches, 1)
    names = [name for name, _ in model.named_parameters() if "layer.2" in name or name.startswith("classifier")]
    gradients = []
    for network, data in [(TopLayers(model, 1), hidden_batches), (model, batches)]:
        model.zero_grad()
        sum(network(**batch).loss * len(batch["labels"]) for batch in data).backward()
        gradients.append({name: dict(model.named_parameters())[name].grad.clone() for name in names})
    torch.testing.assert_close(*gradients)


def test_pooled_features_are_means_over_real_tokens(model, batches):
    _, pooled = stored(model, batches, 1)
    for row, index in zip(pooled, [i for batch in batches.order() for i in batch], strict=True):
        alone = model.encoder(input_ids=batches.sequences[index][None]).last_hidden_state.mean(1)[0]
        torch.testing.assert_close(row, alone.detach(), atol=1e-5, rtol=1e-4)


def test_the_loss_of_an_untrained_head_is_that_of_a_uniform_guess(model, batches):
    batch = next(iter(batches))
    assert model(**batch).loss.item() == pytest.approx(math.log(4), abs=0.1)


def test_frozen_parameters_get_no_gradient_and_a_wrong_layer_is_refused(model):
    freeze(model.encoder.embeddings)
    assert not any(parameter.requires_grad for parameter in model.encoder.embeddings.parameters())
    assert model.classifier.linear.weight.requires_grad
    with pytest.raises(ValueError, match="from 0 to 3"):
        TopLayers(model, 4)


def test_the_baseline_learns_words_and_word_pieces():
    texts = ["good", "great day", "bad", "awful day", "goood", "so baaad"] * 3
    features = tfidf_features().fit(texts)
    baseline = sparse_logistic().fit(features.transform(texts), [1, 1, 0, 0, 1, 0] * 3)
    assert baseline.predict(features.transform(["good day", "bad day", "gooood"])).tolist() == [1, 0, 1]
