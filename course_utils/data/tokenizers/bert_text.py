"""Text for WordPiece: cleaned and cut into words and punctuation, as BERT does before it looks into its vocabulary.

Equal to the normalizer of `tokenizers` for every character up to Unicode 8, whose tables that library carries; newer
marks and punctuation follow Python's own tables here.
"""

import functools
import re
import unicodedata

IDEOGRAPHS = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]"
)
WHITE_SPACE = set("\t\n\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a")
WHITE_SPACE |= set("\u2028\u2029\u202f\u205f\u3000")
ASCII_DROPPED = {code: None for code in (*range(32), 127) if chr(code) not in "\t\n\r"}
ASCII_WORDS = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")


def words_of(text: str, lowercase: bool = True) -> list[str]:
    """The words and punctuation marks of a text, normalised; white space is gone, so the text cannot be rebuilt."""
    if text.isascii():
        text = text.translate(ASCII_DROPPED)
        return ASCII_WORDS.findall(text.lower() if lowercase else text)
    return "".join(map(_spaced, normalize(text, lowercase))).split()


def normalize(text: str, lowercase: bool = True) -> str:
    """Text without control characters, with plain spaces, ideographs set apart, and, lower-cased, without accents."""
    text = IDEOGRAPHS.sub(r" \g<0> ", "".join(map(_clean, text)))
    if not lowercase:
        return text
    without_marks = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return "".join(c.lower() for c in without_marks)  # one by one: str.lower() knows a final sigma, BERT does not


@functools.cache
def _clean(character: str) -> str:
    """The character, a space for white space, nothing for control, format and private characters and U+FFFD."""
    if character in WHITE_SPACE:
        return " "
    dropped = character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co")
    return "" if dropped else character


@functools.cache
def _spaced(character: str) -> str:
    """A punctuation mark with spaces around it; all ASCII symbols count, `$` and `+` too."""
    is_ascii_symbol = "!" <= character <= "~" and not character.isalnum()
    return f" {character} " if is_ascii_symbol or unicodedata.category(character)[0] == "P" else character
