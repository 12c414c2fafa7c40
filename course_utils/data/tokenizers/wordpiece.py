"""WordPiece, as in BERT: the longest piece of the vocabulary that begins the word, then the longest that goes on.

Encoding: Devlin et al., *BERT*, NAACL 2019, appendix A.2, with the rule of Song et al., *Fast WordPiece Tokenization*,
EMNLP 2021, section 2. Learning: Schuster and Nakajima, ICASSP 2012, score a pair by likelihood; here, as in
`tokenizers`, the most frequent pair is merged. Text is only ever text: "[SEP]" typed by a person is no special token.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from course_utils.data.tokenizers import bert_text, store
from course_utils.data.tokenizers.checks import check_ids, check_text, check_texts, check_vocab_size, shorten
from course_utils.data.tokenizers.frame import frame, pad
from course_utils.data.tokenizers.merges import learn_merges
from course_utils.errors import UserError

PREFIX = "##"  # marks a piece that goes on with a word
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_WORD_CHARS = 100  # longer words are unknown: BERT's limit
CACHED_WORDS = 100_000


class WordPiece:
    """A WordPiece tokenizer: `vocab` lists the pieces, a piece's place is its id.

    Raises UserError for a vocabulary that repeats a piece or lacks one of the five special tokens.
    """

    def __init__(self, vocab: Sequence[str], lowercase: bool = True):
        self.vocab, self.lowercase = list(vocab), lowercase
        self._ids = {piece: i for i, piece in enumerate(self.vocab)}
        if len(self._ids) < len(self.vocab):
            repeated = [piece for piece, count in Counter(self.vocab).items() if count > 1]
            raise UserError(f"each piece of a vocabulary stands there once; repeated: {shorten(repr(repeated))}.")
        if missing := [token for token in SPECIAL_TOKENS if token not in self._ids]:
            raise UserError(f"a WordPiece vocabulary needs {', '.join(SPECIAL_TOKENS)}; missing: {', '.join(missing)}.")
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (self._ids[t] for t in SPECIAL_TOKENS)
        self._longest = max(map(len, self.vocab))
        self._cache: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """How many pieces there are, special tokens included."""
        return len(self.vocab)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, *, min_count: int = 1, lowercase: bool = True) -> "WordPiece":
        """Learn pieces from texts: merges of the most frequent pair, until there are `vocab_size` of them.

        Special tokens come first, then letters, then letters that go on with a word, each by code point. Raises
        UserError when `vocab_size` has no room for these.
        """
        counts: Counter[str] = Counter()
        for text in check_texts(texts):
            counts.update(bert_text.words_of(check_text(text), lowercase))
        letters = sorted(set().union(*counts))
        inside = [PREFIX + letter for letter in sorted(set().union(*(word[1:] for word in counts)))]
        first = [*SPECIAL_TOKENS, *letters, *inside]
        check_vocab_size(vocab_size, len(first), f"five special tokens and {len(first) - 5:,} letters of these texts")
        symbols = {piece: chr(i) for i, piece in enumerate(first)}
        words = {
            symbols[word[0]] + "".join(symbols[PREFIX + letter] for letter in word[1:]): count
            for word, count in counts.items()
        }
        _, vocab = learn_merges(words, first, vocab_size, min_count, join=lambda a, b: a + b.removeprefix(PREFIX))
        return cls(vocab, lowercase)

    def encode(
        self, text: str, pair: str | None = None, *, add_special_tokens: bool = True, max_length: int | None = None
    ) -> list[int]:
        """Token ids (T,) of a text, or of two, inside [CLS] ... [SEP] unless that is switched off.

        `max_length` cuts text, never special tokens. Raises UserError for what is no text or no valid Unicode.
        """
        ids = self._text_ids(text)
        pair_ids = None if pair is None else self._text_ids(pair)
        if add_special_tokens:
            return frame(ids, pair_ids, self.cls_id, self.sep_id, max_length)[0]
        return (ids + (pair_ids or []))[:max_length]

    def encode_batch(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, max_length: int | None = None
    ) -> dict[str, list[list[int]]]:
        """`input_ids`, `token_type_ids` and `attention_mask`, each (B, T): framed, cut, padded right."""
        texts = list(check_texts(texts))
        pairs = [None] * len(texts) if pairs is None else list(check_texts(pairs))
        if len(pairs) != len(texts):
            raise UserError(f"one second text for each first; got {len(texts)} texts and {len(pairs)} pairs.")
        rows = []
        for text, pair in zip(texts, pairs, strict=True):
            pair_ids = None if pair is None else self._text_ids(pair)
            rows.append(frame(self._text_ids(text), pair_ids, self.cls_id, self.sep_id, max_length))
        input_ids, mask = pad([ids for ids, _ in rows], self.pad_id)
        token_types, _ = pad([types for _, types in rows], 0)
        return {"input_ids": input_ids, "token_type_ids": token_types, "attention_mask": mask}

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text, without special tokens."""
        return [self.vocab[i] for i in self._text_ids(text)]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Words with spaces between them: lower case and accents are not restored. Raises UserError for unknown ids."""
        pieces = [self.vocab[i] for i in check_ids(ids, self.vocab_size)]
        pieces = [piece for piece in pieces if not (skip_special_tokens and piece in SPECIAL_TOKENS)]
        joined = (piece[2:] if piece.startswith(PREFIX) and i > 0 else f" {piece}" for i, piece in enumerate(pieces))
        return "".join(joined).removeprefix(" ")

    def token_id(self, piece: str) -> int:
        """The id of a piece. Raises UserError if the vocabulary lacks it."""
        if piece not in self._ids:
            raise UserError(f"{piece!r} is none of the {self.vocab_size:,} pieces of this vocabulary.")
        return self._ids[piece]

    def save(self, folder: str | Path) -> None:
        """Write `vocab.txt` and `tokenizer_config.json`, which `transformers.BertTokenizer` opens too."""
        folder = Path(folder)
        if odd := [piece for piece in self.vocab if piece != piece.strip() or not piece or len(piece.split()) > 1]:
            raise UserError(f"vocab.txt has one piece a line, so none may hold white space; got {odd[0]!r}.")
        store.write_text(folder / "vocab.txt", "".join(f"{piece}\n" for piece in self.vocab))
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": self.lowercase}
        store.write_json(folder / "tokenizer_config.json", config)

    @classmethod
    def load(cls, path: str | Path) -> "WordPiece":
        """A tokenizer from a folder with, or the path of, a `vocab.txt`; case as the folder's configuration says.

        Raises UserError for a file that is missing or no vocabulary.
        """
        path = store.find(path, "vocab.txt")
        config = path.with_name("tokenizer_config.json")
        lowercase = store.read_json(config).get("do_lower_case", True) if config.is_file() else True
        try:
            return cls(path.read_text(encoding="utf-8").rstrip("\n").split("\n"), lowercase)
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text ({error}). A vocabulary has one piece a line.") from error

    def _text_ids(self, text: str) -> list[int]:
        cache, ids = self._cache, []
        for word in bert_text.words_of(check_text(text), self.lowercase):
            known = cache.get(word)
            ids += known if known is not None else self._remember(word)
        return ids

    def _remember(self, word: str) -> list[int]:
        if len(self._cache) >= CACHED_WORDS:
            self._cache.clear()
        self._cache[word] = ids = self._encode_word(word)
        return ids

    def _encode_word(self, word: str) -> list[int]:
        """The longest piece first; one [UNK] for the whole word as soon as nothing fits."""
        if len(word) > MAX_WORD_CHARS:
            return [self.unk_id]
        ids, start = [], 0
        while start < len(word):
            prefix = PREFIX if start else ""
            for end in range(min(len(word), start + self._longest), start, -1):
                if (piece := self._ids.get(prefix + word[start:end])) is not None:
                    break
            else:
                return [self.unk_id]
            ids.append(piece)
            start = end
        return ids
