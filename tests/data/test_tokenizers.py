"""Our tokenizers against `tokenizers` and `transformers`: the same merges, ids and files, and clear refusals."""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read when `tokenizers` first works; its threads only slow this down

import itertools
import json
import random
from collections import Counter

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertTokenizer

from course_utils.assets import asset_path
from course_utils.data.dialogues import load_conversations
from course_utils.data.tokenizers import BytePairEncoding, WordPiece, bert_text
from course_utils.data.tokenizers.byte_text import byte_order, show_bytes, words_of
from course_utils.data.tokenizers.frame import frame, truncate_pair
from course_utils.data.tokenizers.merges import learn_merges

END = "<|endoftext|>"
AWKWARD = [
    "",
    "   two  spaces \t and a tab at the end \t",
    "\x00 control \x1c\x1f characters \x85 \r\n\x0b\x0c",
    "naïve café re\u0301sume\u0301 Ünïcödé ÅÄÖ ß İstanbul ΣΑΣ \u1e9b\u0323",
    "你好，世界！ 𠀀 ひらがな カタカナ 한국어",
    "👨‍👩‍👧 👍🏽 🏳️‍🌈 zero\u200bwidth \u200djoiners\u200d \ufeff",
    "½ Ⅳ x² ١٢٣ 1,234.50€ 3+4=7? 四",
    "a" * 5_000,
    "x" * 100 + " " + "x" * 101 + " short",
    "I'LL say it's 'quoted'... __init__ \u2028 \u3000 \ue000 \ufffd",
    "नमस्ते สวัสดี Здравствуйте γειά \U0001d4d7\U0001d4ee",
]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Six thousand real turns."""
    turns = itertools.chain.from_iterable(talk.turns for talk in load_conversations())
    return list(itertools.islice(turns, 6_000))


@pytest.fixture(scope="module")
def bpe(texts) -> BytePairEncoding:
    return BytePairEncoding.train(texts, 2_000, special_tokens=[END])


@pytest.fixture(scope="module")
def judge(texts) -> Tokenizer:
    """The library's BPE, trained on the same text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2_000, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def bert() -> WordPiece:
    return WordPiece.load(asset_path("minilm"))


@pytest.fixture(scope="module")
def bert_judge() -> BertTokenizer:
    return BertTokenizer.from_pretrained(asset_path("minilm"))


def shown_merges(tokenizer: BytePairEncoding) -> list[list[str]]:
    return [[show_bytes(tokenizer.tokens[i]) for i in pair] for pair in tokenizer.merges]


def random_texts(seed: int, count: int) -> list[str]:
    """Texts of characters from all over Unicode 8, surrogates left out."""
    draw = random.Random(seed)
    ranges = [(32, 127), (0xA0, 0x500), (0x900, 0x9FB), (0x2000, 0x2BD0), (0x3000, 0x9FCC), (0xAC00, 0xD7A4)]
    ranges += [(0, 0x20), (0x1F300, 0x1F57A), (0x20000, 0x2A000), (0xFE00, 0xFFFD)]
    return ["".join(chr(draw.randrange(*draw.choice(ranges))) for _ in range(12)) for _ in range(count)]


def test_bpe_learns_the_library_s_merges(bpe, judge):
    assert shown_merges(bpe) == json.loads(judge.to_str())["model"]["merges"]
    assert bpe.vocab_size == judge.get_vocab_size() == 2_000


def slow_merges(words: dict[tuple, int], tokens: list, num_merges: int) -> list[tuple[int, int]]:
    """Oracle: all pairs counted again for each merge."""
    tokens, merges = list(tokens), []
    for _ in range(num_merges):
        counts = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                counts[pair] += count
        if not counts:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(pair)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        merged, words_before, words = len(tokens) - 1, words, {}
        for word, count in words_before.items():
            new, i = [], 0
            while i < len(word):
                found = word[i : i + 2] == pair
                new.append(merged if found else word[i])
                i += 2 if found else 1
            words[tuple(new)] = count
    return merges


@pytest.mark.parametrize("seed", range(5))
def test_fast_training_equals_counting_again(seed):
    """Words over three letters: long runs and ties at every step."""
    draw = random.Random(seed)
    words = {"".join(draw.choice("abc") for _ in range(draw.randint(1, 12))): draw.randint(1, 3) for _ in range(30)}
    as_ids = {"".join(chr("abc".index(letter)) for letter in word): count for word, count in words.items()}
    merges, tokens = learn_merges(as_ids, list("abc"), vocab_size=15)
    if len(set(tokens)) == 3 + len(merges):  # every merge spelled something new
        expected = slow_merges(
            {tuple(map(ord, word)): count for word, count in as_ids.items()}, list("abc"), len(merges)
        )
        assert merges == expected


def test_a_token_spelled_twice_keeps_its_first_id():
    """ab+c and a+bc both spell abc: one token, two merges."""
    words = {"\0\1\2": 1, "\1\2": 0, "\0\1": 5}
    merges, tokens = learn_merges(words, list("abc"), vocab_size=5)
    assert (merges, tokens) == ([(0, 1), (3, 2)], ["a", "b", "c", "ab", "abc"])
    twice = BytePairEncoding([(1, 2), (0, 1), (257, 2), (0, 256)])
    assert twice.vocab_size == 256 + 3


def test_training_stops_when_pairs_are_rare():
    assert BytePairEncoding.train(["abab abab cd"], 300, min_count=2).tokens[256:] == [b"ab", b"abab"]
    assert BytePairEncoding.train([], 300).vocab_size == 256
    assert BytePairEncoding.train(["", "a"], 300).merges == []


def test_bpe_encodes_as_the_library(bpe, judge, texts):
    for text in [*texts[:1_000], *AWKWARD, *random_texts(0, 300)]:
        assert bpe.encode(text) == judge.encode(text).ids, repr(text)


def test_bpe_restores_every_text(bpe, texts):
    for text in [*texts[:300], *AWKWARD, *random_texts(1, 300)]:
        assert bpe.decode(bpe.encode(text)) == text
        assert "".join(words_of(text)) == text


def test_special_tokens_are_never_typed(bpe, judge):
    assert bpe.encode(END) != [0] == judge.encode(END).ids
    assert bpe.token_id(END) == 0
    ids = [0, *bpe.encode("hi"), 0]
    assert bpe.decode(ids) == f"{END}hi{END}"
    assert bpe.decode(ids, skip_special_tokens=True) == "hi"


def test_half_a_character_decodes_to_a_replacement(bpe):
    ids = bpe.encode("猫")
    assert bpe.decode(ids[:1]).startswith("\ufffd")


def test_a_shorter_list_of_merges_is_the_smaller_vocabulary(texts, bpe):
    small = BytePairEncoding.train(texts, 700, special_tokens=[END])
    assert bpe.truncated(700).merges == small.merges
    assert bpe.truncated(257).merges == []
    assert bpe.truncated(9_999).merges == bpe.merges


def test_the_first_ids_are_the_bytes():
    plain = BytePairEncoding([])
    assert [plain.tokens[i] for i in range(256)] == [bytes([byte]) for byte in byte_order()]
    assert show_bytes(b" the\n") == "ĠtheĊ"


def test_bpe_files_open_everywhere(bpe, judge, texts, tmp_path):
    bpe.save(tmp_path)
    bpe.save(tmp_path)  # again, over the old files
    library, auto = Tokenizer.from_file(str(tmp_path / "tokenizer.json")), AutoTokenizer.from_pretrained(tmp_path)
    loaded = BytePairEncoding.load(tmp_path)
    assert loaded.merges == bpe.merges and loaded.special_tokens == bpe.special_tokens
    for text in [*texts[:100], *AWKWARD]:
        assert bpe.encode(text) == loaded.encode(text) == library.encode(text).ids == auto(text).input_ids
        assert auto.decode(auto(text).input_ids) == text
    judge.save(str(tmp_path / "theirs.json"))
    assert BytePairEncoding.load(tmp_path / "theirs.json").merges == bpe.merges
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "theirs.json", "tokenizer.json", "tokenizer_config.json"]  # fmt: skip


def test_wordpiece_encodes_as_bert(bert, bert_judge, texts):
    for text in [*texts[:1_000], *AWKWARD, *random_texts(2, 300)]:
        assert bert.encode(text) == bert_judge(text).input_ids, repr(text)


def test_wordpiece_keeps_case_and_accents_if_told(bert_judge, tmp_path):
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Zoë", "zoe", "Z", "##oe"]
    cased = WordPiece(vocab, lowercase=False)
    cased.save(tmp_path)
    assert cased.tokenize("Zoë zoe Zoe ZOË") == ["Zoë", "zoe", "Z", "##oe", "[UNK]"]
    assert BertTokenizer.from_pretrained(tmp_path).tokenize("Zoë zoe Zoe ZOË") == cased.tokenize("Zoë zoe Zoe ZOË")
    assert WordPiece.load(tmp_path).lowercase is False


def test_normalizing_equals_the_library_on_every_old_character():
    """Every character up to Unicode 8's blocks in use here, in the middle of a word."""
    normalizer, cutter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    for code in itertools.chain(range(0x500), range(0x2000, 0x2BD0), range(0x3000, 0x3100), range(0xFE00, 0xFFFF)):
        text = f"A{chr(code)}b"
        theirs = normalizer.normalize_str(text)
        assert bert_text.normalize(text) == theirs, hex(code)
        assert bert_text.words_of(text) == [word for word, _ in cutter.pre_tokenize_str(theirs)], hex(code)


def test_a_typed_separator_is_text(bert, bert_judge):
    typed = "a [SEP] b [MASK]"
    assert bert.tokenize(typed) == bert_judge.tokenize(typed, split_special_tokens=True)
    assert bert.sep_id not in bert.encode(typed, add_special_tokens=False)


def test_batches_equal_bert_s(bert, bert_judge, texts):
    firsts, seconds = [*texts[:60], *AWKWARD], [*texts[60:120], *reversed(AWKWARD)]
    for max_length in (3, 8, 33, 128):
        options = {"max_length": max_length, "truncation": True, "padding": True}
        assert bert.encode_batch(firsts, max_length=max_length) == dict(bert_judge(firsts, **options))
        assert bert.encode_batch(firsts, seconds, max_length) == dict(bert_judge(firsts, seconds, **options))
    assert bert.encode("hey there", "you", max_length=5) == bert_judge("hey there", "you", max_length=5,
                                                                     truncation=True).input_ids  # fmt: skip


def test_the_longer_text_is_cut_first():
    assert truncate_pair([1] * 9, [2] * 3, 7) == ([1] * 4, [2] * 3)
    assert truncate_pair([1] * 9, [2] * 8, 7) == ([1] * 4, [2] * 3)
    assert truncate_pair([1] * 8, [2] * 8, 7) == ([1] * 3, [2] * 4)
    assert truncate_pair([1], [2], 7) == ([1], [2])
    assert frame([5], None, 101, 102) == ([101, 5, 102], [0, 0, 0])


def test_wordpiece_training_counts_as_the_library_does(texts):
    """The library draws the order of its ## letters anew in each process. We give it distinct letters instead."""
    few = texts[:1_500]
    ours = WordPiece.train(few, 600)
    spelled = {piece: piece.removeprefix("##") for piece in ours.vocab}
    words = Counter(word for text in few for word in bert_text.words_of(text))
    inner = {letter: chr(0xF0000 + ord(letter)) for word in words for letter in word}
    disguised = Counter({word[0] + "".join(inner[c] for c in word[1:]): count for word, count in words.items()})
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    letters = set(ours.vocab[5:]) & set(inner)  # those that only go on with a word are in our vocabulary too
    trainer = trainers.BpeTrainer(vocab_size=595, initial_alphabet=sorted(letters), show_progress=False)
    library.train_from_iterator([" ".join([word] * count) for word, count in disguised.items()], trainer)
    reveal = {hidden: letter for letter, hidden in inner.items()}
    by_id = sorted(library.get_vocab(), key=library.get_vocab().get)
    theirs = ["##" * (token[0] in reveal) + "".join(reveal.get(c, c) for c in token) for token in by_id]
    assert ours.vocab[5:] == theirs
    assert len(spelled) == 600


def test_wordpiece_training_nearly_equals_the_library_s_own_trainer(texts):
    """Only ties may fall otherwise: their ids come from a hash map."""
    library = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer, library.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1_000, special_tokens=special, show_progress=False)
    library.train_from_iterator(texts[:3_000], trainer)
    assert len(set(WordPiece.train(texts[:3_000], 1_000).vocab) ^ set(library.get_vocab())) <= 40


def test_wordpiece_files_open_in_transformers(texts, tmp_path):
    own = WordPiece.train(texts[:500], 400)
    own.save(tmp_path)
    loaded, theirs = WordPiece.load(tmp_path), BertTokenizer.from_pretrained(tmp_path)
    assert loaded.vocab == own.vocab
    for text in [*texts[:200], *AWKWARD]:
        assert own.encode(text) == loaded.encode(text) == theirs(text).input_ids
    assert WordPiece.load(tmp_path / "vocab.txt").vocab == own.vocab


def test_wordpiece_decodes_to_words(bert):
    assert bert.decode(bert.encode("Unaffable  Zoë!")) == "unaffable zoe !"
    assert bert.decode([101, 102], skip_special_tokens=False) == "[CLS] [SEP]"
    assert bert.decode([]) == ""
    assert bert.encode("") == [101, 102]
