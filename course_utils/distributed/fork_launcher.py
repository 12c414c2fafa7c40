"""Starts ranks through the fork server: milliseconds a launch, once the server has imported torch.

It offers what `launch.supervise` needs (wait, dump_stacks, stop) and knows nothing of targets and results.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from course_utils.distributed.run_folder import RunFolder
from course_utils.errors import EnvironmentProblem

KILL_WAIT_S = 10  # a killed process ends at once; a hung disk or debugger must not hang the notebook


class ServerConnection:
    """The fork server of this process, started when first needed and again if it has died."""

    def __init__(self, env: dict[str, str]):
        self.owner = os.getpid()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.socket, theirs = socket.socketpair()
        # A session of its own: an interrupt of the notebook is for the notebook. -P: a learner's random.py is not ours.
        command = [sys.executable, "-P", "-m", "course_utils.distributed.forkserver", str(theirs.fileno())]
        self.process = subprocess.Popen(
            command,
            env=env,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )
        theirs.close()
        self.waiting = b""
        self.said = ""  # its last words, once it is closed

    def is_usable(self) -> bool:
        return self.owner == os.getpid() and self.process.poll() is None

    def send(self, message: dict) -> None:
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            raise self.gone() from None

    def receive(self, seconds: float) -> list[dict]:
        """The messages that arrive within some seconds; returns as soon as there are some."""
        if not select.select([self.socket], [], [], max(seconds, 0))[0]:
            return []
        data = self.socket.recv(65536)
        if not data:
            raise self.gone()
        *lines, self.waiting = (self.waiting + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def gone(self) -> EnvironmentProblem:
        """The server is dead: what it said last."""
        self.close()
        said = self.said
        code = self.process.returncode
        return EnvironmentProblem(
            f"The process that starts ranks ended unexpectedly (exit code {code}). It said: {said or 'nothing'}\n"
            "Run the cell again; if it happens twice, is there enough memory?"
        )

    def close(self) -> None:
        """Closing our end is the server's signal to kill its ranks and leave."""
        self.socket.close()
        try:
            self.process.wait(KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if not self.log.closed:
            self.log.seek(0)
            self.said = self.log.read().decode(errors="replace").strip()[-2000:]
            self.log.close()


_server: ServerConnection | None = None
_one_at_a_time = threading.Lock()


def _connection(env: dict[str, str]) -> ServerConnection:
    global _server
    if _server is None or not _server.is_usable():
        stop_server()
        _server = ServerConnection(env)
    return _server


@atexit.register
def stop_server() -> None:
    """End the fork server (it also ends by itself when this process does). The next launch starts a new one."""
    global _server
    server, _server = _server, None
    if server is not None and server.owner == os.getpid():
        server.close()


class ForkedRanks:
    """The ranks of one launch. Use it as a context manager: leaving it ends what still runs."""

    grace_s = 2.0  # after a first failure: time for the others to fail and say so themselves
    said = ""

    def __init__(self, folder: RunFolder, world_size: int, env: dict[str, str]):
        self.folder, self.world_size, self.env = folder, world_size, env
        self.codes: dict[int, int] = {}  # rank -> exit code, minus the signal's number if one killed it

    def __enter__(self) -> "ForkedRanks":
        _one_at_a_time.acquire()
        try:
            self.server = _connection(self.env)
            self.server.send(
                {
                    "do": "start",
                    "folder": str(self.folder.path),
                    "world_size": self.world_size,
                    "env": self.env,
                    "cwd": os.getcwd(),
                }
            )
        except BaseException:
            _one_at_a_time.release()
            raise
        return self

    def __exit__(self, *_) -> None:
        try:
            self._stop()
        finally:
            _one_at_a_time.release()

    def wait(self, seconds: float) -> bool:
        """Wait for news from the ranks; returns whether all have ended."""
        if len(self.codes) < self.world_size:
            self.codes |= {message["rank"]: message["code"] for message in self.server.receive(seconds)}
        return len(self.codes) == self.world_size

    def dump_stacks(self) -> None:
        """Have every rank write where it stands to its stack file."""
        self.server.send({"do": "signal", "number": signal.SIGUSR1})

    def _stop(self) -> None:
        """Kill what still runs and wait until it is gone, so that the next launch starts from nothing."""
        if len(self.codes) == self.world_size or not self.server.is_usable():
            return
        self.server.send({"do": "signal", "number": signal.SIGKILL})
        deadline = time.monotonic() + KILL_WAIT_S
        while not self.wait(deadline - time.monotonic()):
            if time.monotonic() > deadline:
                self.server.close()
                return
