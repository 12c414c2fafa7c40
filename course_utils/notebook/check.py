"""`course check`: prove with nbval that the outputs a reader sees are what today's code prints, and that claims hold.

One notebook at a time, each in a process of its own (`check_run`). A lesson that passed is not run again while nothing
it depends on has changed. The rules of comparison are in `compare`, those for claims in `claims`.
"""

import argparse
import difflib
import hashlib
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat

from course_utils import paths
from course_utils.errors import UserError
from course_utils.notebook.arguments import positive
from course_utils.notebook.check_run import check_notebook
from course_utils.notebook.keys import Key, closure, file_digest, run_key
from course_utils.notebook.layout import Layout
from course_utils.notebook.results import NotebookResult, read_json, write_atomic, write_json

HEARTBEAT_S = 30.0  # without a terminal to write over, one line this often says that work goes on
CHECKER = "import course_utils.notebook.check_run, course_utils.notebook.nbval_plugin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `course check`."""
    parser.add_argument("notebooks", nargs="*", help="lesson numbers, notebooks or folders (default: all lessons)")
    parser.add_argument("--fresh", action="store_true", help="check again what passed and has not changed")
    parser.add_argument("--cell-timeout", type=positive, metavar="S", help="seconds one cell may take")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON")
    parser.add_argument("--output", metavar="DIR", type=Path, help="where reports go (build/)")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write the results as junit XML")


def main(args: argparse.Namespace) -> int:
    """Check the notebooks asked for; 0 when every one passed."""
    sys.stdout.reconfigure(errors="replace")  # an ASCII terminal must not stop a check
    notebooks = select_notebooks(args.notebooks)
    reports, start = _reports_folder(args.output), time.monotonic()
    results: list[NotebookResult] = []
    try:
        for result in check_all(notebooks, fresh=args.fresh, cell_timeout=args.cell_timeout):
            results.append(result)
    finally:  # interrupted or not, what is known is kept
        _write_reports(results, reports, args.json, args.junit, time.monotonic() - start)
    passed = sum(result.passed for result in results)
    print(f"{passed} passed, {len(results) - passed} failed")
    return 0 if passed == len(results) else 1


# -- selection


def select_notebooks(words: list[str], root: Path | None = None) -> list[Path]:
    """The committed notebooks meant by lesson numbers, names, paths or folders; all of them for an empty list.

    Raises UserError with status `nothing-selected` when a word matches nothing or there is no notebook at all.
    """
    root = root or paths.checkout()
    lessons = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")) if root else []
    chosen = [path for word in words for path in _matching(word, lessons)] if words else lessons
    if not chosen:
        raise UserError("notebooks/ holds no lesson (NN_slug.ipynb); `course build` makes them", "nothing-selected")
    return list(dict.fromkeys(chosen))


def _matching(word: str, lessons: list[Path]) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        found = sorted(path.resolve().glob("*.ipynb"))
        if not found:
            raise UserError(f"{word} holds no notebook (*.ipynb)", "nothing-selected")
        return found
    if path.suffix == ".ipynb" and path.is_file():
        return [path.resolve()]
    number = word.zfill(2) if word.isdigit() else path.stem
    if found := [lesson for lesson in lessons if number in (lesson.stem, lesson.stem[:2])]:
        return found
    known = [lesson.stem for lesson in lessons]
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"lessons: {', '.join(known) or 'none'}"
    raise UserError(f"there is no notebook {word!r}; {hint}", "nothing-selected")


# -- cache


def check_key(path: Path) -> Key | None:
    """What the check of a committed lesson depends on: run key, the bytes of the notebook, the checker.

    None for other notebooks, whose data files nobody knows, and for files that are no notebooks.
    """
    root = paths.checkout()
    if root is None or path.parent != root / "notebooks":
        return None
    try:
        nb = nbformat.read(path, as_version=4)
        parts = dict(run_key(nb, "default", {}).parts)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    parts["committed notebook"] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    parts["checker"] = _checker_digest()
    return Key(hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()[:16], parts)


@lru_cache(maxsize=1)
def _checker_digest() -> str:
    digests = [file_digest(path) for path in closure([CHECKER])]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def _cache_file(path: Path) -> Path:
    return paths.cache_dir() / "check" / f"{path.stem}.json"


def cached_result(path: Path, key: Key | None) -> tuple[NotebookResult | None, str]:
    """The result that still holds, if there is one, and why the notebook must be checked (or `unchanged`)."""
    if key is None:
        return None, "not a lesson of this course: never cached"
    stored = read_json(_cache_file(path))
    if not isinstance(stored, dict) or "result" not in stored:
        return None, "new"
    if stored.get("digest") != key.digest:
        return None, key.reason(stored.get("parts"))
    result = NotebookResult.from_json(stored["result"])
    if not result.passed:
        return None, f"failed last time ({result.status})"
    result.cached, result.reason = True, "unchanged"
    return result, "unchanged"


def _remember(path: Path, key: Key | None, result: NotebookResult) -> None:
    if key is not None:
        stored = {"digest": key.digest, "parts": key.parts, "result": result.to_json()}
        write_json(_cache_file(path), stored)


# -- running and showing


def check_all(
    notebooks: list[Path], fresh: bool = False, cell_timeout: float | None = None
) -> Iterator[NotebookResult]:
    """Yield a result for each notebook, in order, printing what happens and why."""
    for path in notebooks:
        key = check_key(path)
        result, reason = cached_result(path, key)
        if result is None or fresh:
            reason = "asked for (--fresh)" if reason == "unchanged" else reason
            display = Display(path.stem, reason, len(_code_cells(path)))
            result = check_notebook(path, cell_timeout, on_event=display.on_event)
            display.clear()
            result.slug, result.reason = path.stem, reason
            _remember(path, key, result)
        result.path = _shown_path(path)
        print("\n".join(describe(result)), flush=True)
        yield result


def _code_cells(path: Path) -> list[Any]:
    try:
        return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def _shown_path(path: Path) -> str:
    root = paths.checkout()
    return Layout(root).show(path) if root else str(path)


def describe(result: NotebookResult) -> list[str]:
    """What a person reads about one notebook: one line, and for a failure the cell, what was expected and got."""
    name = Path(result.path).stem
    if result.passed:
        what = "unchanged" if result.cached else f"{result.seconds:.1f} s"
        return [f"{'ok':<14} {name}  ({len(result.cells)} cells, {len(result.claims)} claims, {what})"]
    where = f"  cell {result.cell!r}" if result.cell else ""
    lines = [f"{result.status:<14} {name}{where}  ({result.seconds:.1f} s)"]
    lines += [f"    | {line}" for line in result.source.splitlines()]
    lines += [f"    {line}" for line in result.message.splitlines()]
    return lines + [f"    also: {note}" for note in result.notes]


class Display:
    """Says what is being checked: one line written over on a terminal, else a line at the start and now and then."""

    def __init__(self, name: str, reason: str, count: int):
        self.name, self.count = name, count
        self.start = self.last = time.monotonic()
        self.number, self.cell, self.terminal = 0, "starting", sys.stdout.isatty()
        self._line(f"checking       {name}: {reason}\n")

    def on_event(self, event: dict[str, Any]) -> None:
        """Take in one event of `check_run`."""
        if event["event"] == "cell-start":
            self.number += event["kind"] == "code"
            self.cell = event["id"]
        elapsed = time.monotonic() - self.start
        where = f"{self.name}  cell {self.number}/{self.count} {self.cell}  {elapsed:.0f} s"
        if self.terminal:
            self._line(f"\r\x1b[2K{where[:110]}")
        elif time.monotonic() - self.last > HEARTBEAT_S:
            self.last = time.monotonic()
            self._line(f"               {where}\n")

    def clear(self) -> None:
        """Take the running line away."""
        if self.terminal:
            self._line("\r\x1b[2K")

    def _line(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _write_reports(
    results: list[NotebookResult], reports: Path | None, json_path: Path | None, junit_path: Path | None, seconds: float
) -> None:
    """HTML and junit into the checkout's build folder, and what was asked for."""
    from course_utils.notebook.junit import junit_xml
    from course_utils.notebook.report import html_report

    xml = junit_xml(results, suite="check")
    if json_path:
        write_json(json_path, {"notebooks": [result.to_json() for result in results]})
    if junit_path:
        write_atomic(junit_path, xml)
    if reports:
        write_atomic(reports / "check.html", html_report(results, title="course check", seconds=seconds))
        write_atomic(reports / "check.xml", xml)
        print(f"report: {reports / 'check.html'}")


def _reports_folder(output: Path | None) -> Path | None:
    """Where reports go, proven writable before minutes are spent. Raises EnvironmentProblem."""
    root = paths.checkout()
    if output is None and root is None:
        return None
    reports = (output or root / "build") / "reports"
    write_atomic(reports / ".writable", "")
    (reports / ".writable").unlink(missing_ok=True)
    return reports
