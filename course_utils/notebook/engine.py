"""Execute a notebook and tell the truth about it: one status, the cell that decided it, times, memory, claims.

For the runner and for build; `papermill_engine` offers the same behind papermill's command line. Selection, caching,
schedules and reports are the runner's.
"""

import asyncio
import copy
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from course_utils.notebook.cell_loop import CellLoop
from course_utils.notebook.cell_outputs import settle
from course_utils.notebook.results import NotebookResult
from course_utils.notebook.supervisor import RUN_FOLDER

STARTUP_TIMEOUT_S = 60.0
CELL_TIMEOUT_S = 300.0
GPU_CELL_TIMEOUT_S = 3600.0  # full-sized runs; the notebook's own limit is for laptops
LESSON_CAP_MB = 4096.0
MACHINE_SHARE = 0.9  # of the machine's memory, for a notebook without a cap: the system's own killer names nothing


def inject_parameters(nb: NotebookNode, parameters: Mapping[str, Any]) -> NotebookNode:
    """A copy with the values assigned in a cell after the one tagged `parameters` (or first of all)."""
    nb = copy.deepcopy(nb)
    nb.cells = [cell for cell in nb.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    if parameters:
        tagged = [i for i, cell in enumerate(nb.cells) if "parameters" in cell.metadata.get("tags", [])]
        source = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())])
        cell = new_code_cell(source, id="injected-parameters", metadata={"tags": ["injected-parameters"]})
        nb.cells.insert(tagged[0] + 1 if tagged else 0, cell)
    return nb


def cell_timeout(nb: NotebookNode, profile: str) -> float:
    """Seconds one cell may take: the notebook's `cell_timeout`, else 300; at least an hour under the gpu profile."""
    own = float(nb.metadata.get("course", {}).get("cell_timeout", CELL_TIMEOUT_S))
    return max(own, GPU_CELL_TIMEOUT_S) if profile == "gpu" else own


def memory_cap(nb: NotebookNode, profile: str) -> float:
    """MB the kernel's processes may use: the notebook's `mem_cap_mb`, else 4096 for lessons; gpu: what there is."""
    machine = psutil.virtual_memory().total / 2**20 * MACHINE_SHARE
    course = nb.metadata.get("course", {})
    if profile == "gpu" or "slug" not in course:
        return float(course.get("mem_cap_mb", machine)) if profile != "gpu" else machine
    return float(course.get("mem_cap_mb", LESSON_CAP_MB))


def execute_notebook(
    nb: NotebookNode,
    *,
    slug: str = "",
    profile: str = "default",
    parameters: Mapping[str, Any] | None = None,
    workdir: Path | None = None,
    timeout: float | None = None,
    memory_cap_mb: float | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[NotebookNode, NotebookResult]:
    """Run every cell in a fresh, hermetic kernel of this interpreter; returns the executed copy and the result.

    `timeout` is per cell in seconds, `memory_cap_mb` for all processes together; None means the notebook's own.
    `on_event` gets `{"kind": "cell", "index", "count", "id"}` before each cell, `{"kind": "cell-done", "index",
    "status", "cell"}` after it.
    A notebook that fails raises nothing: see the result. May be called where an event loop already runs.
    """
    work = execute_async(nb, slug, profile, parameters or {}, workdir, timeout, memory_cap_mb, on_event)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    answer: list[Any] = []
    thread = threading.Thread(target=lambda: answer.append(asyncio.run(work)))
    thread.start()
    thread.join()
    return answer[0]


async def execute_async(
    nb: NotebookNode,
    slug: str,
    profile: str,
    parameters: Mapping[str, Any],
    workdir: Path | None,
    timeout: float | None,
    memory_cap_mb: float | None,
    on_event: Callable[[dict[str, Any]], None] | None,
) -> tuple[NotebookNode, NotebookResult]:
    """`execute_notebook` for a caller that runs several at once. Cancelling it ends the kernel and its children."""
    executed = inject_parameters(nb, parameters)
    result = NotebookResult(path="", slug=slug, profile=profile, parameters=dict(parameters))
    loop = CellLoop(
        executed,
        result,
        timeout=timeout or cell_timeout(nb, profile),
        cap_mb=memory_cap_mb or memory_cap(nb, profile),
        workdir=Path(workdir or "."),
        on_event=on_event or (lambda event: None),
    )
    await run_in_scratch(loop)
    return executed, result


async def run_in_scratch(loop: CellLoop, startup_timeout: float = STARTUP_TIMEOUT_S) -> None:
    """Run the loop with a folder of its own, and remove the folder whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix=RUN_FOLDER))
    start = time.perf_counter()
    loop.result.started = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        await loop.run(folder, startup_timeout)
    finally:
        loop.result.seconds = time.perf_counter() - start
        settle(loop.nb)
        shutil.rmtree(folder, ignore_errors=True)
