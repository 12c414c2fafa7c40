"""One supervised, hermetic kernel and the cells sent to it: what the engine adds to nbclient.

It runs one cell at a time and says how that went; which cells run, and what it means for the notebook, is the engine's
business.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode

from course_utils.notebook import kernel_folder
from course_utils.notebook.kernel_env import kernel_environment, network_log
from course_utils.notebook.memory import MemorySampler
from course_utils.notebook.refusing_proxy import RefusingProxy
from course_utils.notebook.supervisor import supervised

DEATH_POLL_S = 0.1
OUTPUT_WAIT_S = 20.0  # for outputs still on their way when the reply is here
INTERRUPT_WAIT_S = 3.0  # for the traceback of an interrupted cell
NETWORK_GRACE_S = 2.0  # for the cell to fail by itself, with a traceback
CLAIM_TIMEOUT_S = 30.0
SHUTDOWN_WAIT_S = 2.5  # ipykernel 7 hangs for 10 s in one of thirty ordered exits: its threads wait for each other
KILL_WAIT_S = 10.0
MAX_OUTPUT_MB = 20


class CellTimeout(Exception):
    """A cell ran longer than it may; it has been interrupted, so its output ends in the line where it hung."""


class KernelGone(Exception):
    """The kernel process ended while a cell ran."""


class NetworkSeen(Exception):
    """A cell tried to leave the machine and did not end soon afterwards: it would only try again."""


class OutputFlood(Exception):
    """A cell put out more than MAX_OUTPUT_MB."""


class CourseClient(NotebookClient):
    """A kernel of this very interpreter, whatever the notebook's metadata names, in `folder`'s hermetic environment."""

    def __init__(self, nb: NotebookNode, folder: Path, profile: str, workdir: Path, cap_mb: float | None):
        super().__init__(nb, record_timing=False)
        self.folder, self.profile, self.workdir, self.cap_mb = folder, profile, workdir, cap_mb
        self.memory: MemorySampler | None = None
        self.on_output: Callable[[NotebookNode | None], None] = lambda output: None
        self._pipe: int | None = None
        self._proxy = RefusingProxy(network_log(folder))
        self._output_size = 0

    async def start(self, startup_timeout: float) -> None:
        """Start the kernel below its supervisor and wait until it answers. Raises RuntimeError when it does not."""
        launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=0"]
        report = str(kernel_folder.supervisor_report(self.folder))
        spec = KernelSpec(argv=supervised(launcher, report), display_name="Python 3", language="python")
        self.km = AsyncKernelManager(
            transport=kernel_folder.transport(self.folder), connection_file=kernel_folder.connection_file(self.folder)
        )
        self.km._kernel_spec = spec
        reading, self._pipe = os.pipe()
        try:
            with open(kernel_folder.kernel_log(self.folder), "wb") as log:
                await self.km.start_kernel(
                    env=kernel_environment(self.profile, self.folder, proxy=await self._proxy.start()),
                    cwd=str(self.workdir),
                    stdin=reading,
                    stdout=log,
                    stderr=log,
                )
        finally:
            os.close(reading)
        self.memory = MemorySampler(self.km.provisioner.pid, self.cap_mb, self._terminate).__enter__()
        self.kc = self.km.client()
        self.kc.start_channels()
        await self.kc.wait_for_ready(timeout=startup_timeout)
        self.kc.allow_stdin = False

    async def stop(self, in_order: bool = True) -> None:
        """End the kernel, `in_order` (its exit handlers run) or at once, and with it every process that it started."""
        if self.km is None:
            return
        if in_order and self.kc is not None and await self.km.is_alive():
            with contextlib.suppress(Exception):
                await self.km.request_shutdown()
                await asyncio.wait_for(self._wait_for_death(), SHUTDOWN_WAIT_S)
        self._terminate()
        if self.memory is not None:
            self.memory.__exit__()
            self.memory = None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wait_for_death(), KILL_WAIT_S)
        await self._close()

    async def _close(self) -> None:
        if self.kc is not None:
            self.kc.stop_channels()
        await self.km.cleanup_resources()
        if self._pipe is not None:
            os.close(self._pipe)  # last of all: end of file makes the supervisor finish, should it still be there
            self._pipe = None
        self._proxy.stop()
        self.km = self.kc = None

    def _terminate(self) -> None:
        """Tell the supervisor to kill everything. Safe from any thread, and when nobody is left."""
        process = getattr(self.km.provisioner, "process", None) if self.km and self.km.provisioner else None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)

    async def _wait_for_death(self) -> None:
        while await self.km.is_alive():
            await asyncio.sleep(DEATH_POLL_S)

    async def _wait_for_network(self) -> None:
        while not network_log(self.folder).exists():
            await asyncio.sleep(DEATH_POLL_S)
        await asyncio.sleep(NETWORK_GRACE_S)

    # -- cells

    async def run_cell(self, cell: NotebookNode, index: int, timeout: float | None) -> dict[str, Any]:
        """Execute one code cell; returns the content of the kernel's reply (`status` ok or error).

        Raises CellTimeout, KernelGone, NetworkSeen or OutputFlood; the cell keeps the outputs it had by then.
        """
        cell.outputs, cell.execution_count = [], None
        self.clear_before_next_output, self._output_size = False, 0
        message_id = self.kc.execute(cell.source, store_history=True, allow_stdin=False)
        outputs = asyncio.ensure_future(self._collect_outputs(message_id, cell, index))
        reply = asyncio.ensure_future(self._reply(message_id))
        try:
            done = await self._first_of(reply, outputs, timeout)
            if done is None:
                await self._interrupt(reply, outputs)
                raise CellTimeout
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(outputs), OUTPUT_WAIT_S)
            return done
        finally:
            outputs.cancel()
            reply.cancel()

    async def _first_of(self, reply: asyncio.Future, outputs: asyncio.Future, timeout: float | None) -> dict | None:
        """The reply's content, or None after `timeout` seconds; raises when the kernel dies or outputs fail first."""
        death = asyncio.ensure_future(self._wait_for_death())
        flood = asyncio.ensure_future(self._failure_of(outputs))
        network = asyncio.ensure_future(self._wait_for_network())
        watched = {reply, death, flood, network}
        try:
            done, _ = await asyncio.wait(watched, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in watched - {reply}:
                task.cancel()
        if reply in done:
            return reply.result()
        if network in done:
            raise NetworkSeen
        if flood in done:
            raise flood.result()
        if death in done:
            await asyncio.sleep(DEATH_POLL_S)  # the last outputs are in the socket
            raise KernelGone
        return None

    @staticmethod
    async def _failure_of(outputs: asyncio.Future) -> Exception:
        await asyncio.wait({outputs})
        if outputs.cancelled() or outputs.exception() is None:
            await asyncio.Event().wait()  # collecting ended well: never the first
        return outputs.exception()

    async def _interrupt(self, reply: asyncio.Future, outputs: asyncio.Future) -> None:
        """Ask the hanging cell for its traceback, as Ctrl-C would."""
        await self.km.interrupt_kernel()
        await asyncio.wait({reply, outputs}, timeout=INTERRUPT_WAIT_S)

    async def _reply(self, message_id: str) -> dict[str, Any]:
        while True:
            message = await self.kc.shell_channel.get_msg(timeout=None)
            if message["parent_header"].get("msg_id") == message_id:
                return message["content"]

    async def _collect_outputs(self, message_id: str, cell: NotebookNode, index: int) -> None:
        while True:
            message = await self.kc.iopub_channel.get_msg(timeout=None)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            self._output_size += sum(len(part) for part in message["content"].values() if isinstance(part, str))
            if self._output_size > MAX_OUTPUT_MB * 2**20:
                raise OutputFlood
            try:
                self.on_output(self.process_message(message, cell, index))
            except CellExecutionComplete:
                return

    async def evaluate(self, expressions: list[str]) -> list[dict[str, Any]]:
        """The kernel's answers to Python expressions, as `user_expressions` gives them; no trace in the notebook."""
        asked = {f"claim{number}": expression for number, expression in enumerate(expressions)}
        message_id = self.kc.execute("", silent=True, store_history=False, user_expressions=asked)
        reply = asyncio.ensure_future(self._reply(message_id))
        outputs = asyncio.ensure_future(asyncio.sleep(0))
        try:
            content = await self._first_of(reply, outputs, CLAIM_TIMEOUT_S)
        finally:
            reply.cancel()
        if content is None:
            raise CellTimeout
        answers = content.get("user_expressions", {})
        return [answers.get(name, {"status": "error"}) for name in asked]

    # -- what happened

    def children(self) -> list[str]:
        """Commands of the processes that run below the kernel now, without the helpers that Python ends by itself."""
        import psutil

        with contextlib.suppress(psutil.Error, IndexError):
            below = psutil.Process(self.km.provisioner.pid).children(recursive=True)
            return [text for child in below[1:] if (text := _command(child)) and not _HELPER.search(text)]
        return []


_HELPER = re.compile(r"multiprocessing\.(resource_tracker|forkserver|spawn)|course_utils\.distributed\.forkserver")


def _command(process: Any) -> str:
    import psutil

    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return ""
