"""One process at a time in a folder: two runs that write the same reports would mix them.

The lock is the operating system's, so a killed process never leaves it behind.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from course_utils.errors import EnvironmentProblem


@contextlib.contextmanager
def exclusive(folder: Path, name: str, taken: str, advice: str = "") -> Iterator[None]:
    """Make `folder` and hold its lock file `name` until the block ends.

    Raises EnvironmentProblem with the message `taken` when another process holds it, and when the folder cannot be
    written (with `advice` on what else to do).
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name, timeout=0)
        lock.acquire()
    except Timeout:
        raise EnvironmentProblem(taken) from None
    except OSError as problem:
        reason = problem.strerror or problem
        raise EnvironmentProblem(
            f"cannot write {folder}: {reason}. Make it writable{advice}, then try again."
        ) from None
    try:
        yield
    finally:
        lock.release()
