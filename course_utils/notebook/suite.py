"""`course test`: unit tests, build check, lint, and every notebook in both forms; what has not changed is not repeated.

Each stage is a command that a person could type, run as a process whose output streams through. A failing stage does
not stop the next one. The commands own their rules; this module runs them, counts, and remembers what passed.
"""

import argparse
import contextlib
import html
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from course_utils import paths
from course_utils.errors import EnvironmentProblem
from course_utils.notebook.folder_lock import exclusive
from course_utils.notebook.keys import Key
from course_utils.notebook.layout import Layout
from course_utils.notebook.results import read_json, write_atomic, write_json
from course_utils.notebook.tree_key import tree_key, what_changed, without

CHILD_WAIT_S = 20.0  # after Ctrl-C: a run ends its kernels, then itself
RULE = "─" * 72
# Many tests wait for processes of theirs, so two workers help even on one core; a file's fixtures are made once.
IN_PARALLEL = ["-n", "2", "--dist", "loadfile"]
# What only build check and lint look at: executing a lesson again, or rewording the README, repeats no unit test.
NO_UNIT_TEST_READS = ("notebooks/*.ipynb", "notebooks/verified.json", "README.md")


@dataclass
class Stage:
    """One part of the suite: a command, where it reports, and how many things passed and failed."""

    name: str
    command: list[str]
    report: Path | None = None  # junit XML, or JSON with {"notebooks": [{"status"}]}; without one it counts as one
    cached: bool = False  # by the key of the tree; commands that run notebooks keep their own, finer results
    blind_to: tuple[str, ...] = ()  # patterns of files that cannot change its result
    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    note: str = ""
    links: list[Path] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `course test`."""
    parser.add_argument("lessons", nargs="*", help="prove these lessons only, without the unit tests (default: all)")
    parser.add_argument("--fast", action="store_true", help="leave out unit tests marked slow, and notebooks")
    parser.add_argument("--fresh", action="store_true", help="repeat what passed and has not changed")


def main(args: argparse.Namespace) -> int:
    """Run every stage and count; 0 when nothing failed."""
    sys.stdout.reconfigure(errors="replace")  # an ASCII terminal must not stop the suite
    layout = Layout.here()
    if args.lessons:
        layout.select(args.lessons)
    reports = layout.root / "build" / "reports"
    taken = f"another `course test` is writing {reports}; wait until it ends."
    with exclusive(reports, ".test.lock", taken):
        stages = plan(layout.root, reports, args.lessons, fast=args.fast, fresh=args.fresh)
        key = tree_key(layout.root, {"fast": str(args.fast)})
        for stage in stages:
            run_stage(stage, layout.root, key, fresh=args.fresh)
        write_atomic(reports / "index.html", index_page(stages))
    return summarise(stages, reports / "index.html")


def plan(root: Path, reports: Path, lessons: list[str], *, fast: bool = False, fresh: bool = False) -> list[Stage]:
    """The stages in order: what is quick to fail comes first, notebooks last."""
    course = [sys.executable, "-m", "course_utils.cli"]
    again = ["--fresh"] if fresh else []
    unit = reports / "unit-tests.xml"
    pytest = [sys.executable, "-m", "pytest", str(root / "tests"), "-q", *IN_PARALLEL, f"--junitxml={unit}"]
    if lessons:
        first = [Stage("exercises", [sys.executable, "-m", "course_utils.exercises.proof", *lessons])]
    else:
        marks = ["-m", "not slow"] if fast else []
        first = [Stage("unit tests", pytest + marks, unit, True, blind_to=NO_UNIT_TEST_READS, links=[unit])]
    whole = not lessons
    stages = [
        Stage("build check", [*course, "build", "--check", *lessons], cached=whole),
        Stage("lint", [*course, "lint", *lessons], cached=whole),
        *first,
    ]
    if fast:
        return stages
    solved, learner = reports / "solved-smoke.json", reports / "check.json"
    run = [*course, "run", *lessons, "--form", "solved", "--profile", "smoke", *again, "--json", str(solved)]
    check = [*course, "check", *lessons, *again, "--json", str(learner)]
    return stages + [
        Stage("solved form", run, solved, links=[solved.with_suffix(".html"), solved.with_suffix(".xml")]),
        Stage("learner form", check, learner, links=[learner.with_suffix(".html"), learner.with_suffix(".xml")]),
    ]


def run_stage(stage: Stage, root: Path, key: Key, fresh: bool = False) -> None:
    """Run one stage, or take its result from the last time it passed under the same key; fills in the counts."""
    key = without(key, stage.blind_to)
    stored = read_json(_store(stage))
    stored = stored if isinstance(stored, dict) else {}
    reason = what_changed(key, stored.get("parts")) if stage.cached else ""
    if stage.cached and not reason and not fresh:
        stage.passed, stage.note = stored["passed"], "unchanged"
        print(f"{RULE}\n{stage.name}: unchanged, {stage.passed} passed in {stored['seconds']:.0f} s then", flush=True)
        return
    because = f" ({'--fresh' if fresh and not reason else reason})" if stage.cached else ""
    print(f"{RULE}\n{stage.name}{because}: {shown_command(stage.command, root)}", flush=True)
    if stage.report:
        stage.report.unlink(missing_ok=True)  # an old report must never speak for this run
    start = time.monotonic()
    exit_code = _stream(stage.command, root)
    stage.seconds = time.monotonic() - start
    stage.passed, stage.failed = count(stage.report, exit_code)
    if exit_code and not stage.report:
        stage.note = f"exit code {exit_code}"
    if stage.cached and not stage.failed:
        facts = {"passed": stage.passed, "seconds": stage.seconds, "parts": key.parts}
        write_json(_store(stage), facts)


def _store(stage: Stage) -> Path:
    return paths.cache_dir() / "suite" / f"{stage.name.replace(' ', '-')}.json"


def shown_command(command: list[str], root: Path) -> str:
    """The command as a person would type it in the checkout."""
    words = [word.replace(f"{root}/", "") for word in command[1:]]
    text = " ".join(words).replace("-m course_utils.cli", "course")
    return text if text.startswith("course") else f"python {text}"


def _stream(command: list[str], root: Path) -> int:
    """Run with our own terminal; on Ctrl-C the command ends first, with what it started."""
    try:
        process = subprocess.Popen([command[0], "-u", *command[1:]], cwd=root)
    except OSError as problem:
        raise EnvironmentProblem(f"cannot start {command[0]}: {problem.strerror or problem}.") from None
    try:
        return process.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            process.send_signal(signal.SIGINT)  # a terminal has sent it already; `kill -INT` has not
        try:
            process.wait(CHILD_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def count(report: Path | None, exit_code: int) -> tuple[int, int]:
    """(passed, failed) of a stage. A command that fails without saying what failed is one failure."""
    if report is None:
        return (1, 0) if exit_code == 0 else (0, 1)
    passed, failed = _count_junit(report) if report.suffix == ".xml" else _count_notebooks(report)
    if exit_code and not failed:
        failed = 1
    if not passed and not failed:
        failed = 1  # a stage that proved nothing has not passed
    return passed, failed


def _count_junit(report: Path) -> tuple[int, int]:
    names = ("tests", "failures", "errors", "skipped")
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
        tests, failures, errors, skipped = (sum(int(suite.get(name, 0)) for suite in suites) for name in names)
    except (OSError, ElementTree.ParseError, ValueError):
        return 0, 1
    return tests - failures - errors - skipped, failures + errors


def _count_notebooks(report: Path) -> tuple[int, int]:
    data = read_json(report)
    statuses = [notebook["status"] for notebook in (data or {}).get("notebooks", [])]
    return statuses.count("ok"), sum(status not in ("ok", "skipped") for status in statuses)


def index_page(stages: list[Stage]) -> str:
    """A small page that links the reports of all stages."""
    rows = []
    for stage in stages:
        links = " ".join(f'<a href="{link.name}">{link.suffix[1:]}</a>' for link in stage.links if link.is_file())
        cells = [html.escape(stage.name), str(stage.passed), str(stage.failed), f"{stage.seconds:.1f} s"]
        rows.append("".join(f"<td>{cell}</td>" for cell in [*cells, html.escape(stage.note), links]))
    head = "".join(f"<th>{name}</th>" for name in ("stage", "passed", "failed", "time", "", "reports"))
    table = "\n".join(f"<tr>{row}</tr>" for row in [head, *rows])
    style = "body{font:15px system-ui;margin:2rem} td,th{padding:.3rem 1rem;text-align:left}"
    return (
        f'<!doctype html><meta charset="utf-8"><title>course test</title><style>{style}</style><table>{table}</table>\n'
    )


def summarise(stages: list[Stage], page: Path) -> int:
    """Print the table of stages and, last of all, `N passed, N failed`; returns the exit code."""
    print(RULE)
    for stage in stages:
        state = "FAILED" if stage.failed else "ok"
        took = stage.note if stage.note == "unchanged" else f"{stage.seconds:.1f} s {stage.note}".strip()
        print(f"{state:<7} {stage.name:<14} {stage.passed:>5} passed {stage.failed:>4} failed   {took}")
    print(f"reports: {page}")
    passed, failed = sum(stage.passed for stage in stages), sum(stage.failed for stage in stages)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
