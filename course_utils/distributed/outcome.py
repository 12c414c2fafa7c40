"""What became of a launch: results by rank, or the one error that explains what went wrong.

It reads run folders and exit codes; it neither waits nor kills.
"""

import linecache
import re
import signal
import sysconfig
from typing import Any

from course_utils.distributed.run_folder import INTERNALS, Failure, RunFolder, short_path, signal_name
from course_utils.errors import UserError

CALLERS_FAULT = {
    "target": "cannot be found by other processes",
    "kwargs": "was given arguments that other processes cannot read (their classes must live in an importable module)",
    "result": "returned something that cannot travel to another process",
}
ADVICE = {
    "target": "Is the module saved (`%%module name.py`), and the function defined in it?",
    "kwargs": "Pass numbers, strings, lists, tensors, or define the class in the module (`%%module name.py`).",
    "result": "Return numbers, tensors, lists or dictionaries of them.",
}
FRAME = re.compile(r'  File "(?P<path>.*)", line (?P<line>\d+) in (?P<function>.*)')
LOST = re.compile(r"gloo.*(closed by peer|reset by peer|Broken pipe)")
ESCAPED = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
WAITING = "wait_for_other_ranks"
HINTS = {
    "SIGKILL": "Did the machine run out of memory, or did somebody kill it?",
    "SIGSEGV": "It crashed in native code; the lines above from `Fatal Python error` on show where.",
    "SIGABRT": "Native code gave up; its last words are above.",
}


class RankError(RuntimeError):
    """A rank failed. `rank` is the one that failed first; the message holds its traceback."""

    def __init__(self, message: str, rank: int | None):
        super().__init__(message)
        self.rank = rank


class LaunchTimeout(RankError):
    """The ranks did not finish in time. The message says where each of them stood."""


def results_or_error(
    folder: RunFolder, world_size: int, target: str, codes: dict[int, int], said: str = ""
) -> list[Any]:
    """The results by rank, or the exception that names the cause: UserError for what the caller did, else RankError."""
    ranks = range(world_size)
    failures = {rank: failure for rank in ranks if (failure := folder.failure(rank))}
    if not failures and all(folder.has_result(rank) for rank in ranks):
        return [folder.result(rank) for rank in ranks]
    mistakes = {rank: failure for rank, failure in failures.items() if failure.kind in CALLERS_FAULT}
    if mistakes:
        _, failure = earliest(mistakes)
        raise UserError(f"{target} {CALLERS_FAULT[failure.kind]}: {failure.summary}\n{ADVICE[failure.kind]}")
    # A rank that died without a word explains the complaints of those who were talking to it. One that was asked to
    # end (SIGTERM) is itself a consequence.
    silent = [rank for rank in ranks if rank not in failures and not folder.has_result(rank)]
    died = [rank for rank in silent if codes.get(rank) not in (None, -signal.SIGTERM)]
    if not died and failures and all(LOST.search(failure.summary) for failure in failures.values()):
        died = silent  # the others only lost their connection to it; torchrun lists no rank that ended with code 0
    if died:
        raise RankError(_death_message(died[0], world_size, target, codes.get(died[0], 0), failures), died[0])
    if failures:
        rank, failure = earliest(failures)
        others = _consequences({r: f for r, f in failures.items() if r != rank})
        raise RankError(f"rank {rank} of {world_size} failed in {target}.\n{failure.details}{others}", rank)
    raise RankError(
        f"{target} did not run on rank {silent[0]} of {world_size}. The launcher said:\n{said[-3000:]}", None
    )


def earliest(failures: dict[int, Failure]) -> tuple[int, Failure]:
    """The failure that came first, and its rank."""
    return min(failures.items(), key=lambda item: item[1].time)


def _death_message(rank: int, world_size: int, target: str, code: int, failures: dict[int, Failure]) -> str:
    if code < 0:
        name = signal_name(-code)
        how = f"was killed by {name} in {target}. {HINTS.get(name, '')}".rstrip()
    else:
        how = f"ended in the middle of {target} (exit code {code}) without an exception. Does something call os._exit?"
    return f"rank {rank} of {world_size} {how}{_consequences(failures)}"


def _consequences(failures: dict[int, Failure]) -> str:
    lines = [f"\nAs a consequence rank {rank} {_in_short(failure.summary)}" for rank, failure in failures.items()]
    return "".join(lines)


def _in_short(summary: str) -> str:
    """gloo's long words about a lost connection, in short; other errors as they are."""
    return "lost its connection to another rank." if LOST.search(summary) else f"failed, too: {summary}"


def timeout_error(folder: RunFolder, world_size: int, target: str, timeout_s: float) -> LaunchTimeout:
    """The error for ranks that did not finish, after they have written their stacks."""
    places = [f"rank {rank} {where_it_stood(folder, rank)}" for rank in range(world_size)]
    return LaunchTimeout(
        f"{target} did not finish on {world_size} ranks within {timeout_s:g} s.\n" + "\n".join(places) + "\n"
        "A collective waits until every rank has made the same call: do all make the same calls in the same order?",
        None,
    )


def where_it_stood(folder: RunFolder, rank: int) -> str:
    """One rank's place in words: finished, failed, not started, or the line of the caller's code it was in."""
    if failure := folder.failure(rank):
        return f"had failed: {failure.summary}"
    frames = _main_thread(folder.text(rank, "stack"))
    if folder.has_result(rank) or any(function == WAITING for _, _, function in frames):
        return "had finished and was waiting for the others."
    if not frames:
        if folder.pid(rank) is None:
            return "had not started."
        return "was starting or ending." if folder.text(rank, "stack") else "did not answer."
    own = next((frame for frame in frames if not _is_library(frame[0])), frames[0])
    path, line, function = own
    innermost = frames[0][2]
    inside = "" if own is frames[0] else f", inside {innermost}"
    source = linecache.getline(path, line).strip()
    return f"stood in {short_path(path)}, line {line}, in {function}{inside}:\n    {source}"


def _main_thread(stack: str) -> list[tuple[str, int, str]]:
    """Frames (path, line, function) of the thread that runs the job, innermost first, without our machinery."""
    for thread in stack.split("\n\n"):
        frames = [(_unescape(m["path"]), int(m["line"]), m["function"]) for m in FRAME.finditer(thread)]
        if any(function == "run_rank" for _, _, function in frames):
            return [frame for frame in frames if _is_worth_showing(frame)]
    return []


def _is_worth_showing(frame: tuple[str, int, str]) -> bool:
    path, _, function = frame
    return function == WAITING or not (path in INTERNALS or path.startswith("<frozen"))


def _unescape(path: str) -> str:
    """faulthandler writes a letter outside ASCII as an escape: turn it back."""
    return ESCAPED.sub(lambda match: match[0].encode().decode("unicode_escape"), path)


def _is_library(path: str) -> bool:
    """Whether a file belongs to an installed package or to Python itself."""
    return "site-packages" in path or path.startswith(("<frozen", sysconfig.get_paths()["stdlib"]))
