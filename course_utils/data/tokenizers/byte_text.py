"""Text for a byte-level BPE: cut into words as GPT-2 does, and the 256 characters that stand for bytes in its files.

Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019, section 2.2.
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Callable

WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # what Unicode calls white space
ENDINGS = "'s|'t|'re|'ve|'m|'ll|'d"


def words_of(text: str) -> list[str]:
    """The text in pieces that no merge crosses; joined, they are the text again.

    English endings ('s, 'll, ...), then runs of letters, of digits, of other characters, each with one space before
    it, then white space, whose last character goes to the next piece.
    """
    return (_ascii_words if text.isascii() else _unicode_words())(text)


def _pattern(letter: str, digit: str, other: str) -> str:
    return f"{ENDINGS}| ?{letter}+| ?{digit}+| ?{other}+|[{WHITE_SPACE}]+(?![^{WHITE_SPACE}])|[{WHITE_SPACE}]+"


_ascii_words = re.compile(_pattern("[A-Za-z]", "[0-9]", r"[^\t-\r A-Za-z0-9]")).findall


@functools.cache
def _unicode_words() -> Callable[[str], list[str]]:
    """The same for all of Unicode. `re` has no class for letters alone: take words less digits, Ⅳ, ½ and the like."""
    codes = (chr(code) for code in range(sys.maxunicode + 1))
    numbers = "".join(code for code in codes if unicodedata.category(code) in ("Nl", "No"))
    other = rf"(?:_|[^\w{WHITE_SPACE}])"
    return re.compile(_pattern(rf"[^\W\d_{numbers}]", rf"[\d{numbers}]", other)).findall


@functools.cache
def byte_characters() -> tuple[str, ...]:
    """The visible character that stands for each byte in files: itself where it prints, else from U+0100 on.

    The space becomes Ġ, the newline Ċ.
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return tuple(chr(byte) if byte in visible else chr(256 + hidden.index(byte)) for byte in range(256))


@functools.cache
def byte_order() -> tuple[int, ...]:
    """The 256 bytes in the order of their characters: the first ids of a byte-level vocabulary."""
    return tuple(sorted(range(256), key=lambda byte: byte_characters()[byte]))


def show_bytes(token: bytes) -> str:
    """A token as files and people write it: ` the` is `Ġthe`."""
    return "".join(byte_characters()[byte] for byte in token)


def read_bytes(shown: str) -> bytes:
    """The bytes of a token as written in a file. Raises KeyError for a character that stands for no byte."""
    return bytes(map(_bytes_by_character().__getitem__, shown))


@functools.cache
def _bytes_by_character() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(byte_characters())}
