"""Lint rules for the repository's Python: ruff (check and format), and dataclass fields without an annotation."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat

from course_utils.errors import EnvironmentProblem
from course_utils.notebook.findings import Finding
from course_utils.notebook.layout import Layout

# A source lacks what build fills in: names that solutions bind or use are judged in the solved form.
SOLVED_RULES = "F821,F401"


def ruff_findings(layout: Layout, paths: Iterable[Path]) -> Iterator[Finding]:
    """What `ruff check` and `ruff format --check` say about files and folders. Raises nothing if they are clean."""
    paths = [str(path) for path in paths]
    for command, fix in ((["check"], "ruff check --fix, or correct it"), (["format", "--check"], "ruff format")):
        for entry in _entries(layout, [*command, *paths]):
            if command != ["check"] and entry["code"] == "invalid-syntax":
                continue  # said by the check already
            where = layout.show(Path(entry["filename"]))
            message = f"{entry['code'] or 'syntax'}: {entry['message']}"
            yield Finding(where, f"line {entry['location']['row']}", "code", message, fix)


def _entries(layout: Layout, arguments: list[str], text: str | None = None) -> list[dict]:
    """What ruff reports as JSON. Raises EnvironmentProblem when ruff itself fails: silence would look like success."""
    done = _ruff(layout, [*arguments, "--output-format", "json"], text)
    try:
        return json.loads(done.stdout)  # also with exit code 2: a file that is no Python
    except ValueError:
        raise EnvironmentProblem(f"ruff did not run: {done.stderr.strip()[-300:]}. Install the extra `dev`.") from None


def _ruff(layout: Layout, arguments: list[str], text: str | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ruff", *arguments]
    return subprocess.run(command, cwd=layout.root, capture_output=True, text=True, encoding="utf-8", input=text)


def name_findings(layout: Layout, solved: nbformat.NotebookNode, path: str) -> Iterator[Finding]:
    """Names that no cell of the solved form binds, and imports that it does not use."""
    options = ["check", "--select", SOLVED_RULES, "--stdin-filename", "solved.ipynb", "-"]
    for entry in _entries(layout, options, nbformat.writes(solved)):
        cell = solved.cells[(entry.get("cell") or 1) - 1].id
        yield Finding(path, cell, "code", f"{entry['code']}: {entry['message']}", "import or define it, or drop it")


def dataclass_findings(layout: Layout) -> Iterator[Finding]:
    """Plain assignments in a dataclass: they look like options but are not fields."""
    for path in sorted(layout.package.rglob("*.py")):
        for node in _nodes(path):
            if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(d) for d in node.decorator_list):
                for member in node.body:
                    if isinstance(member, ast.Assign) and not ast.unparse(member.targets[0]).startswith("__"):
                        text = ast.unparse(member).splitlines()[0]
                        message = f"`{text}` in dataclass {node.name} has no annotation, so it is not a field"
                        fix = "annotate it (ClassVar for a constant)"
                        yield Finding(layout.show(path), f"line {member.lineno}", "code", message, fix)


def _nodes(path: Path) -> Iterator[ast.AST]:
    """Every node of a module; none of a file that is no Python, about which ruff speaks."""
    try:
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, UnicodeDecodeError):
        return
