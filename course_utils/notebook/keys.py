"""What a notebook's outputs depend on, as keys: the same key means that running it again would tell nothing new.

The output key belongs to a committed notebook and is the same on every Python version; the run key adds all that one
run depends on. This module reads files and compares; it runs nothing. Data files that a stranger's notebook reads are
unknown to it, so the runner caches lessons only.
"""

import ast
import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from course_utils import paths
from course_utils.notebook.claims import parse_claims

PACKAGE = "course_utils"
PACKAGE_ROOT = Path(__file__).resolve().parents[2]
# Tags that change what running a cell does or what is compared afterwards; the rest are decoration.
EXECUTION_TAGS = re.compile(r"parameters|bootstrap|check|skip-execution|raises-exception|nbval-.*")
ADDED_BY_A_RUN = ("injected-parameters", "papermill-error-cell-tag")
DATA_SUFFIXES = (".json", ".cfg", ".txt", ".safetensors", ".yaml")
LOCKED = ("requirements/lock.txt", "requirements/assets.txt")
_MODULE_STRING = re.compile(rf"{PACKAGE}(\.\w+)+")


@dataclass(frozen=True)
class Key:
    """A digest and the named parts it is made of, so that two keys can say what differs."""

    digest: str
    parts: dict[str, str]

    def extended(self, name: str, value: str) -> "Key":
        """The key with one more part."""
        parts = {**self.parts, name: value}
        return Key(_digest(parts), parts)

    def reason(self, before: Mapping[str, str] | None) -> str:
        """Why a result with the parts `before` does not hold any more: `cell train changed`, `lock changed`, ..."""
        if not before:
            return "new"
        changed = [name for name in {**before, **self.parts} if before.get(name) != self.parts.get(name)]
        named = [_describe(name, name in before, name in self.parts) for name in changed if name != "cells"]
        if not named:
            return "cells in another order" if changed else "unchanged"
        more = f" and {len(named) - 2} more" if len(named) > 2 else ""
        return ", ".join(named[:2]) + more


def _describe(name: str, was: bool, is_now: bool) -> str:
    for path, short in zip(LOCKED, ("lock", "assets"), strict=True):
        name = short if name == path else name
    return f"{name} " + ("changed" if was and is_now else "added" if is_now else "removed")


def closure(sources: Iterable[str], root: Path = PACKAGE_ROOT) -> list[Path]:
    """Every file of `course_utils` below `root` that these pieces of code import, directly or through one another.

    Imports inside functions count, so do dotted names in strings (`"course_utils.x"`), and data files beside a module.
    """
    found: set[Path] = set()
    waiting = [name for source in sources for name in imported_modules(source)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _module_file(name, root)
        if path is None:
            continue
        if path not in found:
            found.add(path)
            found.update(_data_beside(path, root))
            waiting += _imports_of_file(path, name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return sorted(found)


def _data_beside(path: Path, root: Path) -> list[Path]:
    if path.parent == root / PACKAGE:
        return []
    return [other for other in path.parent.iterdir() if other.suffix in DATA_SUFFIXES]


def _module_file(name: str, root: Path) -> Path | None:
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports_of_file(path: Path, name: str) -> list[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return imported_modules(path.read_text(encoding="utf-8"), package)


def imported_modules(source: str, package: str = "") -> list[str]:
    """Dotted names of ours that this code may import; `package` is where relative imports start."""
    names = []
    for node in ast.walk(_parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE_STRING.match(node.value):
            names.append(_MODULE_STRING.match(node.value)[0])
    return [name for name in names if name.split(".")[0] == PACKAGE]


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _parse(source: str) -> ast.Module:
    """Python as a cell may hold it: magics and shell lines dropped; what then is no Python is read line by line."""
    plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    for text in (plain, "\n".join(re.findall(rf"^\s*((?:from|import)\s+{PACKAGE}[^\n]*)", plain, re.MULTILINE))):
        try:
            return compile(text, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except (SyntaxError, ValueError):
            continue
    return ast.Module(body=[], type_ignores=[])


def output_key(nb: NotebookNode, root: Path = PACKAGE_ROOT) -> str:
    """The key stored in a committed notebook: what its outputs depend on, whatever the Python version or profile."""
    return _digest(_output_parts(nb, root))


def run_key(nb: NotebookNode, profile: str, parameters: Mapping[str, Any], root: Path = PACKAGE_ROOT) -> Key:
    """The key of one run: the output key's parts, form, profile, parameters, the engine itself and Python's version."""
    parts = _output_parts(nb, root)
    parts |= {
        "form": nb.metadata.get("course", {}).get("form", "learner"),
        "profile": profile,
        "parameters": json.dumps(dict(parameters), sort_keys=True, default=repr),
        "Python": f"{platform.python_version()} {sys.platform} {platform.machine()}",
        "runner": _runner_digest(),
    }
    return Key(_digest(parts), parts)


def _output_parts(nb: NotebookNode, root: Path) -> dict[str, str]:
    code = [cell for cell in nb.cells if cell.cell_type == "code" and not _changes_nothing(cell)]
    parts = {f"cell {cell.get('id', index)}": _cell_digest(cell) for index, cell in enumerate(code)}
    parts["cells"] = _hash("\n".join(f"{name} {digest}" for name, digest in parts.items()))
    text = [repr(claim) for cell in nb.cells if cell.cell_type == "markdown" for claim in parse_claims(cell.source)]
    parts["claims"] = _hash("\n".join(text))
    sources = [cell.source for cell in code]
    for path in closure([*sources, *_lesson_exercises(nb, sources, root)], root):
        parts[path.relative_to(root).as_posix()] = file_digest(path)
    for name in LOCKED:
        path = (paths.checkout() or root) / name
        parts[name] = file_digest(path) if path.is_file() else "absent"
    return parts


def _lesson_exercises(nb: NotebookNode, sources: list[str], root: Path) -> list[str]:
    """The import of the lesson's own exercises, which the framework finds by number, not by an import statement."""
    number = nb.metadata.get("course", {}).get("slug", "")[:2]
    uses = any(f"{PACKAGE}.exercises" in source for source in sources)
    return [f"import {PACKAGE}.exercises.lesson_{number}"] if uses and number.isdigit() else []


def _changes_nothing(cell: NotebookNode) -> bool:
    """Cells a run adds, and the bootstrap cell: it acts on Colab only, and names the release and the installer."""
    return any(tag in (*ADDED_BY_A_RUN, "bootstrap") for tag in cell.metadata.get("tags", []))


def _cell_digest(cell: NotebookNode) -> str:
    lines = [line.rstrip() for line in cell.source.strip().splitlines()]
    tags = sorted(tag for tag in cell.metadata.get("tags", []) if EXECUTION_TAGS.fullmatch(tag))
    return _hash("\n".join([*lines, *tags]))


@lru_cache(maxsize=1)
def _runner_digest() -> str:
    """What decides a result: the engine, all it imports, and the sandbox; not reports, lint or the progress display."""
    files = closure([f"import {PACKAGE}.notebook.engine"]) + sorted((Path(__file__).parent / "sandbox").glob("*.py"))
    return _hash("\n".join(file_digest(path) for path in files))


def file_digest(path: Path) -> str:
    """The hash of a file's content; of a Python file, without its blank lines and lines of comment only."""
    stat = path.stat()
    return _file_digest(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _file_digest(path: Path, _mtime: int, _size: int) -> str:
    content = path.read_bytes()
    if path.suffix == ".py":
        content = "\n".join(_significant_lines(content.decode("utf-8"))).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _significant_lines(source: str) -> list[str]:
    """Lines that can matter: blank lines and `#` lines do only inside a string that spans several lines."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source.splitlines()
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            inside.update(range(node.lineno + 1, node.end_lineno + 1))
    numbered = enumerate(source.splitlines(), start=1)
    return [line.rstrip() for n, line in numbered if n in inside or (line.strip() and line.lstrip()[0] != "#")]


def _digest(parts: Mapping[str, str]) -> str:
    return _hash(json.dumps(dict(parts), sort_keys=True))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
