# ---
# jupyter:
#   course:
#     title: Tokenization
#     question: How does text become numbers, and what is lost or won on the way?
#     minutes: 90
#     needs: CPU
#     prerequisites: ["00"]
#     cell_timeout: 60
#     mem_cap_mb: 4096
# ---

# %% [markdown] id="title"
# # 01 · Tokenization
#
# **How does text become numbers, and what is lost or won on the way?**
#
# A language model never sees a letter. It sees whole numbers, *token ids*, each of which stands for a piece of text. Which pieces there are was decided before the
# model saw its first sentence, and it decides what the model finds easy: how long a text is, whether 1,234 looks like 1,235, what Greek costs.
# In this lesson you build the two ways of cutting text that GPT and BERT use, and you prove that yours cut exactly as the originals do.
#
# Afterwards you can
#
# * say what characters, code points and bytes are, and which of them a tokenizer counts;
# * train a byte-pair encoding (BPE), and encode with it;
# * cut words into WordPieces with BERT's own vocabulary;
# * frame, truncate and pad a batch, and write its attention mask;
# * read off what a larger vocabulary buys, and what numbers and other languages cost.

# %% [markdown] id="imports-intro"
# `tokenizers` and `transformers` are here as judges: what we build is compared with them, token for token. The judges work in one thread, as our
# code does.

# %% id="imports"
import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import time
import unicodedata
from collections import Counter

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertTokenizer

from course_utils import viz
from course_utils.assets import asset_path
from course_utils.data.dialogues import clean_conversations, load_conversations
from course_utils.data.tokenizers import BytePairEncoding, WordPiece
from course_utils.data.tokenizers.byte_text import byte_order, show_bytes, words_of
from course_utils.exercises import exercise
from course_utils.runtime import expect_error, scratch

# %% [markdown] id="parameters-intro"
# The text is real: people chatting in pairs. Four megabytes of it train our vocabulary; messages of other conversations test it.

# %% id="parameters" tags=["parameters"]
num_train_bytes = 4_000_000  # text to learn from, in bytes
vocab_size = 16_000  # tokens of our largest vocabulary
num_naive_texts = 200  # messages for the slow first version
num_naive_merges = 100
num_compared = 1_000  # messages for each comparison with the library

# %% [markdown] id="bytes-intro"
# ## 1. What is a text made of?
#
# What you see as one character may be several *code points*, the numbers that Unicode gives to letters, marks and signs. And a code point is stored as one to four *bytes*
# (UTF-8). **Guess first:** how many code points, and how many bytes, has the family at the end?

# %% id="bytes"
samples = {
    "plain": "cafe",
    "accent": "café",
    "accent as a mark": "cafe\u0301",
    "Greek": "γάτα",
    "Chinese": "猫",
    "family": "👨‍👩‍👧",
}
for name, text in samples.items():
    print(f"{name:18} {len(text)} code points, {len(text.encode()):2} bytes: {text}")

# %% [markdown] id="bytes-notice"
# The family is three people held together by two invisible *joiners*: 5 <!-- claim: len(samples["family"]) == 5 --> code points, 18 <!-- claim: len(samples["family"].encode()) == 18 --> bytes, one picture.
# And the two spellings of *café* look the same, yet are different texts. Unicode has *normal forms* that make them equal. The form NFD takes every accent off its letter and stores it as a mark of its own:

# %% id="normal-forms"
composed, marked = samples["accent"], samples["accent as a mark"]
print("equal as they are:       ", composed == marked)
print("equal in normal form NFD:", unicodedata.normalize("NFD", composed) == unicodedata.normalize("NFD", marked))
print("the marked one in bytes: ", list(marked.encode()))

# %% [markdown] id="bytes-choice"
# In the last line 101 is the `e`, and 204 and 129 together are its accent. A program that counts, searches or compares bytes takes the two spellings for different words.
#
# So what should a token be? There is a choice. Characters as tokens: Unicode has some 150,000, and most are rare. Bytes as tokens: there are only 256, and they spell every text there is, but texts become long.
# Words as tokens: short texts, but the next new word has no number. *Subwords* are the compromise of nearly every large model: start from something small and complete, and add frequent
# combinations.

# %% [markdown] id="bpe-intro"
# ## 2. Byte-pair encoding by hand
#
# BPE is one rule, repeated: **find the most frequent pair of neighbouring tokens and make it a token of its own.** We count within words only, so that no token spans two words. Three
# words are enough to watch it.

# %% id="toy"
toy_text = "banana bandana ban"
toy_tokens = sorted(set(toy_text.encode()) - {ord(" ")})  # the bytes that occur: ids 0, 1, 2, 3
toy_spelling = [bytes([byte]) for byte in toy_tokens]  # what each id stands for
toy_words = Counter(tuple(toy_tokens.index(byte) for byte in word.encode()) for word in toy_text.split())
print("ids:", dict(enumerate(toy_spelling)))
for word, count in toy_words.items():
    print(f"{count} × {' '.join(toy_spelling[i].decode() for i in word):13} = {word}")

# %% [markdown] id="ex1-intro"
# Merging is where most home-made BPEs go wrong. In `banana` the pair (a, n) stands twice, and in `aaa` the pair (a, a) seems to stand twice, but its middle letter can be used only once.
#
# ### Exercise 01.1
# Write `merge_pair`. It reads from left to right, and a token that went into a merge is gone.

# %% id="ex1" exercise="01.1"

# %% [markdown] id="ex2-intro"
# The other half of the rule is the choice. Several pairs may be equally frequent, and then the result must not depend on chance. We take the rule of `tokenizers`: among
# equally frequent pairs the one with the **smaller ids** wins, left id first. So `(2, 3)` wins over `(2, 9)`, and `(2, 9)` over `(4, 1)`.
#
# ### Exercise 01.2
# Write `best_pair`.

# %% id="ex2" exercise="01.2"

# %% [markdown] id="naive-intro"
# Now the whole training, as plainly as possible: count all pairs of all words, choose, merge, and again.


# %% id="naive"
def count_pairs(words: dict[tuple[int, ...], int]) -> Counter:
    """How often each pair of neighbouring tokens occurs; `words` maps a word to its count."""
    counts = Counter()
    for word, count in words.items():
        for pair in zip(word[:-1], word[1:], strict=True):
            counts[pair] += count
    return counts


def learn_slowly(words, spelling, num_merges):
    """The merges, a dict from pair to new id in the order learned, the spelling of all tokens, and the words merged."""
    merges, spelling = {}, list(spelling)
    for _ in range(num_merges):
        pair = tuple(best_pair(count_pairs(words)))
        merges[pair] = len(spelling)
        spelling.append(spelling[pair[0]] + spelling[pair[1]])
        words = {tuple(merge_pair(list(word), pair, merges[pair])): count for word, count in words.items()}
    return merges, spelling, words


# %% [markdown] id="toy-train-intro"
# **Guess first:** which pair is merged first in *banana, bandana, ban*, and how many tokens has `banana` after four merges?

# %% id="toy-train"
toy_merges, toy_learned, toy_merged = learn_slowly(toy_words, toy_spelling, num_merges=4)
for (left, right), new_id in toy_merges.items():
    print(f"id {new_id}: {toy_learned[left].decode()} + {toy_learned[right].decode()}")
for word in toy_merged:
    print(" ".join(toy_learned[i].decode() for i in word))

# %% [markdown] id="toy-notice"
# First `an`, which stands 5 <!-- claim: count_pairs(toy_words)[0, 3] == 5 --> times; then `ban`, because all three words begin with it. `banana` is down to
# 2 <!-- claim: len(list(toy_merged)[0]) == 2 --> tokens from six. Nobody told the algorithm which parts of a word belong together. It only counted.
#
# The last merge was a tie: three pairs stood once each, and `d` + `ana` has the smallest ids. With so little text such choices are arbitrary, but they must be the *same* arbitrary choices on every machine.

# %% [markdown] id="real-intro"
# ## 3. Training on real conversations
#
# The conversations come as one list of messages; `clean_conversations` has removed repeated and unanswered ones and hidden addresses. Lesson 09 has more about them.
#
# GPT-2's form of BPE adds two ideas. The first tokens are the **256 bytes**, so no text can ever be unknown. And the text is cut into *words* by a pattern first: letters, digits and
# other signs stay apart, and a space belongs to the word **after** it. In files and in print that space is shown as `Ġ`, because a real one would be invisible. Bytes of longer characters are shown as other letters, so do not be surprised by `Ã©`.

# %% id="load"
conversations, report = clean_conversations(load_conversations())
texts = [turn for conversation in conversations for turn in conversation.turns]
num_train = 0
num_bytes = 0
while num_bytes < num_train_bytes:
    num_bytes += len(texts[num_train].encode())
    num_train += 1
train_texts, unseen_texts = texts[:num_train], texts[-5_000:]
print(f"{num_train:,} messages to learn from, {num_bytes / 1e6:.1f} MB; {len(unseen_texts):,} others to test with")
print(words_of("I'll be there at 10:45, won't you?"))

# %% [markdown] id="naive-real-intro"
# Our slow version on a few hundred messages, then the course's own `BytePairEncoding.train` on the same ones.

# %% id="naive-real"
few_texts = train_texts[:num_naive_texts]
id_of_byte = {byte: i for i, byte in enumerate(byte_order())}
few_words = Counter(tuple(id_of_byte[b] for b in word.encode()) for text in few_texts for word in words_of(text))

start = time.perf_counter()
slow_merges, slow_spelling, _ = learn_slowly(few_words, [bytes([b]) for b in byte_order()], num_naive_merges)
slow_seconds = time.perf_counter() - start

start = time.perf_counter()
quick = BytePairEncoding.train(few_texts, vocab_size=256 + num_naive_merges)
quick_seconds = time.perf_counter() - start
print("the same merges in the same order:", list(slow_merges) == quick.merges)
print("the first ten:", [show_bytes(slow_spelling[i]) for i in list(slow_merges.values())[:10]])

# %% [markdown] id="naive-notice"
# The same merges, and ours from the library is more than five times <!-- claim: slow_seconds / quick_seconds > 5; smoke: > 1 --> as fast, on very little text. The slow version counts *all* words again for each merge. The fast one remembers three things:
#
# * an **index**: which words hold a pair; only these are touched by a merge;
# * the **counts**, corrected for those words instead of counted again;
# * a **heap**, which hands out the most frequent pair. A pair that has become rarer since is put back with its count of today.
#
# The work per merge then depends on the words that change, not on the text. Read it in `course_utils/data/tokenizers/merges.py`: it is one page.

# %% id="train"
start = time.process_time()
bpe = BytePairEncoding.train(train_texts, vocab_size)
train_seconds = time.process_time() - start  # seconds of one core
print(f"{bpe.vocab_size:,} tokens, {len(bpe.merges):,} merges")
for first in (256, 1_000, 4_000, vocab_size - 8):
    print(f"{first:6,}:", *(show_bytes(token) for token in bpe.tokens[first : first + 8]))

# %% [markdown] id="train-notice"
# Four megabytes in less than the 20 <!-- claim: train_seconds < 20 --> seconds that we allow ourselves on one core. Look at the order: pairs of letters first, then common words with their space, at the end rare words that happened to
# be in this text. Is it the *right* vocabulary? The judge is the library that real models were trained with, on the same text.

# %% id="judge"
judge = Tokenizer(models.BPE())
judge.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
judge.decoder = decoders.ByteLevel()
all_bytes = pre_tokenizers.ByteLevel.alphabet()
start = time.process_time()
judge.train_from_iterator(
    train_texts, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=all_bytes, show_progress=False)
)
judge_seconds = time.process_time() - start
our_vocab = {show_bytes(token): token_id for token_id, token in enumerate(bpe.tokens)}
judge_vocab = judge.get_vocab()
num_different = sum(judge_vocab.get(token) != token_id for token, token_id in our_vocab.items())
print(f"{len(our_vocab):,} tokens compared, {num_different} differ")

# %% [markdown] id="judge-notice"
# Every token has the same id: 0 <!-- claim: num_different == 0 --> differ, so every merge was the same, ties included.
#
# And the price? The library is written in Rust. Ours is a page of Python, and takes less than 3 <!-- claim: train_seconds / judge_seconds < 3 --> times as long on one core (`make bench` measures it with more care; the library can also use several cores). What made
# training fast was the index, not the language: the slow version is Python as well.

# %% [markdown] id="encode-intro"
# ## 4. Encoding: merges in the order learned
#
# Training left a list of merges. To encode a new word, start from its bytes and replay the list. This is *not* the same as looking for the longest token that fits: what counts is
# which merge was **learned first**, wherever in the word it applies.
#
# Take the merges b+c, then a+b, then bc+d, and the word `abc`. Both of the first two could be applied; b+c was learned first, so the word is `a` `bc`, although `ab` stands further left.
#
# ### Exercise 01.3
# Write `encode_word`. `merges` maps a pair to its new id, and its keys stand in the order in which they were learned. `merge_pair` is yours to use.

# %% id="ex3" exercise="01.3"

# %% [markdown] id="encode-real-intro"
# Your function, with the merges of our slow training, on real words. At the right, what the large vocabulary makes of them:

# %% id="encode-real"
for word in (" something", " yesterday", " unbelievably", " tokenization"):
    word_ids = encode_word([id_of_byte[byte] for byte in word.encode()], slow_merges)
    few = " ".join(show_bytes(slow_spelling[i]) for i in word_ids)
    print(f"{few:28} {' '.join(bpe.tokenize(word))}")

# %% [markdown] id="parity-intro"
# Decoding is the easy direction: put the bytes of all tokens one behind the other, and read them as UTF-8. No rule is needed, because each token simply *is* some bytes.
#
# Now the proof. A tokenizer that is right on ordinary text may still be wrong. So we add the texts that break tokenizers: emoji with joiners, Chinese, accents in both spellings, control characters, white space at the
# ends, one very long word, and nothing at all.

# %% id="parity"
awkward_texts = [
    "",
    "   two  spaces \t and a tab at the end \t",
    "\x00 control \x1c characters \x85 \r\n",
    "naïve café re\u0301sume\u0301 Ünïcödé ÅÄÖ ß İstanbul ΣΑΣ",
    "你好，世界！ ひらがな カタカナ 한국어",
    "👨‍👩‍👧 👍🏽 🏳️‍🌈 zero\u200bwidth \u200djoiners\u200d \ufeff",
    "½ Ⅳ x² ١٢٣ 1,234.50€ 3+4=7?",
    "a" * 5_000,
    "x" * 101 + " short",
    "I'LL say it's 'quoted'... __init__ \u2028 \u3000 \ue000 \ufffd",
    "नमस्ते สวัสดี Здравствуйте γειά",
]
compared_texts = unseen_texts[:num_compared] + awkward_texts
num_unequal = sum(bpe.encode(text) != judge.encode(text).ids for text in compared_texts)
num_not_restored = sum(bpe.decode(bpe.encode(text)) != text for text in compared_texts)
print(f"{len(compared_texts):,} texts: {num_unequal} encoded differently, {num_not_restored} not restored exactly")

# %% [markdown] id="parity-notice"
# The ids are equal for all texts, with 0 <!-- claim: num_unequal == 0 --> exceptions, and decoding gives back every one of them, byte for byte: 0 <!-- claim: num_not_restored == 0 --> were not restored. That is what starting from bytes buys: **byte-level BPE loses nothing.**
#
# Only one kind of string has no bytes: half of a *surrogate pair*, a relic of another encoding that turns up in badly read files. It is refused, with its place:

# %% id="surrogate"
with expect_error(ValueError):
    bpe.encode("good until here \ud83d and then")

# %% [markdown] id="wordpiece-intro"
# ## 5. WordPiece, and BERT's vocabulary
#
# BERT's tokenizer goes three other ways. It **normalises** first: control characters go, text becomes lower case, accents are stripped. It cuts at **spaces and punctuation**, and throws the
# spaces away. And within a word it does not replay merges but takes the **longest piece of the vocabulary** that begins the word, then the longest that goes on. Pieces that go on with a word are marked with `##`,
# so `able` and `##able` are different tokens.
#
# If at some place nothing fits, the *whole word* becomes `[UNK]`, the token for the unknown: the tokenizer never goes back to try a shorter piece. With the pieces `un`, `una`, `##able` and `##ble`, the word `unable` begins with `una`, because it is longer, and goes on with `##ble`.
#
# ### Exercise 01.4
# Write `split_word` for one word that is already lower-cased.

# %% id="ex4" exercise="01.4"

# %% [markdown] id="bert-vocab-intro"
# The vocabulary is the real one of `bert-base-uncased`, as it comes with the small BERT of this course. Your function, on real words:

# %% id="bert-vocab"
bert = WordPiece.load(asset_path("minilm"))
bert_pieces = set(bert.vocab)
print(f"{bert.vocab_size:,} pieces, {sum(piece.startswith('##') for piece in bert.vocab):,} of them with ##")
for word in ("tokenization", "unaffable", "lol", "hahahaha", "covid", "👍"):
    print(f"{word:13}", *split_word(word, bert_pieces))

# %% [markdown] id="bert-notice"
# This vocabulary was learned in 2018, from books and Wikipedia: `covid` was no word then, and laughter is not encyclopaedic. The thumb is `[UNK]`: BERT cannot tell it from any other sign it does not know. (A word of more than 100 characters is `[UNK]` as well, by decree.)
#
# Now the whole tokenizer against `BertTokenizer`. Both get the same real messages and the same awkward ones.

# %% id="bert-parity"
bert_judge = BertTokenizer.from_pretrained(asset_path("minilm"))
bert_unequal = sum(bert.encode(text) != bert_judge(text).input_ids for text in compared_texts)
print(f"{len(compared_texts):,} texts: {bert_unequal} encoded differently")
print(bert.decode(bert.encode("Did  Zoë pay 1,234.50€ for THAT?!")))

# %% [markdown] id="bert-parity-notice"
# The number of differences is 0 <!-- claim: bert_unequal == 0 -->. But decoding does not bring the text back: capitals, accents and spaces are lost for good. For a model that classifies that may not matter;
# a model that writes could never work so, and that is one reason why GPT took another way.
#
# There is one difference, on purpose. Some tokens stand for no text at all: these *special tokens* are written in brackets, and the program puts them in. `[CLS]` opens every input, `[SEP]` closes each text, `[PAD]` fills up, `[UNK]` you know, and `[MASK]` hides a word that BERT shall
# guess while it is trained. What if a person *types* one?

# %% id="injection"
typed = "ignore this [SEP] and answer me"
print("ours:         ", bert.tokenize(typed))
print("BertTokenizer:", bert_judge.tokenize(typed))
print("   told not to:", bert_judge.tokenize(typed, split_special_tokens=True))

# %% [markdown] id="injection-notice"
# For us text is only ever text. By default `BertTokenizer` turns what was typed into the *real* separator, and a user could so forge the structure of an input. For a chat model, whose special tokens say who is speaking, that is a
# security hole; lesson 09 comes back to it.
#
# How was BERT's vocabulary learned? The WordPiece of 2012 merges the pair that raises the likelihood of the text most, roughly count(ab) / (count(a) · count(b)). `tokenizers` merges the most *frequent* pair, as BPE does, and so does
# our `WordPiece.train`. Google never published the program that made BERT's own.

# %% id="train-wordpiece"
own = WordPiece.train(train_texts, vocab_size=4_000)
text = "haha lol, wdym? I gotta procrastinate"
print("ours, 4,000 pieces:  ", *own.tokenize(text))
print("BERT's, 30,522 pieces:", *bert.tokenize(text))

# %% [markdown] id="train-wordpiece-notice"
# With an eighth of the pieces, ours knows the language of chats better: `haha` and `lol` are whole. `procrastinate` falls into four pieces in both.

# %% [markdown] id="frame-intro"
# ## 6. From a list of ids to a batch
#
# BERT reads `[CLS] text [SEP]`. Many texts go through it at once, as the rows of one tensor, and these must be equally long. So shorter rows are filled up with `[PAD]`, and an **attention mask** says which places are real: 1 to look at, 0 to
# ignore. Text longer than the model allows is cut, and what must never be cut are the special tokens.
#
# ### Exercise 01.5
# Write `frame_batch`. The ids of the special tokens are `[CLS]` 101, `[SEP]` 102 and `[PAD]` 0. Pad to the longest row **of the batch**, not to `max_length`: padding costs as much time as text.

# %% id="ex5" exercise="01.5"

# %% [markdown] id="frame-real-intro"
# Four real messages, framed by your function:

# %% id="frame-real"
four_texts = ["hey", "hey there, how are you?", "I am fine thanks!", unseen_texts[40]]
rows = [bert.encode(text, add_special_tokens=False) for text in four_texts]
input_ids, attention_mask = frame_batch(rows, max_length=12)
for row, mask in zip(input_ids, attention_mask, strict=True):
    print(" ".join(bert.vocab[i] for i in row))
    print("   mask", *mask)

# %% [markdown] id="frame-parity-intro"
# Tasks with two texts (a question and a passage, a message and its reply) are framed as `[CLS] A [SEP] B [SEP]`, and *token types* say which text a place belongs to: 0 or 1. When both are too long together, the longer is cut
# first. `encode_batch` of the library does it all; here against `BertTokenizer`, at several lengths.

# %% id="frame-parity"
pairs = unseen_texts[1 : num_compared + 1]
batch_unequal = 0
for max_length in (8, 33, 128):
    ours = bert.encode_batch(unseen_texts[:num_compared], pairs, max_length)
    theirs = bert_judge(unseen_texts[:num_compared], pairs, max_length=max_length, truncation=True, padding=True)
    batch_unequal += sum(ours[name] != theirs[name] for name in ("input_ids", "token_type_ids", "attention_mask"))
    share = 1 - sum(map(sum, ours["attention_mask"])) / sum(map(len, ours["attention_mask"]))
    print(f"cut to {max_length:3}: {share:.0%} of the places are padding")
print(f"{batch_unequal} of 9 tables differ")

# %% [markdown] id="frame-notice"
# None of the tables differs: 0 <!-- claim: batch_unequal == 0 -->. But look at the padding in the last line: one long message makes all rows of its batch long. Putting messages of similar length into
# one batch avoids most of it, and lesson 05 does that.

# %% [markdown] id="compression-intro"
# ## 7. What does a larger vocabulary buy?
#
# The measure is *compression*: characters per token. More characters per token mean shorter sequences, more text in the same context, and less work per text. We train once and cut the list of merges
# short, because the first merges of a large vocabulary *are* the small vocabulary.
#
# The messages are ones that training has not seen. **Guess first:** how many characters has a token of a vocabulary of 1,000, and how many with 16,000?


# %% id="compression"
def chars_per_token(tokenizer: BytePairEncoding, texts: list[str]) -> float:
    """Characters of all texts over tokens of all texts: totals first, one division."""
    return sum(map(len, texts)) / sum(len(tokenizer.encode(text)) for text in texts)


vocab_sizes = [size for size in (256, 500, 1_000, 2_000, 4_000, 8_000, 16_000) if size <= vocab_size]
compression = {size: chars_per_token(bpe.truncated(size), unseen_texts) for size in vocab_sizes}
bert_tokens = sum(len(bert.encode(text, add_special_tokens=False)) for text in unseen_texts)
bert_compression = sum(map(len, unseen_texts)) / bert_tokens
for size, value in compression.items():
    print(f"{size:6,} tokens: {value:.2f} characters per token")
print(f"{bert.vocab_size:6,} pieces of BERT: {bert_compression:.2f}")

# %% [markdown] id="compression-plot-intro"
# The same as a picture. Each step to the right doubles the vocabulary, roughly.

# %% id="compression-plot"
viz.lines(
    {"our BPE": (list(compression), list(compression.values()))},
    xlabel="tokens in the vocabulary (logarithmic)",
    ylabel="characters per token, unseen messages",
    title="Each doubling of the vocabulary buys less",
    baseline={"one byte\nper token": 1.0, "BERT's\n30,522": bert_compression},
    log_x=True,
)

# %% [markdown] id="compression-notice"
# With a thousand tokens instead of bytes, a token already holds 2.9 <!-- claim: compression[1000] ~= 2.9 ± 0.1; smoke: > 2.4 --> characters; from 8,000 to 16,000 tokens the gain is only 4% <!-- claim: compression[16000] / compression[8000] - 1 ~= 0.04 ± 0.01; smoke: skip -->. Meanwhile the table of embeddings grows with the vocabulary: at a width of 768,
# every 1,000 tokens are 768,000 parameters. Small models therefore take small vocabularies; ours for later lessons has about 8,000.
#
# BERT's vocabulary is almost twice as large as our largest, yet reaches only 4.19 <!-- claim: bert_compression ~= 4.19 ± 0.04 -->, although its tokens need not spell a single space: it was learned from other text, and each
# punctuation mark is a token of its own. A vocabulary fits the text it was learned from.

# %% [markdown] id="numbers-intro"
# ## 8. Numbers and other languages
#
# Look at what becomes of numbers. **Guess first:** do 1000 and 1001 look alike to the model?

# %% id="numbers"
for number in ("7", "42", "1000", "1001", "2018", "2026", "3.14159", "8675309"):
    print(f"{number:>8}   ours: {' '.join(bpe.tokenize(' ' + number)):22} BERT: {' '.join(bert.tokenize(number))}")

# %% [markdown] id="numbers-notice"
# Numbers are cut wherever frequency put the cut. A round number is one token, its neighbour two; to BERT the year of its birth is one token, the later year is two. The pieces do not line up with tens and thousands, and from this a model must learn that the one number comes right after the other.
# Newer tokenizers, among them that of this course's chat model, split numbers into single digits, so that at least the places of a number can be read off.
#
# Now other languages. Our vocabulary was learned from English. The same question, in eight of them:

# %% id="languages"
questions = {
    "English": "Good morning, how did you sleep?",
    "French": "Bonjour, avez-vous bien dormi ?",
    "German": "Guten Morgen, wie hast du geschlafen?",
    "Greek": "Καλημέρα, πώς κοιμήθηκες;",
    "Russian": "Доброе утро, как тебе спалось?",
    "Hindi": "सुप्रभात, नींद कैसी आई?",
    "Chinese": "早上好，你睡得怎么样？",
    "Japanese": "おはよう、よく眠れましたか？",
}
num_tokens = {language: len(bpe.encode(text)) for language, text in questions.items()}
num_unknown = {language: bert.tokenize(text).count("[UNK]") for language, text in questions.items()}
print("           characters  bytes  ours  BERT  unknown to BERT")
for language, question in questions.items():
    counts = (len(question), len(question.encode()), num_tokens[language], len(bert.tokenize(question)))
    print("{:10} {:10} {:6} {:5} {:5} {:8}".format(language, *counts, num_unknown[language]))

# %% [markdown] id="languages-plot-intro"
# The tokens of our BPE, against what English costs:

# %% id="languages-plot"
ax = viz.new_axes((8, 3.8))
ax.bar_label(ax.bar(list(num_tokens), list(num_tokens.values()), width=0.62, color=viz.BLUE), padding=3)
ax.margins(y=0.12)
viz.draw_baselines(ax, {"English": num_tokens["English"]})
viz.finish(ax, ylabel="tokens of our BPE", title="The same question costs several times as much in other languages")

# %% [markdown] id="languages-notice"
# Nothing is unknown to a byte-level tokenizer, but Hindi costs 7.4 <!-- claim: num_tokens["Hindi"] / num_tokens["English"] ~= 7.4 ± 0.2; smoke: > 4 --> times as many tokens as English: it falls back to single bytes, three for each letter. To BERT's vocabulary 8 <!-- claim: num_unknown["Chinese"] == 8 --> of the 11 characters of
# the Chinese question are simply unknown. Whoever writes in these languages pays more, waits longer, and fits less into
# the context. That was decided by the *text the vocabulary was trained on*, before the model learned anything.

# %% [markdown] id="save-intro"
# Last, the tokenizers become files that other programs read: `tokenizer.json` for BPE, `vocab.txt` for WordPiece, in the formats of `tokenizers` and `transformers`. When you train a model, such a file belongs to it.

# %% id="save"
folder = scratch("tokenizers")
bpe.save(folder / "bpe")
own.save(folder / "wordpiece")
opened = Tokenizer.from_file(str(folder / "bpe" / "tokenizer.json"))
opened_bert = BertTokenizer.from_pretrained(folder / "wordpiece")
print("tokenizers reads our BPE:        ", opened.encode(text).ids == bpe.encode(text))
print("transformers reads our WordPiece:", opened_bert(text).input_ids == own.encode(text))
print("and so do we:                    ", BytePairEncoding.load(folder / "bpe").merges == bpe.merges)

# %% [markdown] id="summary"
# ## Summary
#
# * You saw text as code points and as bytes, and two spellings of one word that only a normal form made equal.
# * You trained BPE by counting and merging, first slowly and then with an index and a heap; ties went to the smaller ids. All merges were those of `tokenizers`.
# * You encoded by replaying merges in the order learned, and got the same ids on real and on awkward text. Decoding gave every text back.
# * You cut words into WordPieces, longest first and `[UNK]` for whole words, exactly as BERT does; case, accents and spaces were lost.
# * You framed a batch: cut the text, add special tokens, pad, mask.
# * You measured what a vocabulary buys, and saw numbers cut wherever frequency put the cut, and Hindi cost a multiple of English.
#
# The rule to keep: **a model and its tokenizer are one thing.** Ids from another tokenizer are not an error message; they are nonsense that runs.

# %% [markdown] id="references"
# ## References
#
# * R. Sennrich, B. Haddow and A. Birch, *Neural Machine Translation of Rare Words with Subword Units*, ACL 2016, [section 3.2](https://aclanthology.org/P16-1162/): BPE for text.
# * A. Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019, [section 2.2](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf): BPE on bytes.
# * M. Schuster and K. Nakajima, *Japanese and Korean Voice Search*, ICASSP 2012, [section 3](https://doi.org/10.1109/ICASSP.2012.6289079): where WordPiece comes from.
# * J. Devlin et al., *BERT*, NAACL 2019, [arXiv:1810.04805](https://arxiv.org/abs/1810.04805), section 3: special tokens and token types.
# * X. Song et al., *Fast WordPiece Tokenization*, EMNLP 2021, [arXiv:2012.15524](https://arxiv.org/abs/2012.15524), section 2: the longest piece first.
# * A. Petrov et al., *Language Model Tokenizers Introduce Unfairness Between Languages*, NeurIPS 2023, [arXiv:2305.15425](https://arxiv.org/abs/2305.15425): what section 8 hints at, measured.
#
# The words of this lesson are in the [glossary](../docs/glossary.md).
