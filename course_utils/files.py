"""Write files and folders of the cache safely: whole or not at all, one writer at a time, one clear message if not.

Knows nothing about what is written.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from course_utils.errors import EnvironmentProblem

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LOCK_TIMEOUT_S = 600


@contextmanager
def writable(target: Path) -> Iterator[None]:
    """Turn what the operating system says about a full, read-only or impossible folder into one message.

    Raises EnvironmentProblem naming `target` and what to do; other errors pass through.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            cause, action = "there is no room left", "Free some space"
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST}:
            cause, action = f"the folder cannot be written ({error.strerror})", "Allow writing there"
        else:
            raise
        raise EnvironmentProblem(
            f"{target} could not be written: {cause}. {action}, or set COURSE_CACHE to a folder with room "
            "that you may write to, and run this again. What was there before is unchanged."
        ) from error


def need_room(folder: Path, needed_bytes: int) -> None:
    """Raise EnvironmentProblem at once if the disk that holds `folder` has less than `needed_bytes` free."""
    free = shutil.disk_usage(existing_parent(folder)).free
    if free < needed_bytes:
        raise EnvironmentProblem(
            f"{folder} needs {needed_bytes / 1e6:,.0f} MB, and its disk has {free / 1e6:,.0f} MB free. "
            "Free some space, or set COURSE_CACHE to a folder on another disk."
        )


def existing_parent(folder: Path) -> Path:
    """The nearest folder at or above `folder` that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time write `target`; others wait, up to ten minutes. The lock file stays, empty.

    Raises EnvironmentProblem when another process holds the lock for too long.
    """
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    lock_file = target.with_name(f"{target.name}.lock")
    try:
        with FileLock(lock_file, timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise EnvironmentProblem(
            f"another process has been writing {target} for {LOCK_TIMEOUT_S // 60} minutes. "
            "Wait for it, or end it, and run this again."
        ) from error


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that becomes `target` if the block ends well, and disappears if not.

    To be used inside `locked(target)`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}-*"):  # of a process that was killed; ours, as we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield fresh
        fresh.chmod(0o755)  # mkdtemp makes private folders; a cache may be shared
        _replace_folder(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _replace_folder(fresh: Path, target: Path) -> None:
    old = fresh.with_name(f"{fresh.name}-old")  # a folder cannot be renamed over a full one
    if target.exists():
        os.replace(target, old)
    os.replace(fresh, target)
    shutil.rmtree(old, ignore_errors=True)
