"""Lint rules that hold for any notebook, ours or not: it ran, in order, and shows nothing of a machine or an account.

Each rule takes a notebook and yields (cell, status, message, fix). What a lesson needs beyond that is `lint_lessons`.
"""

import re
from collections.abc import Iterator

from nbformat import NotebookNode

from course_utils.errors import UserError
from course_utils.notebook.claims import parse_claims
from course_utils.notebook.findings import cell_name, tags_of
from course_utils.notebook.harvest import output_texts, runs
from course_utils.notebook.lint_leaks import leaked_solutions
from course_utils.notebook.machine_traces import find_absolute_path, find_secret
from course_utils.notebook.profiles import parameters_of

FORBIDDEN_TAGS = ("raises-exception", "skip-execution", "nbval-skip", "nbval-raises-exception")
MARKER_COMMENT = re.compile(r"^\s*#\s*NBVAL_(?:SKIP|RAISES_EXCEPTION)", re.MULTILINE)
IMAGE_WITHOUT_TEXT = re.compile(r"!\[\s*\]\(|<img(?![^>]*\balt\s*=\s*[\"'][^\"']+[\"'])[^>]*>", re.IGNORECASE)
Found = Iterator[tuple[str, str, str, str]]


def execution(nb: NotebookNode) -> Found:
    """Every code cell has run, and execution counts are exactly 1..N."""
    cells = [(cell_name(cell, index), cell.execution_count) for index, cell in enumerate(nb.cells) if runs(cell)]
    idle = [name for name, count in cells if count is None]
    if idle:
        which = "no code cell has" if len(idle) == len(cells) else f"{len(idle)} of {len(cells)} code cells have not"
        fix = "run all cells from the top (a lesson: `course build --execute`)"
        yield idle[0], "not-run", f"{which} been run, so its outputs prove nothing", fix
        return
    for expected, (name, count) in enumerate(cells, start=1):
        if count != expected:
            message = f"execution count {count} where {expected} is expected: cells ran in another order or twice"
            yield name, "out-of-order", message, "restart the kernel and run all cells once"
            return


def traces(nb: NotebookNode) -> Found:
    """No path of a machine in an output, no secret anywhere."""
    for index, cell in enumerate(nb.cells):
        name = cell_name(cell, index)
        shown = output_texts(cell)
        for path in filter(None, (find_absolute_path(text, this_machine=True) for text in shown)):
            yield name, "absolute-path", f"an output shows {path!r}", "print the file's name or a relative path"
            break
        for kind in filter(None, (find_secret(text) for text in [cell.source, *shown])):
            yield name, "secret", f"this looks like a secret ({kind})", "revoke it, then remove it from the notebook"
            break


def tags(nb: NotebookNode) -> Found:
    """No tag that lets an error pass or a cell be left out."""
    for index, cell in enumerate(nb.cells):
        for tag in (tag for tag in tags_of(cell) if tag in FORBIDDEN_TAGS):
            fix = "show an error with `with expect_error(...)`; a cell that cannot run does not belong in a notebook"
            yield cell_name(cell, index), "tag", f"tag `{tag}`: runners disagree about it", fix
        if cell.cell_type == "code" and MARKER_COMMENT.search(cell.source):
            yield cell_name(cell, index), "tag", "an NBVAL_ comment leaves this cell out", "remove it"


def parameters(nb: NotebookNode) -> Found:
    """The parameters cell holds plain literals."""
    try:
        parameters_of(nb)
    except UserError as error:
        tagged = (cell_name(cell, i) for i, cell in enumerate(nb.cells) if "parameters" in tags_of(cell))
        yield next(tagged), error.status, str(error), "write the value itself, compute in a later cell"


def claims(nb: NotebookNode) -> Found:
    """Claims can be read."""
    for index, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            try:
                parse_claims(cell.source)
            except UserError as error:
                yield cell_name(cell, index), error.status, str(error), "see docs/contributing.md on claims"


def images(nb: NotebookNode) -> Found:
    """Every image in prose has a text for those who do not see it."""
    for index, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown" and IMAGE_WITHOUT_TEXT.search(cell.source):
            yield (
                cell_name(cell, index),
                "prose",
                "an image without alternative text",
                "say what it shows: ![text]()",
            )


def leaks(nb: NotebookNode) -> Found:
    """A solution stands only in its folded cell."""
    for name, exercise in leaked_solutions(nb):
        message = f"this cell gives away the solution of {exercise}"
        yield name, "leaked-solution", message, "keep it in the cell tagged `solution` only"


FILE_RULES = (execution, traces, tags, parameters, claims, images, leaks)
