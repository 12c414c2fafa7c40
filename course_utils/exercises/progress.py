"""A learner's progress: one local JSON file, shown by `course progress` and in lesson 00. Nothing leaves the machine.

A pass is never lost: not by a later failing attempt, two kernels at once, an import, a reset (the file is set aside)
or a damaged file (set aside too, and said so). How progress looks is `progress_view`'s business.
"""

import argparse
import contextlib
import datetime
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from course_utils import paths
from course_utils.atomic import replacing
from course_utils.errors import UserError

FILE_NAME = "progress.json"
FORMAT = 1
LOCK_WAIT_S = 5.0
STATUSES = ("wrong", "error", "pass")
_said: set[str] = set()


def progress_file() -> Path:
    return paths.state_dir() / FILE_NAME


def now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def load() -> dict[str, dict]:
    """{exercise id: {"status", "attempts", "passed_at", "last"}}; a damaged file is set aside and counts as empty."""
    path = progress_file()
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        say_once(f"Your progress file {path} cannot be read ({error.strerror}); the lesson goes on without it.")
        return {}
    except ValueError as error:
        aside = set_aside(path, "damaged")
        kept = f"It is kept as {aside.name}" if aside else "It could not be renamed"
        say(f"Your progress file {path} is damaged ({error}). {kept}; progress starts afresh.")
        return {}


def parse(text: str) -> dict[str, dict]:
    """The exercises of a progress file. Raises ValueError for anything that is not one."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("exercises"), dict):
        raise ValueError(f'not a progress file of format {FORMAT}: "format" and "exercises" expected')
    for key, entry in found["exercises"].items():
        sound = isinstance(entry, dict) and entry.get("status") in STATUSES and isinstance(entry.get("attempts"), int)
        if not sound:
            raise ValueError(f"the entry of exercise {key!r} is not readable")
    return found["exercises"]


def record(exercise_id: str, status: str) -> str:
    """Count an attempt; returns how the lesson stands, like `1 of 3 solved in this lesson.` A stub is no attempt."""
    from course_utils.exercises import catalogue

    if status == "todo":
        return ""
    entries = update(lambda known: {**known, exercise_id: after_attempt(known.get(exercise_id), status)})
    ids = [key for key in catalogue.titles() if key[:2] == exercise_id[:2]]
    solved = sum(entries.get(key, {}).get("status") == "pass" for key in ids)
    return f"{solved} of {len(ids)} solved in this lesson." if ids else ""


def after_attempt(entry: dict | None, status: str) -> dict:
    """The entry after one more attempt: once passed, always passed."""
    entry = dict(entry or {"attempts": 0})
    entry["attempts"] += 1
    entry["last"] = now()
    if status == "pass":
        entry.setdefault("passed_at", entry["last"])
    entry["status"] = "pass" if "passed_at" in entry else status
    return entry


def merge(mine: dict[str, dict], theirs: dict[str, dict]) -> dict[str, dict]:
    """Both, where the better entry wins: a pass over none, then more attempts."""
    rank = lambda entry: (entry["status"] == "pass", entry["attempts"])  # noqa: E731
    keys = {**mine, **theirs}
    return {k: max((e[k] for e in (mine, theirs) if k in e), key=rank) for k in sorted(keys)}


def update(change: Callable[[dict], dict]) -> dict[str, dict]:
    """Read, change and write under a lock; where nothing can be written, say so once; returns what would have been."""
    try:
        progress_file().parent.mkdir(parents=True, exist_ok=True)
        with locked(progress_file().with_suffix(".lock")):
            entries = change(load())
            write(entries, progress_file())
        return entries
    except OSError as error:
        say_once(
            f"Your progress cannot be kept: {progress_file().parent} is not writable ({error.strerror}). "
            "The lesson goes on; set COURSE_STATE_DIR to a folder of yours to keep it."
        )
        return change(load())


def write(entries: dict[str, dict], path: Path) -> None:
    """All entries, replacing the file as a whole."""
    text = json.dumps({"format": FORMAT, "exercises": dict(sorted(entries.items()))}, indent=1) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time; gives up waiting after `LOCK_WAIT_S` (a hung kernel must not block a lesson)."""
    try:
        import fcntl
    except ImportError:  # Windows: the atomic replace alone
        yield
        return
    with open(path, "a") as file:
        deadline = time.monotonic() + LOCK_WAIT_S
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
        yield


def set_aside(path: Path, why: str) -> Path | None:
    """Rename the file to `progress.<why>-<date>.json`; None if that is not possible."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    aside = path.with_name(f"{path.stem}.{why}-{stamp}{path.suffix}")
    try:
        path.rename(aside)
    except OSError:
        return None
    return aside


def say(message: str) -> None:
    print(message)


def say_once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        say(message)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `course progress`."""
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--json", action="store_true", help="print progress as JSON")
    one.add_argument("--export", metavar="FILE", type=Path, help="write progress to FILE, to carry it elsewhere")
    one.add_argument("--import", metavar="FILE", type=Path, dest="source", help="merge FILE into progress")
    one.add_argument("--reset", action="store_true", help="start afresh; the old progress is set aside, not deleted")


def main(args: argparse.Namespace) -> int:
    """Run `course progress`; returns the exit code."""
    from course_utils.exercises import progress_view

    if args.export:
        write_export(args.export)
    elif args.source:
        read_import(args.source)
    elif args.reset:
        reset()
    elif args.json:
        print(json.dumps(progress_view.summary(load()), indent=1, ensure_ascii=False))
    else:
        print(progress_view.as_text(progress_view.summary(load())))
    return 0


def reset() -> None:
    """Set the progress file aside. Raises UserError where that is not possible."""
    path = progress_file()
    if not path.exists():
        print("There was no progress to reset.")
    elif aside := set_aside(path, "reset"):
        print(f"Progress starts afresh; the old file is kept: {aside}")
    else:
        raise UserError(f"{path} could not be renamed, so nothing was reset; allow writing in {path.parent}")


def write_export(target: Path) -> None:
    """Write the progress to a file. Raises UserError where it cannot be written."""
    try:
        write(load(), target.absolute())
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; choose another file") from None
    print(f"Progress written to {target}; `course progress --import {target.name}` reads it elsewhere.")


def read_import(source: Path) -> None:
    """Merge a file into the progress. Raises UserError for a file that is missing or not a progress file."""
    try:
        theirs = parse(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {source}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{source} is not a progress file ({error}); nothing was changed") from None
    update(lambda mine: merge(mine, theirs))
    solved = sum(entry["status"] == "pass" for entry in theirs.values())
    print(f"{len(theirs)} exercises read from {source}, {solved} of them solved; merged with yours.")
