"""papermill's engine `course`: `papermill --engine course in.ipynb out.ipynb -p name value` runs cells our way.

Parameters, files and the progress bar are papermill's; kernel, cell loop and statuses are ours. Only papermill imports
this module, through its entry point: importing it first would import papermill, which would look here for the engine.
"""

import asyncio
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from papermill.engines import Engine, NotebookExecutionManager
from papermill.exceptions import PapermillException
from papermill.log import logger

from course_utils.notebook.cell_loop import CellLoop
from course_utils.notebook.engine import STARTUP_TIMEOUT_S, cell_timeout, memory_cap, run_in_scratch
from course_utils.notebook.results import NotebookResult


class CourseRunFailed(PapermillException):
    """A run under papermill ended with another status than ok or error (papermill reports plain errors itself)."""


class CourseEngine(Engine):
    """Runs one notebook for papermill.

    Cells never reached stay `pending` in papermill's metadata, and a cell that failed in any way is `failed`.
    """

    @classmethod
    def nb_kernel_name(cls, nb: NotebookNode, name: str | None = None) -> str:
        """This very interpreter's kernel, whatever the notebook's metadata says, or does not say."""
        return "python3"

    @classmethod
    def nb_language(cls, nb: NotebookNode, language: str | None = None) -> str:
        """Python, for the injected cell."""
        return "python"

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: float = STARTUP_TIMEOUT_S,
        execution_timeout: float | None = None,
        **_ignored: Any,
    ) -> None:
        """Run the notebook in papermill's manager. Raises CourseRunFailed; plain errors are left to papermill."""
        nb = nb_man.nb
        profile = _ignored.get("profile", "default")
        result = NotebookResult(path=str(_ignored.get("input_path", "")), profile=profile)
        loop = CellLoop(
            nb,
            result,
            timeout=execution_timeout or cell_timeout(nb, profile),
            cap_mb=memory_cap(nb, profile),
            workdir=Path.cwd(),
            on_event=lambda event: _tell_papermill(nb_man, event),
            on_output=lambda output: _pass_on(nb_man, output, log_output, stdout_file, stderr_file),
        )
        asyncio.run(run_in_scratch(loop, start_timeout))
        nb.metadata["language_info"] = {"name": "python"}
        if result.status not in ("ok", "error"):
            raise CourseRunFailed(f"{result.status}: cell {result.cell or result.cell_index}: {result.message}")


def _tell_papermill(nb_man: NotebookExecutionManager, event: dict[str, Any]) -> None:
    cell = nb_man.nb.cells[event["index"]]
    if event["kind"] == "cell":
        nb_man.cell_start(cell, event["index"])
    else:
        if event["status"] not in ("ok", "skipped"):
            nb_man.cell_exception(cell, cell_index=event["index"])
            cell.metadata.papermill["exception"] = cell.cell_type == "code"  # papermill looks for outputs there
        nb_man.cell_complete(cell, cell_index=event["index"])


def _pass_on(
    nb_man: NotebookExecutionManager, output: Any, log_output: bool, stdout_file: Any, stderr_file: Any
) -> None:
    """papermill's own treatment of printed text: autosave, `--log-output`, `--stdout-file`, `--stderr-file`."""
    nb_man.autosave_cell()
    if not output or output.output_type != "stream":
        return
    target = stdout_file if output.name == "stdout" else stderr_file
    if target:
        target.write(output.text)
        target.flush()
    if log_output:
        logger.info(output.text)
