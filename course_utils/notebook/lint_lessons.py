"""Lint rules for lessons of the course: the order of a notebook, one import cell, its exercises, its profiles.

Each rule takes the learner form as build makes it and yields (cell, status, message, fix).
"""

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from course_utils.errors import UserError
from course_utils.notebook.exercise_source import ExerciseSource
from course_utils.notebook.findings import is_generated, tags_of
from course_utils.notebook.layout import Layout
from course_utils.notebook.names import is_import_cell, python_of
from course_utils.notebook.profiles import PROFILES, load_profile, resolve_parameters

INSTALLS = re.compile(r"^\s*[%!]\s*(?:pip|conda|apt|apt-get|wget|curl|git clone)\b", re.MULTILINE)
MODULE_CELL = re.compile(r"\A%%module\s+(\w+)")
SYS_PATH = re.compile(r"\bsys\.path\b")
CLOSING_SECTIONS = {"a summary": r"summary|what you (?:have )?learned", "references": r"references"}
Found = Iterator[tuple[str, str, str, str]]


def order(nb: NotebookNode) -> Found:
    """Title with the lesson's number first; summary and references at the end."""
    number = nb.metadata.course.slug[:2]
    title = nb.cells[0]
    if not re.match(rf"# {number}\b", title.source):
        yield title.id, "prose", f"the first line should be the title: `# {number} · ...`", "begin the lesson with it"
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    for what, pattern in CLOSING_SECTIONS.items():
        if not re.search(rf"^## .*(?:{pattern})", text, re.MULTILINE | re.IGNORECASE):
            yield "-", "prose", f"the lesson has no section with {what}", f"end it with {what}"


def imports(nb: NotebookNode) -> Found:
    """Imports stand in one cell; nothing is installed, fetched or put on sys.path."""
    home: str | None = None
    written: set[str] = set()  # modules of `%%module` cells: they cannot be imported before they exist
    for cell in nb.cells:
        if cell.cell_type != "code" or is_generated(cell):
            continue
        written |= set(MODULE_CELL.findall(cell.source))
        if INSTALLS.search(cell.source) or SYS_PATH.search(cell.source):
            yield cell.id, "imports", "a cell installs, downloads or changes sys.path", "use `course fetch`, `%%module`"
        names = _imported(cell.source, written)
        if "*" in names:
            yield cell.id, "imports", "`from ... import *` hides where a name comes from", "import names, or the module"
        if not names or (home is None and is_import_cell(cell.source)):
            home = home or (cell.id if names else None)
            continue
        where = f"cell {home!r}" if home else "an import cell at the top"
        yield cell.id, "imports", f"imports {', '.join(sorted(names))} in the middle", f"move it to {where}"


def _imported(source: str, written: set[str]) -> set[str]:
    """Names imported outside of functions and classes, those from modules the lesson has written itself left out."""
    try:
        waiting: list[ast.AST] = list(ast.parse(python_of(source)).body)
    except SyntaxError:
        return set()
    names: set[str] = set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.module not in written:
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.asname or alias.name for alias in node.names if alias.name not in written}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
    return names


def exercises(nb: NotebookNode, defined: dict[str, ExerciseSource]) -> Found:
    """Every exercise of the lesson's module is used exactly once, under a heading of its own."""
    cells = [cell for cell in nb.cells if "exercise" in tags_of(cell)]
    used = [cell.metadata.exercise for cell in cells]
    for exercise_id in defined:
        if used.count(exercise_id) != 1:
            message = f"exercise {exercise_id} is defined once and used {used.count(exercise_id)} times"
            yield "-", "prose", message, f'one cell with exercise="{exercise_id}"'
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    for cell, exercise_id in zip(cells, used, strict=True):
        if not re.search(rf"^### Exercise {re.escape(exercise_id)} ·", text, re.MULTILINE):
            message = f"no heading introduces exercise {exercise_id}"
            yield (
                cell.id,
                "prose",
                message,
                f"write the line `### Exercise {exercise_id}` before it; build completes it",
            )


def profiles(nb: NotebookNode, layout: Layout) -> Found:
    """What the profiles say about the lesson fits its parameters."""
    for profile in PROFILES:
        try:
            resolve_parameters(nb, nb.metadata.course.slug, load_profile(profile, layout))
        except UserError as error:
            if error.status != "parameters-not-literal":  # the file rules report that
                yield "-", error.status, str(error), f"correct notebooks/profiles/{profile}.yaml"
