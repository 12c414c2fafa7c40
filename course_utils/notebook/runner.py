"""`course run`: execute the selected notebooks, reuse what still holds, say why each one runs, and report.

The engine executes one notebook; selection, results kept between runs, schedule and display are modules of their own.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nbformat

from course_utils import paths
from course_utils.errors import UserError
from course_utils.notebook.arguments import positive, positive_int
from course_utils.notebook.cell_outputs import strip_ansi
from course_utils.notebook.engine import execute_async
from course_utils.notebook.folder_lock import exclusive
from course_utils.notebook.progress_display import ProgressDisplay
from course_utils.notebook.results import NotebookResult, write_atomic, write_json
from course_utils.notebook.run_store import RunStore
from course_utils.notebook.schedule import default_jobs, run_all
from course_utils.notebook.selection import Job, select_jobs

FAILED = 1
SHOWN_LINES = 14  # of a traceback, on the terminal; the report has all of it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `course run`."""
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="lesson (05, 05_slug) or path of any .ipynb")
    parser.add_argument("--form", help="learner (as readers open it; default) or solved (stubs replaced by solutions)")
    parser.add_argument("--profile", default="default", help="parameter values: default, smoke or gpu")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--jobs", type=positive_int, help="notebooks at once (default: 1 below four cores)")
    parser.add_argument("--fresh", action="store_true", help="run even what has passed unchanged")
    parser.add_argument("--cell-timeout", type=positive, metavar="S", help="seconds one cell may take")
    parser.add_argument("--memory-cap", type=positive, metavar="MB", help="memory a notebook's processes may use")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every result as JSON")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where executed copies and reports go (build/)")
    parser.add_argument("--record", action="store_true", help="keep measured time and memory in verified.json")


def main(args: argparse.Namespace) -> int:
    """Run; returns 0 when all passed, 1 when one failed or all were skipped. Raises UserError before anything runs."""
    sys.stdout.reconfigure(errors="replace")  # an ASCII terminal must not stop a run
    try:
        jobs = select_jobs(
            args.notebooks,
            form=args.form,
            profile=args.profile,
            overrides=dict(args.parameter),
            timeout=args.cell_timeout,
            memory_cap_mb=args.memory_cap,
        )
    except UserError as problem:
        if args.json:
            result = NotebookResult(" ".join(args.notebooks), status=problem.status, message=str(problem))
            write_json(args.json, {"notebooks": [result.to_json()]})
        raise UserError(f"{problem.status}: {problem}", problem.status) from None
    output = args.output or (paths.checkout() or Path.cwd()) / "build"
    taken = f"another run is using {output}. Wait until it ends, or give this one a folder with --output DIR."
    with exclusive(output, ".run.lock", taken, " or give another folder with --output DIR"):
        run = Run(jobs, output, RunStore(), fresh=args.fresh, limit=args.jobs or default_jobs(args.profile))
        try:
            asyncio.run(_until_cancelled(run))
        finally:
            results = run.results_in_order()
            report(results, output, args, run.seconds)
    if args.record:
        _record(results)
    return summarise(results)


class Run:
    """One call of `course run`: its jobs, and the results so far."""

    def __init__(self, jobs: list[Job], output: Path, store: RunStore, *, fresh: bool, limit: int):
        self.jobs, self.output, self.store, self.fresh, self.limit = jobs, output, store, fresh, limit
        self.display = ProgressDisplay(len(jobs))
        self.results: dict[int, NotebookResult] = {}
        self.seconds = 0.0

    def results_in_order(self) -> list[NotebookResult]:
        """Finished results, in the order of selection."""
        return [self.results[id(job)] for job in self.jobs if id(job) in self.results]

    async def go(self) -> None:
        """Everything: reuse, skip or execute each job."""
        start = time.monotonic()
        try:
            async with self.display:
                await run_all([job for job in self.jobs if self._must_run(job)], self.limit, self._execute)
        finally:
            self.seconds = time.monotonic() - start

    def _must_run(self, job: Job) -> bool:
        if job.expired_skip or job.skip_reason:
            status = "error" if job.expired_skip else "skipped"
            result = self._result(job, status=status, message=job.expired_skip or job.skip_reason)
            return self._finish(job, result)
        job.reason = self.store.reason_to_run(job, self.fresh)
        if not job.reason:
            kept = self.store.passed(job)
            kept.cached, kept.reason, kept.path = True, f"unchanged since {kept.started}", job.shown
            return self._finish(job, kept)
        if last := self.store.last(job):
            job.expected_s, job.expected_mb = max(last.seconds, 1.0), max(last.peak_mb, 256.0)
        return True

    @staticmethod
    def _result(job: Job, **facts: Any) -> NotebookResult:
        return NotebookResult(job.shown, slug=job.slug, form=job.form, profile=job.profile, **facts)

    def _finish(self, job: Job, result: NotebookResult) -> bool:
        self.results[id(job)] = result
        self.display.done(job.slug, describe(result))
        return False

    async def _execute(self, job: Job) -> None:
        self.display.start(job.slug, job.reason)
        executed, result = await execute_async(
            job.nb,
            job.slug,
            job.profile,
            job.parameters,
            job.workdir,
            job.timeout,
            job.memory_cap_mb,
            lambda event: self._note(job, event),
        )
        result.path, result.form, result.reason, result.key = job.shown, job.form, job.reason, job.key.parts
        result.executed = str(self._keep_copy(job, executed, result))
        if job.is_lesson:
            self.store.save(job, result)
        self._finish(job, result)

    def _note(self, job: Job, event: dict[str, Any]) -> None:
        if event["kind"] == "cell":
            self.display.cell(job.slug, event["index"], event["count"], event["id"])
        if job.is_lesson:
            self.store.note(job, event)

    def _keep_copy(self, job: Job, executed: nbformat.NotebookNode, result: NotebookResult) -> Path:
        """The notebook as executed, each cell with its status, in a folder of its form and profile."""
        by_index = {cell.index: cell for cell in result.cells}
        for index, cell in enumerate(executed.cells):
            if index in by_index:
                facts = by_index[index]
                cell.metadata["course_run"] = {"status": facts.status, "seconds": round(facts.seconds, 3)}
        executed.metadata["course_run"] = {"status": result.status, "message": result.message}
        folder = f"{job.form}-{job.profile}" if job.is_lesson else "other"
        path = self.output / "executed" / folder / f"{job.slug}.ipynb"
        write_atomic(path, nbformat.writes(executed) + "\n")
        return path


async def _until_cancelled(run: Run) -> None:
    """Run; Ctrl-C or a termination signal ends every kernel first, then counts as an interruption."""
    task = asyncio.ensure_future(run.go())
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError):
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(signum, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def describe(result: NotebookResult) -> str:
    """One line: status, time and memory or reason; for a failure also cell, message and the end of the traceback."""
    if result.skipped:
        return f"skipped: {result.message}"
    if result.cached:
        return f"ok, {result.reason} ({result.seconds:.1f} s then)"
    cost = f"{result.seconds:.1f} s, {result.peak_mb:,.0f} MB"
    if result.passed:
        exercises = f", {len(result.exercises)} exercises" if result.exercises else ""
        claims = f", {len(result.claims)} claims" if result.claims else ""
        return f"ok  {cost}{claims}{exercises}" + "".join(f"\n{'':<29}note: {note}" for note in result.notes)
    number = "" if result.cell_index is None else f" cell {result.cell_index + 1}"
    where = f"{number} ({result.cell})" if result.cell else number
    evidence = strip_ansi(result.traceback).splitlines() or result.output.splitlines()
    shown = "".join(f"\n    | {line}" for line in evidence[-SHOWN_LINES:])
    return f"FAILED  {result.status}{where}: {result.message}  [{cost}]{shown}"


def report(results: list[NotebookResult], output: Path, args: argparse.Namespace, seconds: float) -> None:
    """Write the JSON, HTML and junit files of these results."""
    from course_utils.notebook.junit import junit_xml
    from course_utils.notebook.report import html_report

    data = [result.to_json() for result in results]
    if args.json:
        write_json(args.json, {"notebooks": data})
    name = f"{args.form or 'learner'}-{args.profile}"
    write_atomic(
        output / "reports" / f"{name}.html", html_report(results, title=f"course run: {name}", seconds=seconds)
    )
    write_atomic(output / "reports" / f"{name}.xml", junit_xml(results, suite=name))
    if results:
        print(f"report: {output / 'reports' / f'{name}.html'}")


def _record(results: list[NotebookResult]) -> None:
    from course_utils.notebook.build_execute import record
    from course_utils.notebook.layout import Layout

    for result in results:
        if result.passed and not result.cached and (result.form, result.profile) == ("learner", "default"):
            record(Layout.here(), result)


def summarise(results: list[NotebookResult]) -> int:
    """Print the failures again and, last of all, `N passed, N failed`; returns the exit code."""
    passed = sum(result.passed for result in results)
    skipped = sum(result.skipped for result in results)
    failed = len(results) - passed - skipped
    if skipped:
        print(f"{skipped} skipped")
    if skipped == len(results):
        print("nothing-selected: every notebook was skipped, so nothing was proven")
    print(f"{passed} passed, {failed} failed")
    return FAILED if failed or not passed else 0
