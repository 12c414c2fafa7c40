"""Byte-level byte-pair encoding, as in GPT-2: every text has tokens, and decoding gives back exactly that text.

Sennrich et al., ACL 2016, section 3.2; on bytes: Radford et al., 2019, section 2.2. Nothing is normalised, and text is
only ever text: "<|endoftext|>" typed by a person is no special token.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from course_utils.data.tokenizers import store
from course_utils.data.tokenizers.byte_text import byte_order, show_bytes, words_of
from course_utils.data.tokenizers.checks import (
    check_ids,
    check_special_tokens,
    check_text,
    check_texts,
    check_vocab_size,
)
from course_utils.data.tokenizers.merges import Pair, learn_merges, pairs_of
from course_utils.errors import UserError

NEVER = float("inf")  # the rank of a pair that no merge joins
CACHED_WORDS = 100_000


class BytePairEncoding:
    """A byte-level BPE: `merges` are pairs of token ids in the order learned.

    Ids: special tokens first, then the 256 bytes in the order of `byte_order`, then what the merges make. Raises
    UserError for a merge of an id that does not exist yet.
    """

    def __init__(self, merges: Iterable[Pair], special_tokens: Sequence[str] = ()):
        self.special_tokens = check_special_tokens(special_tokens)
        self.merges = [tuple(pair) for pair in merges]
        self.tokens: list[bytes] = _first_tokens(self.special_tokens)  # what each id stands for; b"" if special
        self._ranks, self._merged = {}, {}
        ids = {token: i for i, token in enumerate(self.tokens) if token}
        for rank, (left, right) in enumerate(self.merges):
            if not all(len(self.special_tokens) <= i < len(self.tokens) for i in (left, right)):
                raise UserError(
                    f"merge {rank} joins ids {left} and {right}; only {len(self.tokens)} tokens exist by then."
                )
            token = self.tokens[left] + self.tokens[right]
            if token not in ids:
                ids[token] = len(self.tokens)
                self.tokens.append(token)
            pair = chr(left) + chr(right)
            self._ranks.setdefault(pair, rank)
            self._merged[pair] = chr(ids[token])
        self._byte_ids = [chr(ids[bytes([byte])]) for byte in range(256)]
        self._cache: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """Special tokens, the 256 bytes, and what merges made."""
        return len(self.tokens)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, *, min_count: int = 1, special_tokens: Sequence[str] = ()
    ) -> "BytePairEncoding":
        """Learn merges from texts until the vocabulary has `vocab_size` tokens, or no pair occurs `min_count` times.

        Raises UserError for a vocabulary smaller than the special tokens and the 256 bytes.
        """
        special_tokens = check_special_tokens(special_tokens)
        first = _first_tokens(special_tokens)
        check_vocab_size(vocab_size, len(first), "special tokens and all bytes")
        counts: Counter[str] = Counter()
        for text in check_texts(texts):
            counts.update(words_of(check_text(text)))
        ids = {token: chr(i) for i, token in enumerate(first) if token}
        letters = [ids[bytes([byte])] for byte in range(256)]
        words = {"".join([letters[byte] for byte in word.encode()]): count for word, count in counts.items()}
        return cls(learn_merges(words, first, vocab_size, min_count)[0], special_tokens)

    def encode(self, text: str) -> list[int]:
        """The token ids of a text; [] for the empty one. Raises UserError for what is no text or no valid Unicode."""
        cache, ids = self._cache, []
        for word in words_of(check_text(text)):
            known = cache.get(word)
            ids += known if known is not None else self._remember(word)
        return ids

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of token ids: for `encode(text)` exactly the text; bytes that are no UTF-8 become U+FFFD.

        Raises UserError for unknown ids.
        """
        parts = [self.token_bytes(i, skip_special_tokens) for i in check_ids(ids, self.vocab_size)]
        return b"".join(parts).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int, skip_special_tokens: bool = False) -> bytes:
        """What one id stands for; a special token's name, or nothing if these are skipped."""
        if token_id < len(self.special_tokens):
            return b"" if skip_special_tokens else self.special_tokens[token_id].encode()
        return self.tokens[token_id]

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text as files show them: a space is Ġ, a byte of a longer character some Latin letter."""
        return [show_bytes(self.tokens[i]) for i in self.encode(text)]

    def token_id(self, special_token: str) -> int:
        """The id of a special token. Raises UserError if there is none of that name."""
        if special_token not in self.special_tokens:
            raise UserError(f"there is no special token {special_token!r}; there are {list(self.special_tokens)}.")
        return self.special_tokens.index(special_token)

    def truncated(self, vocab_size: int) -> "BytePairEncoding":
        """The tokenizer that training with a smaller `vocab_size` would have given: the first merges of this one."""
        check_vocab_size(vocab_size, 256 + len(self.special_tokens), "special tokens and all bytes")
        made, num_kept = 256 + len(self.special_tokens), 0
        while made < vocab_size and num_kept < len(self.merges):
            made = max(made, self._makes(self.merges[num_kept]) + 1)
            num_kept += 1
        return BytePairEncoding(self.merges[:num_kept], self.special_tokens)

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json`, which `tokenizers` and `transformers.AutoTokenizer` open too."""
        store.write_json(Path(folder) / "tokenizer.json", self._as_json())
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        store.write_json(Path(folder) / "tokenizer_config.json", config)

    @classmethod
    def load(cls, path: str | Path) -> "BytePairEncoding":
        """A tokenizer from a folder with, or the path of, a `tokenizer.json` of this kind. Raises UserError if not."""
        path = store.find(path, "tokenizer.json")
        content = store.read_json(path)
        try:
            special = sorted((row["id"], row["content"]) for row in content.get("added_tokens", []))
            vocab = {**content["model"]["vocab"], **{name: i for i, name in special}}
            merges = [row.split(" ") if isinstance(row, str) else row for row in content["model"]["merges"]]
            loaded = cls([(vocab[left], vocab[right]) for left, right in merges], [name for _, name in special])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path} holds no byte-level BPE ({type(error).__name__}: {error}).") from error
        if loaded._vocab() != vocab:
            raise UserError(f"{path} orders its {len(vocab):,} tokens otherwise than special tokens, bytes, merges.")
        return loaded

    def _remember(self, word: str) -> list[int]:
        if len(self._cache) >= CACHED_WORDS:
            self._cache.clear()
        self._cache[word] = ids = self._encode_word(word)
        return ids

    def _encode_word(self, word: str) -> list[int]:
        """Merge the pair that was learned first, wherever it stands, until no merge applies."""
        spelled = "".join([self._byte_ids[byte] for byte in word.encode()])
        rank_of = self._ranks.get
        while len(spelled) > 1:
            pair = min(pairs_of(spelled), key=lambda pair: rank_of(pair, NEVER))
            if pair not in self._ranks:
                break
            spelled = spelled.replace(pair, self._merged[pair])
        return list(map(ord, spelled))

    def _makes(self, pair: Pair) -> int:
        return ord(self._merged[chr(pair[0]) + chr(pair[1])])

    def _vocab(self) -> dict[str, int]:
        vocab = {name: i for i, name in enumerate(self.special_tokens)}
        return vocab | {show_bytes(token): i for i, token in enumerate(self.tokens) if token}

    def _as_json(self) -> dict[str, Any]:
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        shown = [show_bytes(token) for token in self.tokens]
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, "content": name, **flags} for i, name in enumerate(self.special_tokens)],
            "normalizer": None,
            "pre_tokenizer": byte_level,
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": self._vocab(),
                "merges": [[shown[left], shown[right]] for left, right in self.merges],
            },
        }


def _first_tokens(special_tokens: Sequence[str]) -> list[bytes]:
    return [b""] * len(special_tokens) + [bytes([byte]) for byte in byte_order()]
