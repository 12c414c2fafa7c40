"""What lint found: one finding for each broken rule, with the cell to blame and what to do about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nbformat import NotebookNode

from course_utils.errors import UserError

GENERATED_IDS = ("lesson-facts", "bootstrap")
GENERATED_TAGS = ("hints", "solution", "check")
# What lint reports under which name, for `course lint --help` and the documents.
STATUSES = {
    "invalid-notebook": "not a notebook, or a claim, exercise or cell id that cannot be read",
    "not-run": "a code cell without outputs of its own code",
    "out-of-order": "execution counts other than 1..N from top to bottom",
    "absolute-path": "an output names a folder of somebody's machine",
    "secret": "a token, key or password",
    "parameters-not-literal": "the parameters cell computes",
    "bad-parameter": "a profile names what a lesson does not have",
    "leaked-solution": "a solution outside its folded cell",
    "budget": "a hard limit of docs/style.md",
    "imports": "imports outside the import cell, installations, changes of sys.path",
    "tag": "a cell tag that runners disagree about",
    "prose": "a part of the lesson's order, or an image without a description",
    "link": "a link to what does not exist",
    "unclaimed-number": "a measured number in prose that no claim ties to the code (a warning)",
    "code": "ruff, or a dataclass field without an annotation",
}


@dataclass(frozen=True)
class Finding:
    """One broken rule, in a cell (its id) or on a line (`line 12`). A warning fails lint only with `--strict`."""

    path: str
    cell: str
    status: str
    message: str
    fix: str
    warning: bool = False

    def __str__(self) -> str:
        kind = "warning: " if self.warning else ""
        return f"{self.path} · {self.cell} · {self.status}: {kind}{self.message} · {self.fix}"


Rule = Callable[[NotebookNode], Iterable[tuple]]


def cell_name(cell: NotebookNode, index: int) -> str:
    """The cell's id, or its position in a notebook that has no ids."""
    return cell.get("id") or f"cell {index + 1}"


def tags_of(cell: NotebookNode) -> list[str]:
    return cell.get("metadata", {}).get("tags", [])


def is_generated(cell: NotebookNode) -> bool:
    """Whether build wrote the cell (facts, bootstrap, hints, check, solution)."""
    return cell.get("id") in GENERATED_IDS or any(tag in GENERATED_TAGS for tag in tags_of(cell))


def from_error(path: str, error: UserError, cell: str = "-") -> Finding:
    """A UserError met while reading, as a finding: its message says the fix already."""
    return Finding(path, cell, error.status, str(error), "correct it and run `course lint` again")
