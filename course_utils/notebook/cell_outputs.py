"""Outputs of executed cells: make them the same on every run, and read what a report or the engine needs from them.

Works on notebook nodes only; where they come from does not matter.
"""

import re
from collections.abc import Iterator

from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.notebook.results import ExerciseResult

EXERCISE_MIME = "application/vnd.course-utils.exercise+json"
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_TAIL_LINES = 40


def settle(nb: NotebookNode) -> None:
    """Merge the pieces in which printed text happened to arrive, for every cell.

    Between two displays there is one stdout and one stderr output, in that order, as a terminal would show them: a
    carriage return starts the line again. Only at the end of a run, since displays are updated by position until then.
    """
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = list(_merged(cell.outputs))


def _merged(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    texts: dict[str, str] = {}
    for output in [*outputs, None]:
        if output is not None and output.output_type == "stream":
            texts[output.name] = texts.get(output.name, "") + output.text
            continue
        for name in sorted(texts, reverse=True):
            yield new_output("stream", name=name, text=as_terminal(texts[name]))
        texts = {}
        if output is not None:
            yield output


def as_terminal(text: str) -> str:
    """What is left to see after carriage returns and backspaces."""
    while (shorter := re.sub("[^\n\x08]\x08", "", text)) != text:
        text = shorter
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def strip_ansi(text: str) -> str:
    """Text without terminal colours."""
    return _ANSI.sub("", text)


def error_of(cell: NotebookNode) -> NotebookNode | None:
    """The cell's first error output."""
    return next((output for output in cell.get("outputs", []) if output.output_type == "error"), None)


def traceback_of(cell: NotebookNode) -> str:
    """The traceback of the cell's error, colours included, or ''."""
    error = error_of(cell)
    return "\n".join(error.traceback) if error else ""


def text_of(cell: NotebookNode) -> str:
    """The end of what the cell printed or showed as text."""
    parts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            parts.append(as_terminal(output.text))
        elif "data" in output and EXERCISE_MIME not in output.data:
            parts.append(str(output.data.get("text/plain", "")) + "\n")
    return "\n".join("".join(parts).splitlines()[-_TAIL_LINES:])


def exercises_of(cell: NotebookNode) -> list[ExerciseResult]:
    """What exercise checks in this cell reported."""
    found = []
    for output in cell.get("outputs", []):
        data = output.get("data", {}).get(EXERCISE_MIME)
        if isinstance(data, dict):
            id_, status, message = (str(data.get(name, "")) for name in ("id", "status", "message"))
            found.append(ExerciseResult(id_, status, strip_ansi(message), cell.get("id", "")))
    return found
