"""Lint rule: the hard limits of docs/style.md for one lesson. Its aims are for people to judge, not for a machine.

Cells that build generates do not count: the author writes the rest.
"""

import re
from collections.abc import Iterator

from nbformat import NotebookNode

from course_utils.notebook.canonical import notebook_bytes
from course_utils.notebook.findings import is_generated, tags_of
from course_utils.notebook.names import is_import_cell

MAX_CELLS, MAX_CODE_CELLS = 90, 45
MAX_CODE_LINES = 40  # of one cell, blank lines not counted
MAX_CODE_IN_A_ROW = 2
MIN_EXPLAINED_SHARE = 0.8  # of code cells, with prose directly before
MAX_WORDS = 4500
MAX_EXERCISES = 8
EXCEPTIONS = {"14": 12}  # exercises
MAX_MINUTES = 180
MAX_SECONDS = 90
MAX_BYTES = 1_000_000
Found = Iterator[tuple[str, str, str, str]]


def budget(nb: NotebookNode, seconds: float | None = None) -> Found:
    """Every hard limit that a learner notebook breaks; `seconds` is its measured run time, if it was measured."""
    cells = [cell for cell in nb.cells if not is_generated(cell)]
    for cell, message, fix in [*_sizes(cells), *_rhythm(cells), *_totals(nb, cells, seconds)]:
        yield cell, "budget", message, fix


def _sizes(cells: list[NotebookNode]) -> Iterator[tuple[str, str, str]]:
    for cell in cells:
        if cell.cell_type == "code" and "exercise" not in tags_of(cell):
            lines = sum(bool(line.strip()) for line in cell.source.splitlines())
            if lines > MAX_CODE_LINES:
                yield cell.id, f"{lines} lines of code; at most {MAX_CODE_LINES}", "one idea a cell: split it"


def _rhythm(cells: list[NotebookNode]) -> Iterator[tuple[str, str, str]]:
    """Prose between code: no more than two code cells in a row, most of them introduced."""
    row, explained, counted = 0, 0, 0
    for before, cell in zip([None, *cells], cells, strict=False):
        if cell.cell_type != "code":
            row = 0
            continue
        row = 1 if before is not None and "exercise" in tags_of(before) else row + 1
        if "parameters" not in tags_of(cell) and not is_import_cell(cell.source):
            counted += 1
            explained += before is not None and (before.cell_type == "markdown" or "exercise" in tags_of(before))
        if row == MAX_CODE_IN_A_ROW + 1:
            yield cell.id, f"{row} code cells in a row; at most {MAX_CODE_IN_A_ROW}", "say what comes before it runs"
    if counted and explained < MIN_EXPLAINED_SHARE * counted:
        message = f"prose stands directly before {explained} of {counted} code cells; at least 80%"
        yield "-", message, "introduce the cells that come out of the blue"


def words_in(markdown: str) -> int:
    """Words a learner reads: code blocks and comments left out."""
    text = re.sub(r"```.*?```|<!--.*?-->", " ", markdown, flags=re.DOTALL)
    return len(re.findall(r"\w[\w'-]*", text))


def _totals(nb: NotebookNode, cells: list[NotebookNode], seconds: float | None) -> Iterator[tuple[str, str, str]]:
    number = nb.metadata.get("course", {}).get("slug", "")[:2]
    code = [cell for cell in cells if cell.cell_type == "code"]
    exercises = sum("exercise" in tags_of(cell) for cell in code)
    words = sum(words_in(cell.source) for cell in cells if cell.cell_type == "markdown")
    limits = [
        (len(cells), MAX_CELLS, "cells", "split the lesson or cut"),
        (len(code), MAX_CODE_CELLS, "code cells", "merge or cut"),
        (words, MAX_WORDS, "words of prose", "cut what does not carry an idea"),
        (exercises, EXCEPTIONS.get(number, MAX_EXERCISES), "exercises", "keep the ones that teach most"),
        (nb.metadata.get("course", {}).get("minutes", 0), MAX_MINUTES, "minutes of a learner's time", "split it"),
        (seconds or 0, MAX_SECONDS, "seconds on two CPU cores", "smaller defaults, or a shipped checkpoint"),
        (len(notebook_bytes(nb)), MAX_BYTES, "bytes with outputs", "smaller figures (dpi), fewer printed lines"),
    ]
    for value, limit, what, fix in limits:
        if value > limit:
            yield "-", f"{value:,} {what}; at most {limit:,}", fix
