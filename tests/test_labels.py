"""Labels chosen by a language model: a prefix read once changes nothing, long labels count by token, caches survive."""

import pytest
import torch
from torch import nn

from course_utils.data.few_shot import draw_examples
from course_utils.data.sentiment import Split, Tweet
from course_utils.generation.labels import calibrated, label_log_probs, label_scores, read_prefix
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig

PREFIX, REST, LABELS = [5, 7, 9, 11], [3, 4, 5], [[1], [2, 9, 4], [8, 8]]


@pytest.fixture(params=["gpt2", "llama"])
def model(request) -> GPT:
    """A small model with random numbers everywhere."""
    sizes = {"vocab_size": 31, "d_model": 24, "num_layers": 2, "num_heads": 6, "context_length": 24}
    torch.manual_seed(0)
    model = GPT(getattr(GPTConfig, request.param)(**sizes)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def test_scores_are_those_of_the_whole_text(model):
    cache = read_prefix(model, PREFIX, room=8)
    scores = label_scores(label_log_probs(model, cache, REST, LABELS), LABELS)
    for score, label in zip(scores, LABELS, strict=True):
        log_probs = model(torch.tensor([PREFIX + REST + label]))[0].log_softmax(-1)
        behind = len(PREFIX + REST) - 1
        expected = sum(log_probs[behind + i, token] for i, token in enumerate(label)) / len(label)
        torch.testing.assert_close(score, expected.detach())


def test_the_cache_is_left_as_it_came(model):
    cache = read_prefix(model, PREFIX, room=8)
    first, other, again = (label_log_probs(model, cache, rest, LABELS)[0] for rest in (REST, [30, 2], REST))
    assert cache.length == len(PREFIX)
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)


def test_without_room_and_without_a_prefix(model):
    with pytest.raises(ValueError, match="cache is too small"):
        label_log_probs(model, read_prefix(model, PREFIX, room=2), REST, LABELS)
    with pytest.raises(ValueError, match="at least one token"):
        read_prefix(model, [], room=8)


def test_calibration_divides_by_what_labels_get_for_nothing():
    free = torch.tensor([0.8, 0.1, 0.1]).log()
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.8, 0.1, 0.1]]).log() - 5  # less likely than other words, all of them
    result = calibrated(scores, free).exp()
    ratios = torch.tensor([[0.7 / 0.8, 2.0, 1.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(result, ratios / ratios.sum(-1, keepdim=True))


def test_a_class_with_too_few_examples_is_refused():
    tweets = [Tweet(f"{label}.{i}", label) for label in range(2) for i in range(3)]
    split = Split(tweets, [], [], ("a", "b"))
    assert len(draw_examples(split, 6, 0)) == 6 and draw_examples(split, 0, 0) == []
    with pytest.raises(ValueError):
        draw_examples(split, 7, 0)
