"""What a run found out: one result for each notebook, with its cells, claims and exercises, and how it is kept as JSON.

It holds facts and writes files; it executes nothing and decides nothing but `passed`.
"""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from course_utils.atomic import replacing
from course_utils.errors import EnvironmentProblem
from course_utils.notebook.claims import ClaimResult

__all__ = [
    "STATUSES",
    "CellResult",
    "ClaimResult",
    "ExerciseResult",
    "NotebookResult",
    "read_json",
    "write_atomic",
    "write_json",
]

RUN_STATUSES = (
    "ok",
    "error",
    "timeout",
    "kernel-died",
    "mem-cap",
    "claim-drift",
    "network",
    "exercise-failed",
    "skipped",
)
EARLY_STATUSES = ("bad-parameter", "nothing-selected", "invalid-notebook", "parameters-not-literal")
STATUSES = RUN_STATUSES + EARLY_STATUSES
NOT_RUN = "not-run"
PASSING = ("ok",)


@dataclass
class CellResult:
    """One code cell: its place in the notebook as executed, how it ended, wall seconds, peak memory (MB = 2**20 bytes).

    `status` is one of STATUSES, or `not-run` when the run ended before the cell.
    """

    index: int
    id: str
    status: str = NOT_RUN
    seconds: float = 0.0
    peak_mb: float = 0.0
    before_mb: float = 0.0


@dataclass
class ExerciseResult:
    """One exercise check as the kernel reported it: `status` is todo, wrong, error or pass."""

    id: str
    status: str
    message: str = ""
    cell: str = ""


@dataclass
class NotebookResult:
    """How one notebook ended and, where it failed, in which cell and why.

    `reason` says why it was run or not (`new`, `cell train changed`, `unchanged`); `message` why it has its status.
    `cell` and `source` are those of the cell that decided the status; `traceback` is its text, with ANSI colours.
    """

    path: str
    slug: str = ""
    form: str = "learner"
    profile: str = "default"
    status: str = NOT_RUN
    reason: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0
    cell: str = ""
    cell_index: int | None = None
    source: str = ""
    message: str = ""
    traceback: str = ""
    output: str = ""
    executed: str = ""
    cached: bool = False
    started: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    key: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    claims: list[ClaimResult] = field(default_factory=list)
    exercises: list[ExerciseResult] = field(default_factory=list)
    cells: list[CellResult] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.status in PASSING

    @property
    def skipped(self) -> bool:
        return self.status == "skipped"

    def to_json(self) -> dict[str, Any]:
        """Plain data; numbers rounded to what was measured."""
        data = asdict(self)
        for part in (data, *data["cells"]):
            for name in ("seconds", "peak_mb", "before_mb"):
                if name in part:
                    part[name] = round(part[name], 3 if name == "seconds" else 1)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "NotebookResult":
        """The inverse of `to_json`; fields of another version are dropped, so an old file never stops a run."""
        known = {name: data[name] for name in (f.name for f in fields(cls)) if name in data}
        for name, kind in (("claims", ClaimResult), ("exercises", ExerciseResult), ("cells", CellResult)):
            known[name] = [_make(kind, part) for part in known.get(name, [])]
        return cls(**known)


def _make(kind: type, data: dict[str, Any]) -> Any:
    return kind(**{f.name: data[f.name] for f in fields(kind) if f.name in data})


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Raises EnvironmentProblem when the folder cannot be written or the disk is full.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as problem:
        raise EnvironmentProblem(
            f"cannot write {path}: {problem.strerror or problem}. "
            "Free space or make the folder writable, then try again."
        ) from None


def write_json(path: Path, data: Any) -> None:
    """Indented JSON with a final newline, written atomically; infinities and NaN become strings."""
    write_atomic(path, json.dumps(_finite(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None when it is absent or damaged: what is not readable is computed again."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return str(data)
    return data
