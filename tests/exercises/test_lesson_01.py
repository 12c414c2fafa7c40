"""Lesson 01: its small solutions do what the library does, on real messages, so that the two cannot drift apart."""

import itertools

import pytest

from course_utils.assets import asset_path
from course_utils.data.dialogues import load_conversations
from course_utils.data.tokenizers import BytePairEncoding, WordPiece, bert_text
from course_utils.data.tokenizers.byte_text import byte_order, words_of
from course_utils.exercises.lesson_01 import best_pair, encode_word, frame_batch, merge_pair, split_word


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(itertools.islice(itertools.chain.from_iterable(talk.turns for talk in load_conversations()), 400))


def test_encoding_a_word_equals_the_library(texts):
    bpe = BytePairEncoding.train(texts, 600)
    id_of_byte = {byte: i for i, byte in enumerate(byte_order())}
    merges = {pair: 256 + rank for rank, pair in enumerate(bpe.merges)}
    assert bpe.vocab_size == 256 + len(merges)
    for word in {word for text in texts for word in words_of(text)}:
        assert encode_word([id_of_byte[byte] for byte in word.encode()], merges) == bpe.encode(word)


def test_choosing_and_merging_equal_the_library(texts):
    """Three merges by hand."""
    words = [[byte_order().index(byte) for byte in word.encode()] for text in texts for word in words_of(text)]
    for expected in BytePairEncoding.train(texts, 259).merges:
        counts: dict[tuple[int, int], int] = {}
        for pair in itertools.chain.from_iterable(itertools.pairwise(word) for word in words):
            counts[pair] = counts.get(pair, 0) + 1
        pair = best_pair(counts)
        assert pair == expected
        new_id = max(map(max, words)) + 1 if max(map(max, words)) >= 256 else 256
        words = [merge_pair(word, pair, new_id) for word in words]


def test_pieces_and_frames_equal_the_library(texts):
    bert = WordPiece.load(asset_path("minilm"))
    pieces = set(bert.vocab)
    for text in texts:
        assert [piece for word in bert_text.words_of(text) for piece in split_word(word, pieces)] == bert.tokenize(text)
    rows = [bert.encode(text, add_special_tokens=False) for text in texts]
    batch = bert.encode_batch(texts, max_length=20)
    assert frame_batch(rows, 20) == (batch["input_ids"], batch["attention_mask"])
