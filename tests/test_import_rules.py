"""Who may import whom inside `course_utils`, read from the source: also for modules that nobody imported yet.

The table is the one of docs/architecture.md. A new module of the top level needs a row here first.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "course_utils"
BASE = {"atomic", "errors", "paths"}  # every module may import these
LIBRARY = {"config", "runtime", "assets", "models", "data", "training", "generation", "distributed", "chat", "viz"} | {
    "checkpoints"
}

# What a module (a file, or a folder with all its files) may import of ours, besides itself and BASE.
ALLOWED = {
    "__init__": {"magics"},
    "atomic": set(),
    "errors": set(),
    "paths": set(),
    "config": set(),
    "files": set(),
    "machine": set(),
    "viz": set(),
    "runtime": {"config"},
    "assets": {"config"},
    "generation": {"config"},
    "models": {"config", "assets"},
    "data": {"config", "assets"},
    "training": {"config", "runtime"},  # takes any model and any batches: never `models` or `data`
    "distributed": {"config", "runtime", "data", "training"},  # plans arrive as arguments: never `models`
    "colab": set(),
    "chat": {"config", "runtime", "assets", "models", "data", "generation"},
    "checkpoints": {"assets"},  # folders of trained models, and how they are written
    "runs": LIBRARY,
    "exercises": LIBRARY,
    "magics": {"runtime"},
    "prepare": {"assets"},
    "downloads": {"assets", "files"},
    "fetch": {"assets", "data", "downloads", "files", "prepare"},
    "doctor": {"assets", "files", "machine", "runtime"},
    "doctor_view": {"doctor"},
    "lab": {"doctor"},
    "cli": set(),  # finds its commands by name
    "notebook": set(),  # knows notebooks as files
}
NEVER = {  # other packages that a module must not even name
    "notebook": {"torch", "tensorflow", "transformers"},
    "config": {"torch", "tensorflow", "transformers"},
    "viz": {"torch", "tensorflow"},
    "generation": {"tensorflow"},
    "models": {"tensorflow", "torch.distributed"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def top_level(path: Path) -> str:
    """The row of the table that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(source: str, package: str) -> set[str]:
    """Full names of everything a source imports, wherever it stands; relative imports resolved against `package`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: 1 - node.level or None]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def breaches(row: str, source: str, package: str = "course_utils") -> list[str]:
    """Imports of a source that its row of the table does not allow."""
    if row not in ALLOWED:
        return [f"{row} has no row in ALLOWED: say there what it may import"]
    found = []
    for name in sorted(imported_names(source, package)):
        parts = name.split(".")
        ours = parts[1] if parts[0] == "course_utils" and len(parts) > 1 else None
        if ours and (PACKAGE / ours).is_dir() | (PACKAGE / f"{ours}.py").is_file():
            found += [] if ours in {row} | BASE | ALLOWED[row] else [name]
        found += [name for banned in NEVER.get(row, ()) if f"{name}.".startswith(f"{banned}.")]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_module_keeps_to_the_table(path):
    package = ".".join(["course_utils", *path.relative_to(PACKAGE).parent.parts])
    found = breaches(top_level(path), path.read_text(encoding="utf-8"), package)
    assert not found, f"{path.name} imports {found}; may import {sorted(ALLOWED.get(top_level(path), ()))}"


@pytest.mark.parametrize(
    ("row", "source", "caught"),
    [
        ("training", "from course_utils.models import bert", True),
        ("training", "def f():\n    from course_utils.data.digits import load_digits", True),
        ("training", "from ..models import bert", True),
        ("training", "from course_utils.runtime import Timer", False),
        ("notebook", "import torch.nn", True),
        ("notebook", "from course_utils import viz", True),
        ("notebook", "from course_utils.errors import UserError", False),
        ("models", "import torch.distributed as dist", True),
        ("models", "from torch import distributed", True),
        ("models", "import torch.nn as nn", False),
        ("config", "from course_utils.runtime import device", True),
        ("unheard_of", "import os", True),
    ],
)
def test_the_rules_can_fail(row, source, caught):
    assert bool(breaches(row, source, f"course_utils.{row}")) is caught


def test_every_row_of_the_table_is_a_module_or_planned():
    planned = {"config", "generation", "chat", "colab"}
    existing = {top_level(path) for path in MODULES}
    assert set(ALLOWED) - planned <= existing


@pytest.mark.parametrize("module", ["course_utils", "course_utils.cli", "course_utils.assets", "course_utils.runtime"])
def test_importing_loads_no_framework(module):
    heavy = ["torch", "tensorflow", "transformers", "numpy"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
