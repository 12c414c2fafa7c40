"""Lint rule (a warning): a number in prose that looks measured, and that no claim ties to the code.

Meant to be quiet: numbers of the code itself, section numbers, versions, formulas and quoted results are left alone. A
cell may opt out with the tag `no-claim` and a `reason` on its marker.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from decimal import Decimal

from nbformat import NotebookNode

from course_utils.notebook.findings import is_generated, tags_of
from course_utils.notebook.harvest import output_texts
from course_utils.notebook.lesson_table import fill_markers
from course_utils.notebook.lint_links import CODE
from course_utils.notebook.prose_numbers import NUMBER, Number, parse_number

OPT_OUT = "no-claim"
CLAIM = re.compile(r"<!--\s*claim:.*?-->", re.DOTALL)
# What is not prose: comments, formulas, addresses, headings, and numbers that name a place or a version.
NOT_PROSE = re.compile(
    r"<!--.*?-->|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)]*\)|https?://\S+|^#+ (?:\d+\.? )?References.*|^#+ [^\n]*$|<[^>\n]+>"
    r"|\b(?:section|sections|lesson|lessons|exercise|figure|table|chapter|equation|version|python|arxiv:?|§)\s*[\d.,–-]+"
    r"|\bv?\d+\.\d+\.\d+\S*|\b\d{4}\.\d{4,5}\b|\b10\.\d{4,}/\S+",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
MEASURED_UNIT = re.compile(
    r"\s*(?:%|percent|s\b|seconds?\b|ms\b|milliseconds?\b|[MG]B\b|tokens?(?:/s| per second)|times (?:faster|slower|as)"
    r"|× (?:faster|slower)|nats\b|bits\b)"
)
MEASURED_WORD = re.compile(
    r"\b(?:accuracy|loss(?:es)?|perplexity|speed-?up|takes|took|reaches|reached|scores?|scored|drops?|dropped|falls?|fell"
    r"|error rate|similarity|correlation|measured|wins?|throughput)\b",
    re.IGNORECASE,
)
QUOTED = re.compile(r"\b(?:paper|reported|reports|published|et al)\b", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z*_\[])|\n\s*\n|\n\s*[*-] ")
CELLS_BEFORE = 2  # code cells whose outputs a text is likely to speak about


def unclaimed_numbers(nb: NotebookNode) -> Iterator[tuple[str, str, str, str]]:
    """(cell, status, message, fix) for every measured number without a claim; a reasonless opt-out counts too."""
    literals = code_numbers(nb) | claimed_numbers(nb)
    shown: list[str] = []
    for cell in nb.cells:
        if cell.cell_type == "code":
            shown.append("\n".join(output_texts(cell)))
        elif not is_generated(cell):
            if OPT_OUT in tags_of(cell):
                if not cell.metadata.get("reason"):
                    fix = 'say why: tags=["no-claim"] reason="..."'
                    yield cell.id, "unclaimed-number", "the tag `no-claim` needs a reason", fix
                continue
            outputs = [n.value for text in shown[-CELLS_BEFORE:] for n in numbers_in(text)]
            for number, why in suspicious(cell.source, outputs, literals):
                fix = "tie it to the code: `... <!-- claim: EXPRESSION ~= VALUE ± TOLERANCE -->`"
                yield cell.id, "unclaimed-number", f"{number!r} {why} and has no claim", fix


def code_numbers(nb: NotebookNode) -> set[Decimal]:
    """Every number written in the code: a text may name these, they were not measured."""
    found: set[Decimal] = set()
    for cell in nb.cells:
        if cell.cell_type == "code":
            try:
                for token in tokenize.generate_tokens(io.StringIO(cell.source).readline):
                    if token.type == tokenize.NUMBER and (number := parse_number(token.string)):
                        found.add(number.value)
            except (tokenize.TokenError, IndentationError, SyntaxError):
                continue
    return found


def claimed_numbers(nb: NotebookNode) -> set[Decimal]:
    """Every number that a claim of the lesson holds already: a text may name it again."""
    found: set[Decimal] = set()
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for claim in CLAIM.finditer(cell.source):
                found |= {number.value for number in numbers_in(cell.source[: claim.start()])[-1:]}
    return found


def numbers_in(text: str) -> list[Number]:
    """The numbers of a text, as people write them."""
    return [number for match in NUMBER.finditer(text) if (number := parse_number(match[0].strip()))]


def without_claims(markdown: str) -> str:
    """The text with claims and the numbers they speak of cut out."""
    kept, start = [], 0
    for claim in CLAIM.finditer(markdown):
        text = markdown[start : claim.start()]
        numbers = list(NUMBER.finditer(text))
        if len(numbers) > 1 and "±" in text[numbers[-2].end() : numbers[-1].start()]:
            numbers.pop()
        kept.append(text[: numbers[-1].start()] if numbers else text)
        start = claim.end()
    return "".join([*kept, markdown[start:]])


def suspicious(markdown: str, outputs: list[Decimal], literals: set[Decimal]) -> Iterator[tuple[str, str]]:
    """(number, why it looks measured) for each number of the prose that a claim should hold."""
    prose = NOT_PROSE.sub(" ", CODE.sub(" ", without_claims(fill_markers(markdown, ""))))
    for sentence in SENTENCE_END.split(prose):
        if not sentence or QUOTED.search(sentence):
            continue
        for match in NUMBER.finditer(sentence):
            number = parse_number(match[0].strip())
            if number is None or number.value in literals or number.digits in literals:
                continue
            if why := _why(number, sentence, sentence[match.end() :], outputs):
                yield match[0].strip(), why


def _why(number: Number, sentence: str, after: str, outputs: list[Decimal]) -> str | None:
    percent = number.text.endswith(("%", "percent"))
    if not (percent or "." in number.text or abs(number.digits) >= 1000):
        return None
    if any(abs(number.value - value) <= number.unit / 2 and value != 0 for value in outputs):
        return "stands in the output above"
    if "." in number.text:
        unit = MEASURED_UNIT.match("%" + after if percent else after)
        return "looks measured (its unit)" if unit else "is a decimal that the code does not contain"
    return "looks measured (what the sentence speaks of)" if percent and MEASURED_WORD.search(sentence) else None
