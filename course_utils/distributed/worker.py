"""What runs inside one rank: join the process group, call the target, hand its result back, leave safely.

    torchrun --standalone --nproc-per-node=2 -m course_utils.distributed.worker my_module:train epochs=5

Started like this from a terminal it needs no launcher; on a cluster only torchrun's own options change. It does not
start ranks (torchrun and the fork server do) and does not judge failures (`outcome` does).
"""

import argparse
import contextlib
import ctypes
import datetime
import faulthandler
import importlib
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from course_utils.distributed.run_folder import FOLDER_VARIABLE, Failure, Job, RunFolder, describe_exception

PR_SET_PDEATHSIG = 1
POLL_S = 0.002
GROUP_TIMEOUT = datetime.timedelta(minutes=30)


class TargetMissing(LookupError):
    """There is no such function in this process."""


def main() -> None:
    """The entry point under torchrun: RANK, WORLD_SIZE and LOCAL_RANK come from its environment variables."""
    die_with_parent()
    rank = int(os.environ.get("RANK", "0"))
    if folder := os.environ.get(FOLDER_VARIABLE):
        run_rank(RunFolder(folder), rank)
    job = parse_command_line()
    prepare_torch()
    call_target(job, find_target(job.target))
    wait_in_group()
    exit_now(0)


def parse_command_line() -> Job:
    """The job of a rank started by hand: `module:name`, then key=value arguments (JSON where it parses, else text)."""
    parser = argparse.ArgumentParser(prog="torchrun ... -m course_utils.distributed.worker", description=__doc__)
    parser.add_argument("target", help="module:function")
    parser.add_argument("kwargs", nargs="*", metavar="key=value", help="arguments of the function")
    parser.add_argument("--no-init", action="store_true", help="the function joins the process group itself")
    args = parser.parse_args()
    kwargs = {}
    for item in args.kwargs:
        key, _, value = item.partition("=")
        try:
            kwargs[key] = json.loads(value)
        except json.JSONDecodeError:
            kwargs[key] = value
    return Job(args.target, kwargs, init_group=not args.no_init)


def run_rank(folder: RunFolder, rank: int) -> None:
    """Do the job of a run folder as one rank, leaving a result or a failure behind. Never returns."""
    redirect_output(folder, rank)
    folder.write_rank(rank, "pid", str(os.getpid()).encode())
    kind = "kwargs"
    try:
        job = folder.read_job()
        kind = "exception"
        prepare_torch(folder)
        target = find_target(job.target)
        result = call_target(job, target)
        kind = "result"
        folder.write_rank(rank, "result", pickle.dumps(result))
    except TargetMissing as error:
        folder.fail(rank, Failure("target", str(error)))
        exit_now(1)
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: whatever ends a rank is told to the launcher
        folder.fail(rank, describe_exception(kind, error))
        exit_now(1)
    # Only now may a connection close: somebody may still be in the last collective. A collective of our own (a barrier)
    # would answer a call that another rank makes by mistake, and so hide a deadlock.
    folder.write_rank(rank, "done")
    wait_for_other_ranks(folder)
    exit_now(0)


def redirect_output(folder: RunFolder, rank: int) -> None:
    """Send everything this process prints, C++ included, to the rank's own files; dump its stack there on demand."""
    for stream, number in (("out", 1), ("err", 2)):
        descriptor = os.open(folder.file(rank, stream), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    # Not the locale's encoding: under LANG=C a learner's "Größe" must not end a rank.
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)  # a crash in C++ shows the Python line that led to it
    if hasattr(faulthandler, "register"):
        global _stack_file  # faulthandler needs it open until the end
        _stack_file = open(folder.file(rank, "stack"), "w", encoding="utf-8")  # noqa: SIM115
        faulthandler.register(signal.SIGUSR1, _stack_file, all_threads=True)


def prepare_torch(folder: RunFolder | None = None) -> None:
    """Make process groups safe, before the target's module can take hold of torch's functions."""
    from course_utils.distributed.safe_groups import keep_groups_alive, meet_through_file

    keep_groups_alive()
    if folder is not None:  # all ranks are on this machine, and see this folder
        meet_through_file(folder.path / "store", GROUP_TIMEOUT)


def find_target(target: str) -> Callable[..., Any]:
    """The function a "module:name" means, imported here. Raises TargetMissing if there is none."""
    module_name, _, name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name or module_name.startswith(f"{error.name}."):
            raise TargetMissing(f"there is no module {module_name!r}") from None
        raise  # the module is there; something that it imports is not
    if not callable(function := getattr(module, name, None)):
        raise TargetMissing(f"the module {module_name!r} has no function {name!r}")
    return function


def call_target(job: Job, target: Callable[..., Any]) -> Any:
    """Call the target with one thread, inside the default process group unless it wants to make its own."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if job.init_group:
        join_group()
    return target(**job.kwargs)


def join_group() -> None:
    """Join the default process group: gloo, and NCCL beside it for GPU tensors if every local rank has its own GPU."""
    import torch
    import torch.distributed as dist

    local_rank, local_world_size = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    has_own_gpu = torch.cuda.is_available() and torch.cuda.device_count() >= local_world_size
    if has_own_gpu:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_own_gpu else "gloo", timeout=GROUP_TIMEOUT)


def wait_for_other_ranks(folder: RunFolder) -> None:
    """Return when every rank has done its job. If one never does, the launcher ends this process."""
    world_size = int(os.environ["WORLD_SIZE"])
    while not all(folder.file(rank, "done").exists() for rank in range(world_size)):
        time.sleep(POLL_S)


def wait_in_group() -> None:
    """Wait for the other ranks, if this process is still in a group. A peer that is already gone does not matter."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        with contextlib.suppress(RuntimeError):
            dist.barrier()


def exit_now(code: int) -> None:
    """End the process without Python's and C++'s goodbyes, in which gloo's threads abort (3 exits of 10) or hang."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it is gone, however it went. Elsewhere: nothing."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


if __name__ == "__main__":
    main()
