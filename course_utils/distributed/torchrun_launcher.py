"""Starts ranks with torchrun, PyTorch's own launcher: seconds a start, and the command that also runs on clusters.

Run as a program it is torchrun on a leash: with the same arguments it does what torchrun does, but it ends with the
process that started it, and asks no name server for this machine's name.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any

import psutil

from course_utils.distributed.run_folder import FOLDER_VARIABLE, Job, RunFolder

WORKER = "course_utils.distributed.worker"
POLL_S = 0.05
TERMINATE_WAIT_S = 2
EXIT_CODE = re.compile(r"rank\s*:\s*(\d+) \(local_rank[^\n]*\n\s*exitcode\s*:\s*(-?\d+)")


def torchrun_arguments(job: Job, world_size: int) -> list[str]:
    """What follows the word `torchrun`."""
    arguments = ["--standalone", f"--nproc-per-node={world_size}", "-m", WORKER, job.target]
    arguments += [] if job.init_group else ["--no-init"]
    return arguments + [f"{key}={_as_text(value)}" for key, value in job.kwargs.items()]


def command_line(job: Job, world_size: int) -> str:
    """The command as a learner can type it in the folder that holds the target's module."""
    return shlex.join(["torchrun", *torchrun_arguments(job, world_size)])


def _as_text(value: Any) -> str:
    """JSON where there is such a form; a value that has none travels in the run folder, and here is only named."""
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError):
        return f"<{type(value).__name__}>"


class TorchrunRanks:
    """The ranks of one launch. Use it as a context manager: leaving it ends what still runs."""

    grace_s = 8.0  # torchrun needs a while to end the others and to say which rank went first

    def __init__(self, folder: RunFolder, world_size: int, env: dict[str, str], job: Job):
        self.folder, self.world_size = folder, world_size
        self.arguments = torchrun_arguments(job, world_size)
        self.env = env | {FOLDER_VARIABLE: str(folder.path)}
        self.codes: dict[int, int] = {}  # rank -> exit code, as far as torchrun tells
        self.said = ""  # torchrun's own words

    def __enter__(self) -> "TorchrunRanks":
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "course_utils.distributed.torchrun_launcher", *self.arguments],
            env=self.env,
            start_new_session=True,  # an interrupt of the notebook is for the notebook
            stdin=subprocess.PIPE,  # the leash: it ends when this process does
            stdout=self.log,
            stderr=self.log,
        )
        return self

    def __exit__(self, *_) -> None:
        self._stop()
        self.log.close()

    def wait(self, seconds: float) -> bool:
        """Wait for news from the ranks; returns whether all have ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(min(seconds, POLL_S), 0))
            self.log.seek(0)
            self.said = self.log.read().decode(errors="replace")
            self.codes = {int(rank): int(code) for rank, code in EXIT_CODE.findall(self.said)}
            return True
        for rank in range(self.world_size):
            if rank not in self.codes and _is_gone(self.folder.pid(rank)):
                self.codes[rank] = 0  # gone before torchrun was; if it failed, torchrun will say so when it ends
        return False

    def dump_stacks(self) -> None:
        """Have every rank write where it stands to its stack file."""
        self._signal_ranks(signal.SIGUSR1, os.kill)

    def _signal_ranks(self, number: int, send) -> None:
        for rank in range(self.world_size):
            pid = self.folder.pid(rank)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(pid, number)

    def _stop(self) -> None:
        """Kill torchrun and everything below it."""
        if self.process.poll() is None:
            kill_tree(self.process.pid)
        self.process.wait()
        self.process.stdin.close()
        self._signal_ranks(signal.SIGKILL, os.killpg)  # torchrun starts ranks in sessions of their own: what they left


def _is_gone(pid: int | None) -> bool:
    """Whether a rank that had started has ended (a zombie has)."""
    if pid is None:
        return False
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_tree(pid: int) -> None:
    """Kill a process and all its descendants."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [*root.children(recursive=True), root]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _watch_leash() -> None:
    """End with everything below as soon as the other end of our standard input is closed."""
    while os.read(0, 1024):
        pass
    kill_tree(os.getpid())


def main() -> None:
    """torchrun on a leash."""
    from course_utils.distributed.worker import die_with_parent

    die_with_parent()
    threading.Thread(target=_watch_leash, daemon=True).start()
    # On one machine there is no name to look up, and a laptop with a slow name server waits seconds for each of the
    # eight times torchrun asks.
    socket.getfqdn = lambda name="": name or "localhost"
    from torch.distributed.run import main as torchrun

    torchrun(sys.argv[1:])


if __name__ == "__main__":
    main()
