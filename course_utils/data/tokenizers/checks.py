"""What every tokenizer refuses, with one clear message: what is no text, what is no Unicode, and unknown token ids."""

import numbers
import re
from collections.abc import Iterable, Sequence

from course_utils.errors import UserError

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def check_text(text: object) -> str:
    """The text itself. Raises UserError for what is no string, and for half a surrogate pair, which no byte encodes."""
    if not isinstance(text, str):
        raise UserError(
            f"a tokenizer reads text (str); got {type(text).__name__}: {shorten(repr(text))}. "
            "Decode bytes first, with `data.decode()`; encode the texts of a list one by one."
        )
    if not text.isascii() and (found := LONE_SURROGATE.search(text)):
        raise UserError(
            f"text must be valid Unicode; character {found.start()} is U+{ord(found[0]):04X}, half a surrogate pair. "
            "Read the file as UTF-8 with errors='replace', or drop the character."
        )
    return text


def check_texts(texts: object) -> Iterable[str]:
    """Texts to learn from or to encode. Raises UserError for a single string, whose characters are hardly meant."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise UserError(
            f"expected several texts, as a list; got {type(texts).__name__}: {shorten(repr(texts))}. "
            "Put a single text into a list."
        )
    return texts


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """Token ids as a list (tensors of one dimension too). Raises UserError for an id that the vocabulary lacks."""
    ids = list(getattr(ids, "tolist", lambda: ids)())
    for position, token_id in enumerate(ids):
        whole = isinstance(token_id, numbers.Integral) and not isinstance(token_id, bool)
        if not whole or not 0 <= token_id < vocab_size:
            raise UserError(
                f"a token id is a whole number from 0 to {vocab_size - 1:,}; got {shorten(repr(token_id))} at position "
                f"{position}. Do the ids come from another tokenizer, or from a batch that holds lists of ids?"
            )
    return ids


def check_vocab_size(vocab_size: object, smallest: int, why: str) -> int:
    """The vocabulary size. Raises UserError unless it is a whole number of at least `smallest`."""
    if not isinstance(vocab_size, int) or isinstance(vocab_size, bool) or vocab_size < smallest:
        raise UserError(f"vocab_size must be a whole number of at least {smallest:,} ({why}); got {vocab_size!r}.")
    return vocab_size


def check_special_tokens(tokens: Sequence[str]) -> tuple[str, ...]:
    """Special tokens as a tuple. Raises UserError unless they are different texts that are not empty."""
    if isinstance(tokens, str) or not all(isinstance(token, str) and token for token in tokens):
        raise UserError(f"special_tokens must be a list of texts that are not empty; got {shorten(repr(tokens))}.")
    if len(set(tokens)) < len(tokens):
        raise UserError(f"each special token needs a name of its own; got {shorten(repr(tokens))}.")
    return tuple(tokens)


def shorten(text: str, length: int = 60) -> str:
    """The text, or its beginning and `...`."""
    return text if len(text) <= length else text[: length - 3] + "..."
