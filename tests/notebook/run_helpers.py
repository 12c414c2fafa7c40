"""Small notebooks, checkouts and processes for tests of the engine and the runner."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PACKAGE = Path(__file__).resolve().parents[2] / "course_utils"
HEADER = """\
# ---
# jupyter:
#   course:
#     title: A lesson
#     question: Does it run?
#     minutes: 5
#     needs: CPU
#     prerequisites: []
# ---

# %% [markdown] id="title"
# # A lesson

"""


def notebook(*sources: str, **course) -> nbformat.NotebookNode:
    """Cells named c0, c1, ...; a source that starts with `md:` is Markdown."""
    cells = []
    for number, source in enumerate(sources):
        source = textwrap.dedent(source).strip()
        make = new_markdown_cell if source.startswith("md:") else new_code_cell
        cells.append(make(source.removeprefix("md:").strip(), id=f"c{number}"))
    nb = new_notebook(cells=cells)
    if course:
        nb.metadata["course"] = course
    return nb


def make_checkout(root: Path, **lessons: str) -> Path:
    """A copy of the package with its own lessons (`l05_small="code"`), so that a real `course` can work in it."""
    # Compiled modules come along, so that each checkout need not compile the package again.
    shutil.copytree(PACKAGE, root / "course_utils", ignore=shutil.ignore_patterns("lesson_[0-9]*.py"))
    (root / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/someone/course"\n')
    (root / "notebooks" / "src").mkdir(parents=True)
    (root / "requirements").mkdir()
    (root / "requirements" / "lock.txt").write_text("torch==1\n")
    for name, code in lessons.items():
        write_lesson(root, name.removeprefix("l"), code)
    return root


def write_lesson(root: Path, slug: str, code: str) -> None:
    """One code cell, `work`, below a title."""
    text = HEADER + f'# %% id="work"\n{textwrap.dedent(code).strip()}\n'
    (root / "notebooks" / "src" / f"{slug}.py").write_text(text, encoding="utf-8")


def course_command(root: Path, *arguments: str, **env: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of `course ...` as the copy in `root` runs it."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")}
    return [sys.executable, "-m", "course_utils.cli", *arguments], {**base, "PYTHONPATH": str(root), **env}


def course(root: Path, *arguments: str, timeout: float = 60, **env: str) -> subprocess.CompletedProcess:
    """Run `course ...` in a checkout and wait."""
    command, environment = course_command(root, *arguments, **env)
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=timeout
    )


def start_course(root: Path, *arguments: str, **env: str) -> subprocess.Popen:
    """Start `course ...` in a checkout, in a process group of its own."""
    command, environment = course_command(root, *arguments, **env)
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
