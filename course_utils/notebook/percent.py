"""Reads a lesson's source: `notebooks/src/NN_slug.py`, jupytext percent format with a YAML header.

Checks what every later step relies on (header fields, one valid id per cell) and says which line is wrong. It expands
nothing and writes nothing: that is `build`.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import yaml

from course_utils.errors import UserError

SLUG = re.compile(r"^\d\d_[a-z0-9_]+$")
CELL_ID = re.compile(r"^[a-zA-Z0-9-_]{1,64}$")
# field -> (accepted types, required, what to write)
HEADER_FIELDS = {
    "title": (str, True, "the lesson's name, such as `Fine-tuning BERT`"),
    "question": (str, True, "the question it answers"),
    "minutes": (int, True, "a learner's time in minutes, exercises included"),
    "needs": (str, True, "`CPU`, or `CPU; a GPU helps`"),
    "prerequisites": (list, False, 'lesson numbers as strings: `["03"]`'),
    "cell_timeout": ((int, float), False, "seconds"),
    "mem_cap_mb": (int, False, "megabytes"),
}


@dataclass(frozen=True)
class SourceCell:
    """One cell as the author wrote it. `line` is the line of its `# %%` marker (1 for the file's first line)."""

    id: str
    kind: str  # "markdown" or "code"
    source: str
    tags: tuple[str, ...]
    metadata: dict  # everything else on the marker, `exercise` excluded
    exercise: str | None
    line: int


@dataclass(frozen=True)
class Source:
    """A lesson's source: `header` is the `course` mapping of the YAML header."""

    path: Path
    slug: str
    number: str
    header: dict
    cells: tuple[SourceCell, ...]


def read_source(path: Path) -> Source:
    """Parse one source. Raises UserError (status `invalid-notebook`) naming the file and the line."""
    path = Path(path)
    if not SLUG.match(path.stem):
        raise _problem(path, 1, "a source is called NN_slug.py (two digits, lower case)")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _problem(path, 1, f"cannot be read as UTF-8 text ({error})") from error
    header = _header(path, text)
    try:
        notebook = jupytext.reads(_without_header(text), fmt="py:percent")
    except nbformat.ValidationError as error:
        raise _problem(path, 1, f"a cell marker holds what a notebook cannot: {error.message}") from error
    lines = _id_lines(path, text)
    cells = tuple(_cell(path, cell, lines) for cell in notebook.cells)
    _check_cells(path, cells)
    return Source(path=path, slug=path.stem, number=path.stem[:2], header=header, cells=cells)


def _problem(path: Path, line: int, message: str) -> UserError:
    return UserError(f"{path.name}, line {line}: {message}.", status="invalid-notebook")


def _header_lines(text: str) -> list[str]:
    """The commented YAML between the two `# ---` lines at the top, without `# `; empty if there is none."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "# ---":
        return []
    for end, line in enumerate(lines[1:], start=1):
        if line.strip() == "# ---":
            return [line[2:] if line.startswith("# ") else line[1:] for line in lines[1:end]]
    return []


def _without_header(text: str) -> str:
    """The text with the header's lines removed, so that jupytext does not parse YAML that we have checked already."""
    count = len(_header_lines(text))
    return "\n".join(text.splitlines()[count + 2 :]).lstrip("\n") + "\n"


def _header(path: Path, text: str) -> dict:
    lines = _header_lines(text)
    if not lines:
        raise _problem(path, 1, "the YAML header between two `# ---` lines is missing (see docs/architecture.md)")
    try:
        data = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        raise _problem(path, line, f"the YAML header does not parse: {getattr(error, 'problem', error)}") from error
    course = data.get("jupyter", {}).get("course") if isinstance(data, dict) else None
    if not isinstance(course, dict):
        raise _problem(path, 2, "the header needs `jupyter:` with a mapping `course:` below it")
    _check_header(path, course)
    return {**course, "prerequisites": list(course.get("prerequisites", []))}


def _check_header(path: Path, course: dict) -> None:
    for name in course:
        if name not in HEADER_FIELDS:
            near = difflib.get_close_matches(str(name), HEADER_FIELDS, n=1)
            hint = f"; did you mean `{near[0]}`" if near else ""
            raise _problem(path, 1, f"the header has no field `{name}`{hint}; fields: {', '.join(HEADER_FIELDS)}")
    for name, (types, required, example) in HEADER_FIELDS.items():
        if name not in course:
            if required:
                raise _problem(path, 1, f"the header lacks `{name}`: {example}")
        elif not isinstance(course[name], types) or isinstance(course[name], bool):
            raise _problem(path, 1, f"header field `{name}` is {course[name]!r}; it should be {example}")
    if course["minutes"] <= 0:
        raise _problem(path, 1, f"header field `minutes` is {course['minutes']}; it must be positive")
    for number in course.get("prerequisites", []):
        if not (isinstance(number, str) and re.fullmatch(r"\d\d", number)):
            raise _problem(path, 1, f'prerequisite {number!r} should be a lesson number in quotes, such as "03"')


def _id_lines(path: Path, text: str) -> dict[str, int]:
    """Line of the cell marker that carries each id. Raises UserError for none, or one used twice."""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(r"# %%(\s|$)", line):
            match = re.search(r'\bid="([^"]*)"', line)
            if not match:
                raise _problem(path, number, 'this cell has no id: write `# %% id="..."`')
            if match[1] in lines:
                raise _problem(path, number, f"cell id {match[1]!r} is used twice")
            lines[match[1]] = number
    return lines


def _cell(path: Path, cell, lines: dict[str, int]) -> SourceCell:
    metadata = {key: value for key, value in cell.metadata.items() if key != "lines_to_next_cell"}
    cell_id = metadata.pop("id", None)
    if cell_id is None:
        raise _problem(path, 1, 'text before the first cell marker: begin it with `# %% [markdown] id="title"`')
    line = lines.get(cell_id, 1)
    if not (isinstance(cell_id, str) and CELL_ID.match(cell_id)):
        raise _problem(path, line, f"cell id {cell_id!r} may hold letters, digits, - and _, at most 64")
    if cell.cell_type not in ("code", "markdown"):
        raise _problem(path, line, f"cell {cell_id!r} is a {cell.cell_type} cell; only code and markdown are used")
    tags = metadata.pop("tags", [])
    exercise = metadata.pop("exercise", None)
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _problem(path, line, f'tags of cell {cell_id!r} are {tags!r}; write tags=["parameters"]')
    return SourceCell(cell_id, cell.cell_type, cell.source, tuple(tags), metadata, exercise, line)


def _check_cells(path: Path, cells: tuple[SourceCell, ...]) -> None:
    if not cells or cells[0].kind != "markdown":
        raise _problem(path, 1, "the first cell must be a markdown cell: the title and the question")
    for cell in cells:
        if cell.exercise is None:
            if not cell.source.strip():
                raise _problem(path, cell.line, f"cell {cell.id!r} is empty")
        elif cell.kind != "code" or cell.source.strip():
            raise _problem(path, cell.line, f"exercise cell {cell.id!r} must be an empty code cell: build fills it")
