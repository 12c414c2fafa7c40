"""Run a function on several ranks from a notebook and get its results back, by rank.

    results = launch(train, world_size=2, epochs=5)

Whatever happens (an exception, a crash, a deadlock, an interrupted cell), it ends with results or with one error that
names the cause, and no process is left behind. It runs on one machine; for several, use torchrun there (lesson 17).
"""

import contextlib
import inspect
import math
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from course_utils.distributed.fork_launcher import ForkedRanks
from course_utils.distributed.outcome import LaunchTimeout, RankError, results_or_error, timeout_error
from course_utils.distributed.run_folder import Job, RunFolder
from course_utils.distributed.torchrun_launcher import TorchrunRanks, command_line
from course_utils.errors import EnvironmentProblem, UserError

__all__ = ["LaunchTimeout", "RankError", "launch"]

MAX_WORLD_SIZE = 64
POLL_S = 0.2
STACK_WAIT_S = 2.0
MAX_LINES = 200  # printed per rank
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def launch(
    target: Callable[..., Any] | str,
    world_size: int,
    timeout_s: float = 60,
    via: Literal["fork", "torchrun"] = "fork",
    *,
    init_group: bool = True,
    **kwargs: Any,
) -> list[Any]:
    """Call `target(**kwargs)` on `world_size` ranks, one thread each, and return what it returned, by rank.

    `target` is a function of an importable module (in a notebook: one saved with `%%module`), or its name in the form
    "module:name". Each rank finds the default process group ready (gloo; NCCL beside it where every rank has its own
    GPU), unless `init_group=False`: then the function joins it itself, as a plain script does. RANK, WORLD_SIZE
    and LOCAL_RANK are set either way. `via="fork"` takes 0.1 s after the first time;
    `via="torchrun"` is PyTorch's launcher, takes seconds and prints the command. What ranks print appears afterwards,
    in rank order.

    Raises UserError if the call cannot work (no such function, world_size below 1, arguments or results that cannot
    travel), RankError with the first failing rank's traceback, and LaunchTimeout saying where each rank stood.
    """
    _check_numbers(world_size, timeout_s, via)
    job = Job(_target_name(target, kwargs), kwargs, init_group, [entry or os.getcwd() for entry in sys.path])
    with tempfile.TemporaryDirectory(prefix="course-launch-", ignore_cleanup_errors=True) as path:
        folder = RunFolder(path)
        _write_job(folder, job)
        env = rank_environment()
        if via == "fork":
            ranks = ForkedRanks(folder, world_size, env)
        else:
            print("$ " + command_line(job, world_size), flush=True)
            ranks = TorchrunRanks(folder, world_size, env, job)
        try:
            with ranks:
                if supervise(ranks, folder, world_size, timeout_s):
                    raise timeout_error(folder, world_size, job.target, timeout_s)
                codes = dict(ranks.codes)  # before what still runs is killed: that is our doing, not the cause
        finally:
            _print_output(folder, world_size)
        return results_or_error(folder, world_size, job.target, codes, ranks.said)


def supervise(ranks: ForkedRanks | TorchrunRanks, folder: RunFolder, world_size: int, timeout_s: float) -> bool:
    """Wait until all ranks have ended, or one has failed and the others had their grace. Returns whether it is late."""
    deadline = time.monotonic() + timeout_s
    failed_at = math.inf
    while not ranks.wait(min(POLL_S, deadline - time.monotonic())):
        now = time.monotonic()
        if failed_at == math.inf and _has_failed(ranks, folder, world_size):
            failed_at = now
        if now > failed_at + ranks.grace_s:
            return False
        if now > deadline:
            ranks.dump_stacks()
            _wait_for_stacks(folder, world_size)
            return True
    return False


def rank_environment() -> dict[str, str]:
    """The environment of ranks: ours, one thread each, this machine's loopback interface, our package importable."""
    env = dict(os.environ) | dict.fromkeys(THREADS, "1")
    env.setdefault(
        "GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0"
    )  # names of laptops often resolve badly
    env.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    env.setdefault("RES_OPTIONS", "timeout:1 attempts:1")  # torchrun asks for names that it only logs: do not wait long
    # Where a target asks for more threads: waiting ones sleep. Spinning, they lose a factor of 5 to 20 on a busy core.
    env.setdefault("GOMP_SPINCOUNT", "0")
    # Last, so that whatever comes first on the path stays first.
    package_root = str(Path(__file__).parents[2])
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), package_root]))
    return env


def _has_failed(ranks: ForkedRanks | TorchrunRanks, folder: RunFolder, world_size: int) -> bool:
    """Whether some rank has reported a failure, or has ended without a result."""
    ended = [rank for rank in ranks.codes if not folder.has_result(rank)]
    return bool(ended) or any(folder.failure(rank) for rank in range(world_size))


def _wait_for_stacks(folder: RunFolder, world_size: int) -> None:
    """Give running ranks a moment to write their stacks."""
    deadline = time.monotonic() + STACK_WAIT_S
    while time.monotonic() < deadline:
        running = [rank for rank in range(world_size) if folder.pid(rank) is not None and not folder.failure(rank)]
        if all("run_rank" in folder.text(rank, "stack") for rank in running):
            return
        time.sleep(0.02)


def _check_numbers(world_size: int, timeout_s: float, via: str) -> None:
    if isinstance(world_size, bool) or not isinstance(world_size, int) or not 1 <= world_size <= MAX_WORLD_SIZE:
        raise UserError(f"world_size must be a whole number from 1 to {MAX_WORLD_SIZE}, not {world_size!r}.")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s < math.inf:
        raise UserError(f"timeout_s must be a number of seconds above 0, not {timeout_s!r}.")
    if via not in ("fork", "torchrun"):
        raise UserError(f'via must be "fork" or "torchrun", not {via!r}.')
    if not hasattr(os, "fork"):
        raise EnvironmentProblem("Ranks are started with Linux's or macOS's processes. On Windows, use WSL or Colab.")


def _target_name(target: Callable[..., Any] | str, kwargs: dict[str, Any]) -> str:
    """ "module:name" of what other processes shall import. Raises UserError where they could not."""
    if isinstance(target, str):
        return _checked_name(target)
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not callable(target) or not module or not name:
        raise UserError(f"The target must be a function or a text like 'module:function', not {target!r}.")
    if module == "__main__":
        raise UserError(
            f"The function {name} lives in the notebook (or in a script), where other processes cannot find it. "
            "Put `%%module my_module.py` on the first line of its cell, then import it from there."
        )
    if "<" in name or "." in name:
        raise UserError(
            f"{name} is a lambda, a method or a function inside a function: other processes cannot import it. "
            "Define it with `def` at the top level of a module."
        )
    try:
        inspect.signature(target).bind(**kwargs)
    except TypeError as problem:
        raise UserError(
            f"{name} cannot be called like this: {problem}. Got: {', '.join(kwargs) or 'nothing'}."
        ) from None
    return f"{module}:{name}"


def _checked_name(target: str) -> str:
    module, colon, name = target.partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise UserError(f"A target given as text has the form 'module:function', not {target!r}.")
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = find_spec(module)
    if spec is None:
        raise UserError(
            f"There is no module {module!r} to import {name} from. Did the cell `%%module {module}.py` run?"
        )
    return target


def _write_job(folder: RunFolder, job: Job) -> None:
    try:
        folder.write_job(job)
    except (pickle.PicklingError, AttributeError, TypeError) as problem:
        raise UserError(
            f"The arguments {', '.join(job.kwargs)} of {job.target} cannot travel to other processes: {problem}. "
            "Pass numbers, strings, lists or tensors, not open files, locks or functions of the notebook."
        ) from None


def _print_output(folder: RunFolder, world_size: int) -> None:
    """What the ranks printed, in rank order, each line under its rank's name."""
    for kind, stream in (("out", sys.stdout), ("err", sys.stderr)):
        for rank in range(world_size):
            lines = folder.text(rank, kind).splitlines()
            if len(lines) > MAX_LINES:
                lines = [f"... {len(lines) - MAX_LINES} earlier lines ...", *lines[-MAX_LINES:]]
            for line in lines:
                print(f"[rank {rank}] {line}", file=stream)
