"""nbval's kernel, made hermetic, supervised and quick to notice that it died.

Subclasses `nbval.kernel.RunningKernel` (private API of nbval 0.11.0; tests/notebook/test_nbval_plugin.py guards each
name used here). It starts, asks and stops one kernel; what the answers mean is `nbval_plugin`'s business.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager
from nbval.kernel import RunningKernel

from course_utils.notebook import kernel_folder
from course_utils.notebook.kernel_env import kernel_environment
from course_utils.notebook.supervisor import supervised

POLL_S = 0.2  # a dead kernel is noticed after this long
INTERRUPT_WAIT_S = 3.0  # for the traceback of an interrupted cell
STOP_WAIT_S = 10.0
PYTHON_KERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
NO_HISTORY = "--HistoryManager.enabled=False"
DISPLAY_TYPES = ("stream", "display_data", "execute_result", "error")


class KernelDied(RuntimeError):
    """The kernel process is gone; the message says how it ended and the last lines it wrote."""


class LessonKernel(RunningKernel):
    """One kernel in `folder`'s hermetic environment; `kernel_name` None means this very interpreter."""

    def __init__(self, kernel_name: str | None, cwd: Path, folder: Path, startup_timeout: float):
        self.folder, self.interrupted, self.startup_timeout = Path(folder), False, startup_timeout
        self.screen = Screen()
        self._pipe = None
        self.km = KernelManager(
            kernel_name=kernel_name or "python3",
            transport=kernel_folder.transport(self.folder),
            connection_file=kernel_folder.connection_file(self.folder),
        )
        try:
            self._start(kernel_name, cwd)
        except RuntimeError as problem:
            reason = self.last_words()
            self.stop()
            raise KernelDied(f"the kernel did not start ({problem}){reason}") from None

    def _start(self, kernel_name: str | None, cwd: Path) -> None:
        spec = self.km.kernel_spec_manager.get_kernel_spec(self.km.kernel_name)
        command = list(spec.argv) if kernel_name else [*PYTHON_KERNEL, NO_HISTORY]
        spec.argv = supervised(command, str(kernel_folder.supervisor_report(self.folder)))
        self.km._kernel_spec = spec
        reading, self._pipe = os.pipe()
        try:
            with open(kernel_folder.kernel_log(self.folder), "wb") as log:
                env = kernel_environment("default", self.folder)
                self.km.start_kernel(env=env, cwd=str(cwd), stdin=reading, stdout=log, stderr=log)
        finally:
            os.close(reading)
        self.kc = self.km.client()
        self.kc.start_channels()
        self.kc.wait_for_ready(timeout=self.startup_timeout)
        self._ensure_iopub_up()

    def await_reply(self, msg_id: str, timeout: float | None = None, **_: Any) -> dict[str, Any]:
        """The content of the reply to `msg_id`. Raises Empty after `timeout` seconds, KernelDied at once."""
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            message = self.get_message("shell", timeout=end - time.monotonic())
            if message["parent_header"].get("msg_id") == msg_id:
                return message["content"]

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """The next message; those that only change what is on the screen are applied and not returned."""
        limit = INTERRUPT_WAIT_S if self.interrupted else timeout
        end = time.monotonic() + (float("inf") if limit is None else limit)
        while True:
            left = end - time.monotonic()
            try:
                message = super().get_message(stream, timeout=max(0.0, min(POLL_S, left)))
            except Empty:
                if not self.is_alive():
                    raise KernelDied(f"the kernel died{self.last_words()}") from None
                if left <= POLL_S:
                    raise
                continue
            if stream != "iopub" or not self.screen.absorbs(message):
                return message

    def execute_cell_input(self, cell_input: str, allow_stdin: bool | None = None) -> str:
        """Send a cell; its messages will find an empty screen."""
        self.screen.msg_id = super().execute_cell_input(cell_input, allow_stdin)
        self.screen.clear_before_next = False
        return self.screen.msg_id

    def evaluate(self, expression: str, timeout: float) -> dict[str, Any]:
        """The kernel's answer to one expression, as `user_expressions` gives it. Raises Empty after `timeout`."""
        msg_id = self.kc.execute("", silent=True, store_history=False, user_expressions={"value": expression})
        content = self.await_reply(msg_id, timeout)
        with contextlib.suppress(Empty):
            self.await_idle(msg_id, timeout=1)
        return content.get("user_expressions", {}).get("value", {})

    def interrupt(self) -> None:
        """As Ctrl-C; from then on answers are waited for only briefly, since the cell may not listen."""
        super().interrupt()
        self.interrupted = True

    def stop(self) -> None:
        """End the kernel and, through its supervisor, every process below it. Safe to call twice."""
        if not hasattr(self, "km"):
            return
        if hasattr(self, "kc"):
            self.kc.stop_channels()
        process = getattr(self.km.provisioner, "process", None) if self.km.provisioner else None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_WAIT_S)
        if self._pipe is not None:
            os.close(self._pipe)  # end of file makes the supervisor finish, should it still be there
            self._pipe = None
        self.km.cleanup_resources()
        del self.km

    # -- what happened

    def last_words(self) -> str:
        """How the process ended, and what its logs say about it."""
        code = kernel_folder.exit_code(self.folder)
        how = (
            "" if code is None else f" by {kernel_folder.signal_name(-code)}" if code < 0 else f" with exit code {code}"
        )
        return how + "".join(f"\n  {line}" for line in kernel_folder.last_words(self.folder).splitlines())


class Screen:
    """The outputs of the running cell as a front end shows them: nbval knows neither clearing nor updating a display.

    `outputs` is the very list that nbval fills, so that changing it here changes what is compared.
    """

    def __init__(self):
        self.outputs: list[Any] = []
        self.msg_id = ""
        self.clear_before_next = False
        self._displays: dict[str, list[Any]] = {}
        self._output_widgets: set[str] = set()
        self._capturing: set[str] = set()

    def absorbs(self, message: dict[str, Any]) -> bool:
        """Apply `message`; True when nothing is left of it for nbval."""
        if message["parent_header"].get("msg_id") != self.msg_id:
            return False
        kind, content = message["msg_type"], message["content"]
        if kind == "clear_output":
            self.clear_before_next = content.get("wait", False)
            if not self.clear_before_next:
                del self.outputs[:]
            return True
        if kind == "update_display_data":
            for shown in self._displays.get(content["transient"].get("display_id"), []):
                shown.clear()
                shown.update(content["data"])
            return True
        if kind in ("comm_open", "comm_msg"):
            self._follow_widgets(kind, content)
            return False
        if kind in DISPLAY_TYPES and self._capturing:
            return True  # shown inside a widget, whose state is never committed
        if kind in DISPLAY_TYPES and self.clear_before_next:
            self.clear_before_next = False
            del self.outputs[:]
        if kind == "display_data" and (display_id := content.get("transient", {}).get("display_id")):
            content["data"] = nbformat.from_dict(content["data"])  # nbval keeps this very object
            self._displays.setdefault(display_id, []).append(content["data"])
        return False

    def _follow_widgets(self, kind: str, content: dict[str, Any]) -> None:
        """Between an Output widget's `msg_id` being set and emptied, what is printed belongs to the widget."""
        comm, state = content["comm_id"], content.get("data", {}).get("state", {})
        if kind == "comm_open" and state.get("_model_name") == "OutputModel":
            self._output_widgets.add(comm)
        if comm in self._output_widgets and "msg_id" in state:
            (self._capturing.add if state["msg_id"] else self._capturing.discard)(comm)
