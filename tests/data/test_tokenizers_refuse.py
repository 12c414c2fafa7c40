"""What our tokenizers refuse, and in which words: no text, no Unicode, unknown ids, wrong settings, damaged files."""

import json

import pytest

from course_utils.assets import asset_path
from course_utils.data.tokenizers import BytePairEncoding, WordPiece
from course_utils.errors import UserError


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return ["a few words of text", "and a few more of them"] * 30


@pytest.fixture(scope="module")
def bpe(texts) -> BytePairEncoding:
    return BytePairEncoding.train(texts, 280)


@pytest.fixture(scope="module")
def bert() -> WordPiece:
    return WordPiece.load(asset_path("minilm"))


BAD_TEXTS = [
    (None, "reads text"),
    (b"bytes", "Decode bytes"),
    (["a", "b"], "got list"),
    (3, "got int"),
    ("ok \ud83d no", "character 3 is U\\+D83D"),
]


@pytest.mark.parametrize(("text", "words"), BAD_TEXTS)
def test_what_is_no_text_is_refused(bpe, bert, text, words):
    for refuse in (bpe.encode, bert.encode, lambda text: BytePairEncoding.train([text], 300)):
        with pytest.raises(UserError, match=words):
            refuse(text)


@pytest.mark.parametrize("ids", [[-1], [40_000], [1.5], ["7"], [True], [[1, 2]]])
def test_unknown_ids_are_refused(bpe, bert, ids):
    for tokenizer in (bpe, bert):
        with pytest.raises(UserError, match="whole number from 0 to"):
            tokenizer.decode(ids)


def test_wrong_settings_are_refused(bert, texts):
    for refused, words in [
        (lambda: BytePairEncoding.train("one text", 300), "several texts"),
        (lambda: BytePairEncoding.train(texts, 255), "at least 256"),
        (lambda: BytePairEncoding.train(texts, 300.0), "whole number"),
        (lambda: BytePairEncoding.train(texts, 300, special_tokens=["a", "a"]), "name of its own"),
        (lambda: BytePairEncoding.train(texts, 300, special_tokens="ab"), "list of texts"),
        (lambda: BytePairEncoding([(0, 256)]), "256 tokens exist"),
        (lambda: BytePairEncoding([]).token_id("[SEP]"), "no special token"),
        (lambda: WordPiece.train(texts, 9), "letters of these texts"),
        (lambda: WordPiece(["a"]), "missing: \\[PAD\\]"),
        (lambda: WordPiece(["a", "a"]), "repeated"),
        (lambda: bert.token_id("notapiece"), "none of the 30,522"),
        (lambda: bert.encode("hi", max_length=1), "at least 2"),
        (lambda: bert.encode("hi", "ho", max_length=2), "at least 3"),
        (lambda: bert.encode_batch(["a", "b"], ["c"]), "2 texts and 1 pairs"),
        (lambda: bert.encode_batch("ab"), "several texts"),
    ]:
        with pytest.raises(UserError, match=words):
            refused()


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no tokenizer at"):
        BytePairEncoding.load(tmp_path)
    with pytest.raises(UserError, match="no tokenizer at"):
        WordPiece.load(tmp_path / "vocab.txt")
    file = tmp_path / "tokenizer.json"
    for content, words in [("{", "not readable JSON"), ("[]", "JSON object"), ("{}", "no byte-level BPE")]:
        file.write_text(content)
        with pytest.raises(UserError, match=words):
            BytePairEncoding.load(file)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        WordPiece.load(tmp_path)


def test_a_foreign_order_of_ids_is_refused(bpe, tmp_path):
    bpe.save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    vocab["!"], vocab['"'] = vocab['"'], vocab["!"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="orders its"):
        BytePairEncoding.load(tmp_path)
