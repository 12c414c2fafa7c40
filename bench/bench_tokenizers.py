"""Our tokenizers against `tokenizers` and `BertTokenizer`, one thread each, interleaved: training and encoding.

    python -m bench tokenizers

BPE is trained on 4 MB of real messages and encodes them; WordPiece encodes them with BERT's vocabulary. Ids and merges
are compared before anything is timed. Encoding is timed with empty caches on both sides, text by text as a lesson
calls it, and for the library also in its fastest batch form. Times are CPU seconds of the process, so that other
programs on the machine disturb them less. Promise: training stays below 20 s.
"""

import os

os.environ["RAYON_NUM_THREADS"] = "1"  # both before `tokenizers` is imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import itertools
import json
import statistics
import time
from collections.abc import Callable

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertTokenizer

from course_utils.assets import asset_path
from course_utils.data.dialogues import clean_conversations, load_conversations
from course_utils.data.tokenizers import BytePairEncoding, WordPiece
from course_utils.data.tokenizers.byte_text import show_bytes

NUM_BYTES, VOCAB_SIZE, ROUNDS = 4_000_000, 8_000, 7
LONGEST_TRAINING_S = 20


def main() -> None:
    """Print one line per comparison; AssertionError if results differ or training is slower than promised."""
    texts = messages(NUM_BYTES)
    ours, theirs = train_ours(texts), train_theirs(texts)
    merges = [[show_bytes(ours.tokens[i]) for i in pair] for pair in ours.merges]
    assert merges == json.loads(theirs.to_str())["model"]["merges"], "the merges differ"
    folder = asset_path("minilm")
    library = BertTokenizer.from_pretrained(folder).backend_tokenizer
    library.no_truncation()
    library.no_padding()
    assert [ours.encode(t) for t in texts] == [e.ids for e in theirs.encode_batch(texts)], "BPE ids differ"
    bert = WordPiece.load(folder)
    assert [bert.encode(t) for t in texts] == [e.ids for e in library.encode_batch(texts)], "WordPiece ids differ"
    print(f"{len(texts):,} messages, {NUM_BYTES / 1e6:.0f} MB, {len(merges):,} merges, all ids equal; {ROUNDS} rounds")

    seconds = compare("BPE training", {"ours": lambda: train_ours(texts), "tokenizers": lambda: train_theirs(texts)})
    assert seconds["ours"] < LONGEST_TRAINING_S
    compare("BPE encoding", encoders(ours, theirs, texts))
    compare("WordPiece encoding", encoders(bert, library, texts))


def encoders(ours: BytePairEncoding | WordPiece, theirs: Tokenizer, texts: list[str]) -> dict[str, Callable]:
    """Three ways to encode all texts."""

    def encode_ours() -> None:
        ours._cache.clear()
        for text in texts:
            ours.encode(text)

    def encode_theirs() -> None:
        clear_cache(theirs)
        for text in texts:
            theirs.encode(text)

    def encode_batch() -> None:
        clear_cache(theirs)
        theirs.encode_batch_fast(texts)

    return {"ours": encode_ours, "tokenizers": encode_theirs, "tokenizers, batch": encode_batch}


def clear_cache(tokenizer: Tokenizer) -> None:
    """Forget words seen before, where the model remembers them (WordPiece does not)."""
    if hasattr(tokenizer.model, "_clear_cache"):
        tokenizer.model._clear_cache()


def compare(what: str, sides: dict[str, Callable]) -> dict[str, float]:
    """Median CPU seconds of each side, in turns whose order changes; ratios are medians of the pairs."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(ROUNDS + 1):
        for name in list(sides) if round_number % 2 else reversed(sides):
            start = time.process_time()
            sides[name]()
            seconds[name].append(time.process_time() - start)
    seconds = {name: values[1:] for name, values in seconds.items()}  # the first round warms up
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{what:<20} ours {medians['ours']:6.2f} s")
    for name in itertools.islice(sides, 1, None):
        ratio = statistics.median(t / o for t, o in zip(seconds[name], seconds["ours"], strict=True))
        print(f"{'':<20} {name:<18} {medians[name]:6.2f} s   ours runs at {ratio:.2f} of its speed")
    return medians


def train_ours(texts: list[str]) -> BytePairEncoding:
    """Our BPE."""
    return BytePairEncoding.train(texts, VOCAB_SIZE)


def train_theirs(texts: list[str]) -> Tokenizer:
    """The library's BPE with the same settings."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def messages(num_bytes: int) -> list[str]:
    """The first messages of the conversations, `num_bytes` of text or just above."""
    conversations, _ = clean_conversations(load_conversations())
    texts, size = [], 0
    for text in itertools.chain.from_iterable(conversation.turns for conversation in conversations):
        texts.append(text)
        size += len(text.encode())
        if size >= num_bytes:
            break
    return texts
