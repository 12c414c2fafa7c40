"""The loop over a notebook's cells: run code, evaluate claims, read exercises, and stop where going on would be a lie.

A failing claim or exercise is noted and the run goes on, so that all of them are reported; an error, a timeout, a dead
kernel, the memory cap or a network attempt end it. Cells never reached keep the status `not-run`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from course_utils.errors import UserError
from course_utils.notebook.cell_outputs import error_of, exercises_of, strip_ansi, text_of, traceback_of
from course_utils.notebook.claims import judge, kernel_expression, parse_claims
from course_utils.notebook.kernel_client import (
    MAX_OUTPUT_MB,
    CellTimeout,
    CourseClient,
    KernelGone,
    NetworkSeen,
    OutputFlood,
)
from course_utils.notebook.kernel_folder import exit_code, last_words, network_attempts, signal_name
from course_utils.notebook.results import CellResult, NotebookResult

SIGNAL_WORDS = {
    "SIGSEGV": "segmentation fault",
    "SIGKILL": "killed, perhaps by the system for lack of memory",
    "SIGABRT": "aborted by a failed assertion in native code",
    "SIGBUS": "bus error",
    "SIGFPE": "arithmetic fault in native code",
    "SIGILL": "illegal instruction",
}


class Stop(Exception):
    """The run ends here: the status and what to say."""

    def __init__(self, status: str, message: str, detail: str = ""):
        super().__init__(message)
        self.status, self.message, self.detail = status, message, detail


class CellLoop:
    """Runs `nb` in place and fills in `result`. One use only."""

    def __init__(
        self,
        nb: NotebookNode,
        result: NotebookResult,
        *,
        timeout: float,
        cap_mb: float,
        workdir: Path,
        on_event: Callable[[dict[str, Any]], None],
        on_output: Callable[[Any], None] = lambda output: None,
    ):
        self.nb, self.result, self.timeout, self.cap_mb, self.workdir = nb, result, timeout, cap_mb, workdir
        self.on_event, self.on_output = on_event, on_output
        course = nb.metadata.get("course", {})
        self.is_solved = course.get("form") == "solved"
        result.form = course.get("form", "learner")
        result.slug = result.slug or course.get("slug", "")
        code = [(index, cell) for index, cell in enumerate(nb.cells) if cell.cell_type == "code"]
        self.cells = {index: CellResult(index, cell.get("id", "")) for index, cell in code}
        result.cells = list(self.cells.values())
        self._attempts = 0
        self._in_order = False

    async def run(self, folder: Path, startup_timeout: float) -> None:
        """Execute everything; whatever ends it, the kernel and all its processes are gone afterwards."""
        if not self._claims_can_be_read():
            return
        self.client = CourseClient(self.nb, folder, self.result.profile, self.workdir, self.cap_mb)
        self.client.on_output = self.on_output
        try:
            await self._start(startup_timeout)
            if self.result.status == "not-run":
                await self._all_cells()
        finally:
            await self.client.stop(in_order=self._in_order)
        self._look_after_the_end()
        if self.result.status == "not-run":
            self.result.status = "ok"

    def _claims_can_be_read(self) -> bool:
        for index, cell in enumerate(self.nb.cells):
            try:
                if cell.cell_type == "markdown":
                    parse_claims(cell.source)
            except UserError as problem:
                self._decide(index, problem.status, str(problem))
                return False
        return True

    async def _start(self, startup_timeout: float) -> None:
        try:
            await self.client.start(startup_timeout)
        except RuntimeError as problem:
            detail = last_words(self.client.folder)
            self._decide(None, "kernel-died", f"the kernel did not start: {problem}", detail)

    async def _all_cells(self) -> None:
        count = len(self.nb.cells)
        for index, cell in enumerate(self.nb.cells):
            self.on_event({"kind": "cell", "index": index, "count": count, "id": cell.get("id", "")})
            status, stop = "ok", None
            try:
                status = await self._one_cell(index, cell)
            except Stop as reason:
                status, stop = reason.status, reason
            if stop is not None:
                self._in_order = status == "error"
                await self._end_at(index, cell, stop)
            if index in self.cells:
                self.cells[index].status = status
            self.on_event({"kind": "cell-done", "index": index, "status": status, "cell": self.cells.get(index)})
            if stop is not None:
                return
        self._in_order = True
        self._note_children()

    async def _one_cell(self, index: int, cell: NotebookNode) -> str:
        if cell.cell_type == "markdown":
            return await self._claims(index, cell)
        if cell.cell_type != "code" or not cell.source.strip():
            return "ok"
        if "skip-execution" in cell.metadata.get("tags", []):
            cell.outputs, cell.execution_count = [], None
            return "skipped"
        return await self._code(index, cell)

    async def _code(self, index: int, cell: NotebookNode) -> str:
        facts, memory = self.cells[index], self.client.memory
        facts.before_mb = memory.mark()
        start = time.perf_counter()
        try:
            reply = await self.client.run_cell(cell, index, self.timeout)
        except CellTimeout:
            raise Stop("timeout", f"the cell ran longer than {self.timeout:g} s", traceback_of(cell)) from None
        except NetworkSeen:
            raise Stop("network", _describe_attempts(network_attempts(self.client.folder))) from None
        except OutputFlood:
            raise Stop("error", f"the cell put out more than {MAX_OUTPUT_MB} MB; print less") from None
        except KernelGone:
            raise self._cause_of_death() from None
        finally:
            facts.seconds = time.perf_counter() - start
            facts.peak_mb = memory.read()
            self.result.peak_mb = memory.overall_peak_mb
        self._check_limits(cell, reply)
        return self._exercises(index, cell)

    def _check_limits(self, cell: NotebookNode, reply: dict[str, Any]) -> None:
        attempts = network_attempts(self.client.folder)
        if len(attempts) > self._attempts:
            raise Stop("network", _describe_attempts(attempts), traceback_of(cell))
        if self.client.memory.excess_mb is not None:
            raise self._cause_of_death()
        if reply["status"] != "ok" and "raises-exception" not in cell.metadata.get("tags", []):
            error = error_of(cell) or reply
            raise Stop("error", f"{error['ename']}: {strip_ansi(str(error['evalue']))}", traceback_of(cell))

    def _cause_of_death(self) -> Stop:
        excess = self.client.memory.excess_mb
        if excess is not None:
            return Stop("mem-cap", f"the cell used {excess:,.0f} MB, more than the cap of {self.cap_mb:,.0f} MB")
        return Stop("kernel-died", "the kernel process died")

    def _exercises(self, index: int, cell: NotebookNode) -> str:
        found = exercises_of(cell)
        self.result.exercises += found
        if not self.is_solved:
            return "ok"
        failed = next((exercise for exercise in found if exercise.status != "pass"), None)
        if failed:
            message = f"exercise {failed.id} is {failed.status!r} with its own solution: {failed.message}"
            return self._decide(index, "exercise-failed", message)
        if not found and "check" in cell.metadata.get("tags", []):
            return self._decide(index, "exercise-failed", "the check reported nothing, so it proves nothing")
        return "ok"

    async def _claims(self, index: int, cell: NotebookNode) -> str:
        claims = parse_claims(cell.source)
        if not claims:
            return "ok"
        try:
            replies = await self.client.evaluate([kernel_expression(claim) for claim in claims])
        except CellTimeout:
            raise Stop("timeout", "the kernel did not answer a claim's expression in time") from None
        except NetworkSeen:
            raise Stop("network", _describe_attempts(network_attempts(self.client.folder))) from None
        except KernelGone:
            raise self._cause_of_death() from None
        status = "ok"
        for claim, reply in zip(claims, replies, strict=True):
            judged = replace(judge(claim, self.result.profile, reply), cell=cell.get("id", ""))
            self.result.claims.append(judged)
            if judged.status == "claim-drift":
                status = self._decide(index, "claim-drift", judged.message)
        return status

    def _decide(self, index: int | None, status: str, message: str, detail: str = "") -> str:
        """Note why the notebook fails; the first reason is the one that counts."""
        result = self.result
        if result.status in ("not-run", "ok"):
            cell = self.nb.cells[index] if index is not None else None
            result.status, result.message, result.traceback, result.cell_index = status, message, detail, index
            result.cell, result.source = (cell.get("id", ""), cell.source) if cell is not None else ("", "")
            result.output = text_of(cell) if cell is not None else ""
        return status

    async def _end_at(self, index: int, cell: NotebookNode, stop: Stop) -> None:
        """What ends the run outranks a failing claim or exercise before it, and leaves its mark in the notebook."""
        message, detail = stop.message, stop.detail
        if stop.status in ("kernel-died", "mem-cap"):
            await self.client.stop(in_order=False)
            detail = detail or last_words(self.client.folder)
        if stop.status == "kernel-died":
            message += _describe_exit(exit_code(self.client.folder))
        self.result.status = "not-run"
        self._decide(index, stop.status, message, detail)
        if cell.cell_type == "code" and error_of(cell) is None:
            lines = [f"{stop.status}: {message}", *detail.splitlines()]
            cell.outputs.append(new_output("error", ename=stop.status, evalue=message, traceback=lines))

    def _note_children(self) -> None:
        left = self.client.children()
        if left:
            shown = "; ".join(command[:80] for command in left[:3])
            self.result.notes.append(f"processes still running after the last cell, stopped: {len(left)} ({shown})")

    def _look_after_the_end(self) -> None:
        """A thread or an exit handler may try the network when no cell runs any more."""
        attempts = network_attempts(self.client.folder)
        if attempts and self.result.status in ("not-run", "claim-drift", "exercise-failed"):
            self.result.status = "not-run"
            self._decide(None, "network", _describe_attempts(attempts) + ", after the last cell")


def _describe_attempts(attempts: list[dict[str, Any]]) -> str:
    first = attempts[0]
    port = f" port {first['port']}" if first.get("port") and "://" not in first["host"] else ""
    where = f" (line {first['at'].rpartition(':')[2]} of the cell)" if "ipykernel" in first.get("at", "") else ""
    more = f", and {len(attempts) - 1} more times" if len(attempts) > 1 else ""
    return f"tried to reach {first['host']}{port}{where}{more}"


def _describe_exit(code: int | None) -> str:
    if code is None:
        return ""
    if code >= 0:
        return f" with exit code {code}"
    name = signal_name(-code)
    return f" of {name} ({SIGNAL_WORDS[name]})" if name in SIGNAL_WORDS else f" of {name}"
