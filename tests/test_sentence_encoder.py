"""Sentence vectors: pooling, batches by length, and the real pretrained BERT."""

import pytest
import torch

from course_utils.models.sentence_encoder import SentenceEncoder, mean_pool, most_similar

TEXTS = ["A cat sits on the mat.", "hi", "What is the weather like in Oslo in the middle of November?", "ok then", "hi"]


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder.from_pretrained("minilm")


def test_padding_does_not_count():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[5.0, 5.0], [7.0, 7.0], [9.0, 6.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert mean_pool(hidden, mask).tolist() == [[2.0, 4.0], [7.0, 6.0]]
    assert mean_pool(hidden, torch.zeros_like(mask)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_vectors_do_not_depend_on_the_batch(encoder):
    together = encoder.encode(TEXTS)
    one_by_one = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert together.shape == (5, 384)
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(5))


def test_batches_respect_the_token_limit(encoder):
    small = SentenceEncoder(encoder.model, encoder.tokenizer, tokens_per_batch=16)
    batches = [(rows, tuple(batch["input_ids"].shape)) for rows, batch in small._batches(TEXTS)]
    assert sorted(row for rows, _ in batches for row in rows) == [0, 1, 2, 3, 4]
    assert all(count * length <= 16 or count == 1 for _, (count, length) in batches)
    torch.testing.assert_close(small.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5, rtol=0)


def test_meaning_beats_words(encoder):
    query = encoder.encode(["Do you have any pets?"])
    index = encoder.encode(["Do you have any exams?", "I own a cat and a dog.", "The train was late."])
    cosines, rows = most_similar(query, index, k=3)
    assert cosines[0].tolist() == sorted(cosines[0].tolist(), reverse=True)
    assert rows[0, 0] == 1 and cosines[0, 0] > cosines[0, 2] + 0.3


def test_bad_input_is_named(encoder):
    assert encoder.encode([]).shape == (0, 384)
    with pytest.raises(TypeError, match="list of texts"):
        encoder.encode("one text")
    with pytest.raises(ValueError, match="holds 2 vectors"):
        most_similar(torch.ones(1, 3), torch.ones(2, 3), k=3)
