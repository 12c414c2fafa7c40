"""nbval, hardened: what `pytest --nbval notebooks/` and `course check` run.

It replaces nbval's collector with one that

* refuses a notebook that cannot prove anything: not run, run out of order, nothing to compare;
* starts a hermetic, supervised kernel of this very interpreter, and names the cell in which it died or hung;
* compares as `compare.py` says, evaluates claims when execution reaches their markdown cell, reports network attempts;
* skips the rest of a notebook after a cell that failed, since what follows would only repeat the news.

With `--nbval-lax` cells are compared only where marked, as nbval's users expect; the rest holds too. Private API of
nbval 0.11.0 is used; tests/notebook/test_nbval_plugin.py guards it. Options and formats of nbval stay as they are.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, setup_coverage

from course_utils.errors import UserError
from course_utils.notebook.claims import parse_claims
from course_utils.notebook.compare import comparable
from course_utils.notebook.engine import cell_timeout
from course_utils.notebook.kernel_folder import network_attempts
from course_utils.notebook.nbval_items import PROFILE, LessonCell, LessonClaims, LessonItem, Refusal
from course_utils.notebook.nbval_kernel import LessonKernel

NBVAL_DEFAULT_TIMEOUT_S = 2000
KEEPS_GOING = ("stale-output", "claim-drift")  # the kernel's state is as it should be: later cells still tell news


# -- hooks


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("course", "course notebooks")
    group.addoption("--course-journal", metavar="FILE", help="append one JSON line for each cell checked")
    group.addoption("--course-folder", metavar="DIR", help="where kernels keep their temporary files")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Cells of one notebook belong to one kernel: whatever xdist was told, never spread them over workers."""
    if getattr(config.option, "dist", "no") in ("load", "loadgroup", "worksteal", "each"):
        config.option.dist = "loadfile"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[Any]:
    collectors = yield
    return [
        LessonNotebook.from_parent(parent, path=file_path) if type(found) is IPyNbFile else found
        for found in collectors
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[Any]:
    report = yield
    if isinstance(item, LessonItem) and (call.when == "call" or not report.passed) and call.when != "teardown":
        failure = call.excinfo.value if report.failed else None
        status = getattr(failure, "status", "error") if failure else "skipped" if report.skipped else "ok"
        if failure and status not in KEEPS_GOING:
            item.parent.broken = item.parent.broken or f"{item.name} ({status})"
        message = getattr(failure, "message", str(failure or ""))
        item.journal("cell-end", status=status, seconds=call.duration, message=message, source=_source_of(item))
    return report


# -- collectors and items


class LessonNotebook(IPyNbFile):
    """One notebook: its code cells and the claims between them, in the order a reader meets them."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.broken = ""
        self.folder: Path | None = None
        self.network_seen = 0

    def collect(self) -> Iterator[pytest.Item]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about ids that old notebooks lack: none of this check's business
                items = list(super().collect())
            yield from self._arrange(items)
        except UserError as problem:
            yield Refusal.from_parent(self, name="Notebook", status=problem.status, message=str(problem))
        except (OSError, ValueError, KeyError, AttributeError, TypeError, nbformat.ValidationError) as problem:
            message = f"{self.path.name} is no readable notebook: {str(problem).splitlines()[0][:200]}"
            yield Refusal.from_parent(self, name="Notebook", status="invalid-notebook", message=message)

    def _arrange(self, items: list[IPyNbCell]) -> list[pytest.Item]:
        require_execution_counts(self.nb)
        cells, arranged = iter(items), []
        for index, cell in enumerate(self.nb.cells):
            if cell.cell_type == "code":
                old = next(cells)
                named = {"name": old.name, "cell_num": old.cell_num, "cell": cell, "options": old.options}
                arranged.append(LessonCell.from_parent(self, cell_index=index, **named))
            elif cell.cell_type == "markdown" and (claims := parse_claims(cell.source)):
                name = f"Claims {cell.get('id', index)}"
                arranged.append(LessonClaims.from_parent(self, name=name, cell=cell, cell_index=index, claims=claims))
        self._require_something_to_compare(arranged)
        return arranged

    def _require_something_to_compare(self, items: list[pytest.Item]) -> None:
        checked = [item for item in items if isinstance(item, LessonCell) and item.options["check"]]
        claims = [claim for item in items if isinstance(item, LessonClaims) for claim in item.claims]
        if any(comparable(item.cell.outputs) for item in checked) or not (checked or self.compare_outputs):
            return
        if not any(not claim.clause(PROFILE).is_skip for claim in claims):
            ignored = sum("nbval-ignore-output" in item.cell.metadata.get("tags", []) for item in items)
            raise UserError(
                f"there is nothing to compare: no code cell has a text output that is compared ({ignored} are tagged "
                "nbval-ignore-output) and no claim is evaluated. Print a result, or claim a number.",
                status="invalid-notebook",
            )

    def setup(self) -> None:
        """nbval starts the kernel here; we do it in the first cell, which then carries the blame if it fails."""

    def ensure_kernel(self) -> None:
        """Start the kernel unless it runs. Raises KernelDied."""
        if self.kernel is not None:
            return
        option = self.config.option
        self.folder = Path(tempfile.mkdtemp(prefix="course-check-", dir=getattr(option, "course_folder", None)))
        self.kernel = LessonKernel(
            option.nbval_kernel_name, self.path.parent, self.folder, option.nbval_kernel_startup_timeout
        )
        self.setup_sanitize_files()
        if getattr(option, "cov_source", None):
            setup_coverage(self.config, self.kernel, self.fspath)

    @property
    def cell_timeout(self) -> float:
        """Seconds a cell may take: what the command line says, else as under `course run`."""
        given = self.config.option.nbval_cell_timeout
        return given if given != NBVAL_DEFAULT_TIMEOUT_S else cell_timeout(self.nb, PROFILE)

    def new_network_attempts(self) -> list[str]:
        """Hosts that code tried to reach since the last call."""
        attempts = network_attempts(self.folder)
        new, self.network_seen = attempts[self.network_seen :], len(attempts)
        return list(dict.fromkeys(attempt["host"] for attempt in new))

    def teardown(self) -> None:
        super().teardown()
        if self.kernel is not None:
            self.kernel.stop()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def require_execution_counts(nb: nbformat.NotebookNode) -> None:
    """Raise UserError unless the code cells were run exactly once, from top to bottom: counts 1..N.

    Without counts nbval compares nothing and passes; with others the outputs are not those of *Run All*.
    """
    cells = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    if not cells:
        raise UserError("there is no code cell in it", status="invalid-notebook")
    for expected, cell in enumerate(cells, start=1):
        count, name = cell.get("execution_count"), cell.get("id", f"number {expected}")
        if count is None:
            raise UserError(f"cell {name!r} was never run; run the whole notebook and save it", status="not-run")
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        raise UserError(
            f"the cells were run as {counts}, not 1 to {len(cells)}; restart, run all and save it",
            status="out-of-order",
        )


def _source_of(item: LessonItem) -> str:
    return "" if item.cell is None else item.cell.source
