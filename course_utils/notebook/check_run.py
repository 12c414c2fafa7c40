"""Runs nbval over one notebook, in a process of its own, and turns its journal into a NotebookResult.

The process is supervised like a kernel: it and everything below it end with this process, however that ends. Which
notebooks are checked, and which result still holds, is `check`'s business.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from course_utils.errors import EnvironmentProblem
from course_utils.notebook.claims import ClaimResult
from course_utils.notebook.results import CellResult, ExerciseResult, NotebookResult
from course_utils.notebook.supervisor import supervised

POLL_S = 0.1
STOP_WAIT_S = 10.0
CONFIG = Path(__file__).with_name("nbval.cfg")
PLUGIN = "course_utils.notebook.nbval_plugin"
LOG_LINES = 15
NO_TESTS = 5  # pytest's exit code when it collected nothing


def check_notebook(
    path: Path,
    cell_timeout: float | None = None,
    on_event: Callable[[dict[str, Any]], None] = lambda event: None,
) -> NotebookResult:
    """Check one notebook against its own outputs and claims.

    `cell_timeout` in seconds overrides the notebook's own; `on_event` gets each line of the journal, and `{"event":
    "tick"}` several times a second. Raises EnvironmentProblem when there is no temporary folder to be had.
    """
    folder = _temporary_folder()
    start = time.perf_counter()
    result = NotebookResult(path=str(path), profile="default", started=time.strftime("%Y-%m-%d %H:%M:%S"))
    try:
        events, exit_code = _run_nbval(path, folder, cell_timeout, on_event)
        _fill(result, events)
        _judge_the_process(result, exit_code, folder / "nbval.log")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.seconds = time.perf_counter() - start
    return result


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="course-"))
    except OSError as problem:
        raise EnvironmentProblem(f"no temporary folder can be made ({problem}); set TMPDIR to one.") from None


def _command(path: Path, folder: Path, cell_timeout: float | None) -> list[str]:
    options = [
        "-p",
        PLUGIN,
        "-p",
        "nbval.plugin",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "-c",
        str(CONFIG),
        "--rootdir",
        str(path.parent),
    ]
    options += ["--nbval", "--color=no", "--course-journal", str(folder / "journal"), "--course-folder", str(folder)]
    if cell_timeout is not None:
        options += [f"--nbval-cell-timeout={cell_timeout}"]
    return supervised([sys.executable, "-m", "pytest", *options, str(path)], str(folder / "supervisor.json"))


def _environment() -> dict[str, str]:
    """Ours, without what would change pytest, and with this very package first."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    package = str(Path(__file__).resolve().parents[2])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [package, env.get("PYTHONPATH", "")]))
    return env | {"PYTHONUTF8": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _run_nbval(
    path: Path, folder: Path, cell_timeout: float | None, on_event: Callable[[dict[str, Any]], None]
) -> tuple[list[dict[str, Any]], int]:
    """Every event of the journal, and pytest's exit code; the process is gone when this returns or raises."""
    journal, events = folder / "journal", []
    journal.touch()
    with open(folder / "nbval.log", "wb") as log, open(journal, encoding="utf-8") as lines:
        process = subprocess.Popen(
            _command(path, folder, cell_timeout), stdin=subprocess.PIPE, stdout=log, stderr=log, env=_environment()
        )
        try:
            running, rest = True, ""
            while running:
                running = process.poll() is None
                *complete, rest = (rest + lines.read()).split("\n")
                for event in map(json.loads, complete):
                    events.append(event)
                    on_event(event)
                on_event({"event": "tick"})
                time.sleep(POLL_S if running else 0)
        finally:
            _end(process)
    return events, process.returncode


def _end(process: subprocess.Popen) -> None:
    """Let the supervisor kill whatever is left; closing its standard input is what tells it that we are gone."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            process.send_signal(signal.SIGTERM)
    process.stdin.close()
    try:
        process.wait(STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _fill(result: NotebookResult, events: list[dict[str, Any]]) -> None:
    """What the journal says: cells, claims, exercises, and the first failure, which decides the status."""
    ends = [event for event in events if event["event"] == "cell-end"]
    for event in ends:
        result.claims += [ClaimResult(**claim) for claim in event.get("claims", [])]
        for verdict in event.get("exercises", []):
            facts = {name: str(verdict.get(name, "")) for name in ("id", "status", "message")}
            result.exercises.append(ExerciseResult(**facts, cell=event["id"]))
        if event["kind"] == "code":
            status = "not-run" if event["status"] == "skipped" else event["status"]
            result.cells.append(CellResult(event["index"], event["id"], status, event["seconds"]))
    failed = [event for event in ends if event["status"] not in ("ok", "skipped")]
    result.status = failed[0]["status"] if failed else "ok"
    for event in failed[:1]:
        result.cell, result.source, result.message = event["id"], event["source"], event["message"]
    result.notes = [f"{event['status']} in cell {event['id']}: {_first_line(event['message'])}" for event in failed[1:]]


def _judge_the_process(result: NotebookResult, exit_code: int, log: Path) -> None:
    """nbval must end as its journal says: a crash of the checker itself is never a pass."""
    expected = 0 if result.status == "ok" else 1
    if exit_code == expected and (result.cells or result.status != "ok"):
        return
    said = "nothing was collected" if exit_code == NO_TESTS else f"nbval ended with exit code {exit_code}"
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    result.status = "error" if result.status == "ok" else result.status
    result.message = "\n".join(filter(None, [result.message, said, *tail]))


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
