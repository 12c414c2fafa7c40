"""The test items of one notebook under nbval: its code cells, the claims between them, and the refusal to run it.

nbval runs a cell; these items judge it, under one status name, and say what to do. Collecting them and starting the
kernel is `nbval_plugin`'s business.
"""

import json
import os
import time
from queue import Empty
from typing import Any

import pytest
from nbval.plugin import IPyNbCell, NbCellError

from course_utils.notebook.cell_outputs import EXERCISE_MIME, strip_ansi
from course_utils.notebook.claims import ClaimResult, judge, kernel_expression
from course_utils.notebook.compare import first_mismatch
from course_utils.notebook.harvest import clean_outputs
from course_utils.notebook.nbval_kernel import KernelDied

PROFILE = "default"
CLAIM_TIMEOUT_S = 30.0
OUTPUT_WAIT_S = 60.0  # for outputs still on their way; nbval's 5 s are too few on a busy machine


class CellFailure(Exception):
    """A check of one cell failed: `status` is a name of docs/architecture.md, `message` what a person should read."""

    def __init__(self, status: str, message: str, source: str = ""):
        super().__init__(f"{status}: {message}")
        self.status, self.message, self.source = status, strip_ansi(message), source


class LessonItem:
    """What our items share: the cell they speak about, the journal, and one way to show a failure."""

    kind = "notebook"
    cell_index = 0
    cell: Any = None

    @property
    def cell_id(self) -> str:
        """The cell's id, or its place for notebooks older than ids."""
        return "" if self.cell is None else self.cell.get("id", f"cell {self.cell_index}")

    def setup(self) -> None:
        """Skip what comes after a failure, and say that this cell begins."""
        if self.parent.broken:
            pytest.skip(f"{self.parent.broken} of this notebook failed")
        self.journal("cell-start")

    def journal(self, event: str, **facts: Any) -> None:
        """Append one line to the journal, if there is one."""
        target = self.config.option.__dict__.get("course_journal")
        if target:
            where = {"event": event, "kind": self.kind, "index": self.cell_index, "id": self.cell_id}
            with open(target, "a", encoding="utf-8") as file:
                file.write(json.dumps({**where, "time": time.time(), **facts, **self.results()}) + "\n")

    def results(self) -> dict[str, Any]:
        """What the journal says besides how the item ended."""
        return {}

    def repr_failure(self, excinfo: pytest.ExceptionInfo, style: Any = None) -> str:
        """The status, the cell and what to do; a traceback only for our own mistakes."""
        failure = excinfo.value
        if not isinstance(failure, CellFailure):
            return pytest.Item.repr_failure(self, excinfo)
        where = f" in cell {self.cell_id!r} ({self.name})" if self.cell_id else ""
        source = "".join(f"\n    {line}" for line in failure.source.splitlines())
        return f"{failure.status}{where} of {self.path.name}{source}\n{failure.message}"

    def reportinfo(self) -> tuple[os.PathLike, int, str]:
        """As pytest shows it: the notebook and the item's name."""
        return self.path, 0, f"{self.path.name}::{self.name}"


class Refusal(LessonItem, pytest.Item):
    """A notebook that is not worth running; always fails, with the reason."""

    def __init__(self, name: str, parent: pytest.Collector, status: str, message: str, **kwargs: Any):
        super().__init__(name, parent, **kwargs)
        self.failure = CellFailure(status, message)

    def runtest(self) -> None:
        raise self.failure


class LessonClaims(LessonItem, pytest.Item):
    """The claims of one markdown cell."""

    kind = "claims"

    def __init__(self, name: str, parent: pytest.Collector, cell: Any, cell_index: int, claims: list, **kwargs: Any):
        super().__init__(name, parent, **kwargs)
        self.cell, self.cell_index, self.claims = cell, cell_index, claims
        self.judged: list[ClaimResult] = []

    def runtest(self) -> None:
        """Ask the kernel as it is now, as a reader would find it."""
        try:
            self.parent.ensure_kernel()
            for claim in self.claims:
                self.judged.append(self._judge(claim))
        except KernelDied as death:
            raise CellFailure("kernel-died", str(death)) from None
        drifted = [result.message for result in self.judged if not result.ok]
        if drifted:
            raise CellFailure("claim-drift", "\n".join(drifted))

    def _judge(self, claim: Any) -> ClaimResult:
        reply: dict[str, Any] = {}
        if not claim.clause(PROFILE).is_skip:
            try:
                reply = self.parent.kernel.evaluate(kernel_expression(claim), CLAIM_TIMEOUT_S)
            except Empty:
                self.parent.kernel.interrupt()
                reply = {"status": "error", "ename": "Timeout", "evalue": f"no answer in {CLAIM_TIMEOUT_S:g} s"}
        result = judge(claim, PROFILE, reply)
        return ClaimResult(**{**result.__dict__, "cell": self.cell_id})

    def results(self) -> dict[str, Any]:
        return {"claims": [result.__dict__ for result in self.judged]}


class LessonCell(LessonItem, IPyNbCell):
    """A code cell: nbval runs it, we judge it."""

    kind = "code"

    def __init__(self, name: str, parent: pytest.Collector, cell_index: int, **kwargs: Any):
        super().__init__(name, parent, **kwargs)
        self.cell_index = cell_index
        self.output_timeout = OUTPUT_WAIT_S
        self.mismatch: Any = None

    def runtest(self) -> None:
        try:
            self.parent.ensure_kernel()
            self._run_as_nbval_does()
        except KernelDied as death:
            raise CellFailure("kernel-died", str(death), self.cell.source) from None
        except NbCellError as problem:
            self._raise_network()
            raise self._failure(problem) from None
        self._raise_network()

    def _run_as_nbval_does(self) -> None:
        option = self.config.option
        before, option.nbval_cell_timeout = option.nbval_cell_timeout, self.parent.cell_timeout
        try:
            super().runtest()
        finally:
            option.nbval_cell_timeout = before

    @property
    def test_outputs(self) -> list | None:
        """The list that nbval fills while the cell runs."""
        return self._test_outputs

    @test_outputs.setter
    def test_outputs(self, outputs: list | None) -> None:
        self._test_outputs = outputs
        if outputs is not None:
            self.parent.kernel.screen.outputs = outputs

    def compare_outputs(self, test: list, ref: list, skip_compare: Any = None) -> bool:
        """The comparison of compare.py instead of nbval's, of what would be committed today with what is.

        A `--nbval-sanitize-with` file acts on both sides.
        """
        committed, today = (clean_outputs(self.sanitize_outputs(outputs)) for outputs in (ref, test))
        self.mismatch = first_mismatch(committed, today)
        self.comparison_traceback = [str(self.mismatch)]
        return self.mismatch is None

    def _raise_network(self) -> None:
        if attempts := self.parent.new_network_attempts():
            message = f"the cell tried to reach {', '.join(attempts)}. Lessons never download: `course fetch` does."
            raise CellFailure("network", message, self.cell.source)

    def _failure(self, problem: NbCellError) -> CellFailure:
        if self.mismatch is not None:
            number = self.parent.nb.metadata.get("course", {}).get("slug", "")[:2]
            advice = f"course build --execute {number}" if number else "run the notebook again and save it"
            return CellFailure("stale-output", f"{self.mismatch}\nIf today's is right: {advice}.", self.cell.source)
        if self.parent.timed_out:
            message = f"the cell ran longer than {self.parent.cell_timeout:g} s and was interrupted"
            return CellFailure("timeout", message + (problem.inner_traceback or ""), self.cell.source)
        return CellFailure("error", (problem.inner_traceback or str(problem)).strip(), self.cell.source)

    def results(self) -> dict[str, Any]:
        data = [output.get("data", {}) for output in self.test_outputs or []]
        return {"exercises": [found[EXERCISE_MIME] for found in data if EXERCISE_MIME in found]}
