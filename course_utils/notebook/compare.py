"""Are two sets of cell outputs the same to a reader? The rule that judges committed outputs, and the diff it shows.

Words and integers must be equal; decimals (a point or an exponent) may differ by one unit of the last digit shown or by
1%, whichever is larger. Runs of spaces count as one. Never compared: stderr, pictures, widgets and other media, the
`<Figure size ...>` text that stands in for a picture, and memory addresses. It knows outputs, not notebooks or kernels.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from course_utils.notebook.cell_outputs import EXERCISE_MIME, strip_ansi

COMPARED_MIMES = ("text/plain", "text/html", "text/markdown", "text/latex", "application/json", EXERCISE_MIME)
RELATIVE = Decimal("0.01")

_FIGURE = re.compile(r"<Figure size [\d.e+]+x[\d.e+]+ with \d+ Axes>")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
# Dotted triples (versions, addresses) and digits inside words are words, not numbers. A bare final point makes a
# decimal only inside an array (`[1., 2.]`): in `at step 12.` it ends a sentence, and 12 must stay exact.
_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+|\.(?=[\s\d.eE+-]*[\],]))?|\.\d+)(?:[eE][-+]?\d+)?(?![\d_]|\.\d)"
)


@dataclass(frozen=True)
class Mismatch:
    """The first difference: which kind of output, the two lines (empty when one is missing), and what moved."""

    kind: str
    expected: str
    got: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}\n  committed: {self.expected}\n  today:     {self.got}"


def comparable(outputs: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The text of `outputs` (nbformat 4) that takes part in a comparison, by kind, in order.

    Streams of one name become one text, since the kernel may split them anywhere. Errors compare by name and message.
    """
    texts: dict[str, list[str]] = defaultdict(list)
    stdout = []
    for output in outputs:
        if output["output_type"] == "stream":
            if output["name"] == "stdout":
                stdout.append(_joined(output["text"]))
        elif output["output_type"] == "error":
            texts["error"].append(f"{output['ename']}: {output['evalue']}")
        else:
            _add_data(texts, output.get("data", {}))
    if "".join(stdout):
        texts["stdout"].append(apply_carriage_returns("".join(stdout)))
    return dict(texts)


def first_mismatch(committed: Iterable[Mapping[str, Any]], today: Iterable[Mapping[str, Any]]) -> Mismatch | None:
    """The first difference a reader would notice between two lists of outputs, or None."""
    expected, got = comparable(committed), comparable(today)
    for kind in sorted(expected.keys() | got.keys(), key=("error", "stdout", *COMPARED_MIMES).index):
        old, new = expected.get(kind, []), got.get(kind, [])
        for old_text, new_text in zip(old, new, strict=False):
            if mismatch := compare_text(old_text, new_text, kind):
                return mismatch
        if len(old) != len(new):
            return _different_count(kind, old, new)
    return None


def compare_text(expected: str, got: str, kind: str = "stdout") -> Mismatch | None:
    """Compare two texts line by line; trailing blank lines do not count."""
    old, new = _lines(expected), _lines(got)
    for number in range(max(len(old), len(new))):
        old_line = old[number] if number < len(old) else None
        new_line = new[number] if number < len(new) else None
        if old_line is None or new_line is None:
            reason = f"{kind}: {len(old)} lines committed, {len(new)} today; the first without a partner is"
            return Mismatch(kind, old_line or "", new_line or "", f"{reason} line {number + 1}")
        if reason := compare_line(old_line, new_line):
            return Mismatch(kind, old_line, new_line, f"{kind}, line {number + 1}: {reason}")
    return None


def compare_line(expected: str, got: str) -> str:
    """Why two lines differ, naming the number that moved and by how much; empty when they count as equal."""
    old_words, old_numbers = _split(expected)
    new_words, new_numbers = _split(got)
    if old_words != new_words:
        return "the words differ"
    for old, new in zip(old_numbers, new_numbers, strict=True):
        if reason := _compare_numbers(old, new):
            return reason
    return ""


def apply_carriage_returns(text: str) -> str:
    """What a terminal would show: text before a carriage return is written over."""
    return re.sub(r"^.*\r(?=[^\r\n])", "", text.replace("\r\n", "\n"), flags=re.MULTILINE).replace("\r", "")


def _add_data(texts: dict[str, list[str]], data: Mapping[str, Any]) -> None:
    for mime in COMPARED_MIMES:
        if mime not in data:
            continue
        content = data[mime]
        is_json = mime.endswith("json")
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) if is_json else _joined(content)
        if mime == "text/plain" and (not text.strip() or _FIGURE.fullmatch(text.strip())):
            continue
        texts[mime].append(text)


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _lines(text: str) -> list[str]:
    return _ADDRESS.sub("0xADDRESS", strip_ansi(text)).rstrip().splitlines()


def _split(line: str) -> tuple[list[str], list[str]]:
    """The words around the numbers, spaces normalised, and the numbers."""
    words = [" ".join(part.split()) for part in _NUMBER.split(line)]
    return words, _NUMBER.findall(line)


def _is_decimal(number: str) -> bool:
    return any(character in number for character in ".eE")


def _compare_numbers(old: str, new: str) -> str:
    if not (_is_decimal(old) and _is_decimal(new)):
        return "" if old == new else f"{old} became {new}"
    expected, got = Decimal(old.replace(",", "")), Decimal(new.replace(",", ""))
    allowed = max(_unit(old), abs(expected) * RELATIVE)
    moved = abs(got - expected)
    if moved <= allowed:
        return ""
    return f"{old} became {new} (moved by {moved:.3g}, allowed {allowed:.3g})"


def _unit(number: str) -> Decimal:
    """One step of the last digit shown: 0.01 for 2.50, 1e-9 for 3.2e-8."""
    return Decimal(1).scaleb(Decimal(number.replace(",", "")).as_tuple().exponent)


def _different_count(kind: str, old: list[str], new: list[str]) -> Mismatch:
    reason = f"{kind}: {len(old)} outputs committed, {len(new)} today"
    extra = (old if len(old) > len(new) else new)[min(len(old), len(new))]
    first_line = next(iter(_lines(extra)), "")
    return Mismatch(kind, first_line if len(old) > len(new) else "", first_line if len(new) > len(old) else "", reason)
