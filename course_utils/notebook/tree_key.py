"""One key for all that unit tests, build check and lint can see: the files of the checkout and the environment.

Tests read the package, the lessons, the documents and the workflows, so all of them count; what is generated or ignored
does not. It reads files; what a key means is `suite`'s business.
"""

import fnmatch
import hashlib
import os
import platform
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from course_utils.notebook.keys import Key

IGNORED = (".git", ".venv*", "build", ".cache", "__pycache__", "*.egg-info", ".*_cache", ".ipynb_checkpoints", "*.pyc")
SHOWN = 2


def tree_key(root: Path, extra: Mapping[str, str] | None = None) -> Key:
    """The digest of every file below `root` that is not ignored, of the installed packages, and of `extra`."""
    parts = {path.relative_to(root).as_posix(): _digest(path) for path in _files(root)}
    parts |= {"Python": f"{platform.python_version()} {sys.platform} {platform.machine()}", "packages": _packages()}
    return _key(parts | dict(extra or {}))


def without(key: Key, patterns: tuple[str, ...]) -> Key:
    """The key of one who never looks at files whose path matches a pattern."""
    kept = {name: value for name, value in key.parts.items() if not any(fnmatch.fnmatchcase(name, p) for p in patterns)}
    return _key(kept)


def _key(parts: dict[str, str]) -> Key:
    return Key(hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()[:16], parts)


def what_changed(key: Key, before: Mapping[str, str] | None) -> str:
    """Why a result with the parts `before` does not hold any more; empty when it does."""
    if not before:
        return "new"
    changed = sorted(name for name in {**before, **key.parts} if before.get(name) != key.parts.get(name))
    if not changed:
        return ""
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"changed: {', '.join(changed[:SHOWN])}{more}"


def _files(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not _is_ignored(name))
        yield from (Path(folder, name) for name in sorted(files) if not _is_ignored(name))


def _is_ignored(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in IGNORED)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return "unreadable"


def _packages() -> str:
    """Installed distributions by the names of their folders, which hold the version: importing nothing."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    names = {name for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)}
    found = sorted(name for name in names if name.endswith((".dist-info", ".egg-info")))
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]
