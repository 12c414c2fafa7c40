"""A process with torch already imported that forks ranks on request: a launch takes milliseconds instead of seconds.

It computes nothing itself (a process that has used its threads must not fork) and outlives no one: when its client is
gone it kills its ranks and ends. `fork_launcher` is its client. Messages are lines of JSON over a socket pair.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys

from course_utils.distributed.run_folder import Failure, RunFolder
from course_utils.distributed.worker import die_with_parent, run_rank

SAFE_GROUPS = "course_utils.distributed.safe_groups"
# torch._dynamo is what the first optimizer a process makes would import, for a second.
PRELOAD = ("torch", "torch.distributed", "torch.nn.parallel", "torch.utils.data", "torch._dynamo", SAFE_GROUPS)


class Server:
    """Forks the ranks of one launch at a time and reports how each ended."""

    def __init__(self, client: socket.socket):
        self.client = client
        self.ranks: dict[int, int] = {}  # process id -> rank

    def serve(self) -> None:
        """Answer until the client is gone; then leave no rank behind."""
        wakeup, signalled = socket.socketpair()
        signalled.setblocking(False)
        wakeup.setblocking(False)
        signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(self.client, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        waiting = b""
        while True:
            for key, _ in selector.select():
                data = key.fileobj.recv(65536)
                if key.fileobj is wakeup:
                    self.report_exits()
                elif not data:
                    return self.signal_ranks(signal.SIGKILL)
                else:
                    *lines, waiting = (waiting + data).split(b"\n")
                    for line in lines:
                        self.answer(json.loads(line))

    def answer(self, message: dict) -> None:
        if message["do"] == "signal":
            self.signal_ranks(message["number"])
        else:
            for rank in range(message["world_size"]):
                self.fork_rank(rank, message)

    def fork_rank(self, rank: int, message: dict) -> None:
        """Start one rank, in a process group of its own so that its children can be ended with it."""
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)  # here and in the child: whoever comes second fails, and nobody acts in between
            self.ranks[pid] = rank
            return
        try:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            die_with_parent()
            self.client.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become_rank(rank, message)
        finally:
            os._exit(1)

    def signal_ranks(self, number: int) -> None:
        """Send a signal to the ranks that still run; SIGKILL goes to everything they have started, too."""
        for pid in self.ranks:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if number == signal.SIGKILL else os.kill)(pid, number)

    def report_exits(self) -> None:
        while self.ranks:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what a rank started ends with it
            rank = self.ranks.pop(pid)
            reply = {"rank": rank, "code": os.waitstatus_to_exitcode(status)}
            self.client.sendall(json.dumps(reply).encode() + b"\n")


def become_rank(rank: int, message: dict) -> None:
    """In a fresh child: take over the client's surroundings, then do the job. Never returns."""
    import random

    import numpy as np

    world_size = message["world_size"]
    folder = RunFolder(message["folder"])
    os.environ.clear()
    os.environ.update(message["env"])
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
    os.environ.update({name: str(number) for name, number in numbers.items()})
    random.seed()  # otherwise every rank of every launch would draw the numbers this server would have drawn
    np.random.seed()
    try:
        os.chdir(message["cwd"])
    except OSError as problem:
        folder.fail(rank, Failure("exception", f"the working folder cannot be entered: {problem.strerror}"))
        os._exit(1)
    run_rank(folder, rank)


def main() -> None:
    """Import what ranks need, then serve the client whose socket is inherited under the number given."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted notebook decides itself what to stop
    client = socket.socket(fileno=int(sys.argv[1]))
    for name in PRELOAD:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # keep the collector from touching, and so copying, every page in each child
    Server(client).serve()


if __name__ == "__main__":
    main()
