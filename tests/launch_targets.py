"""What the ranks of test_launch.py do. A module, because other processes must import it."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
import torch.distributed as dist


def sum_of_ranks(offset: float = 0.0) -> tuple[int, float]:
    """This rank and the sum over all ranks of rank + offset, through a collective."""
    total = torch.tensor([dist.get_rank() + offset])
    dist.all_reduce(total)
    return dist.get_rank(), total.item()


def surroundings() -> dict:
    """What a rank finds around it."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "COURSE_TEST")
    return {
        "env": {name: os.environ.get(name) for name in names},
        "cwd": os.getcwd(),
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "backend": dist.get_backend(),
    }


def speak(lines: int = 2) -> None:
    for line in range(lines):
        print(f"Größe {line} of rank {dist.get_rank()}")
    print("a warning", file=sys.stderr)
    os.write(1, b"from C\n")


def joins_itself() -> float:
    dist.init_process_group("gloo")
    total = torch.ones(1)
    dist.all_reduce(total)
    dist.destroy_process_group()
    return total.item()


def returns_after_everyone_else(seconds: float) -> int:
    if dist.get_rank() == 1:
        time.sleep(seconds)
    return dist.get_rank()


def gives_up(how: str, bad_rank: int = 1) -> None:
    """One rank ends in one of many ways while the others wait for it."""
    if dist.get_rank() == bad_rank:
        if how == "raise":
            raise ValueError("bad batch: Größe 7")
        elif how == "sys.exit":
            sys.exit("goodbye")
        elif how == "segfault":
            ctypes.string_at(0)
        elif how.startswith("exit"):
            os._exit(int(how.removeprefix("exit")))
        else:
            os.kill(os.getpid(), int(how.removeprefix("signal")))
    dist.barrier()


def skips_a_collective() -> None:
    if dist.get_rank() != 0:
        dist.all_reduce(torch.ones(3))


def sleeps_in_python(seconds: float = 600) -> None:
    time.sleep(seconds)


def returns_a_lambda():
    return lambda: 0


def takes(value) -> object:
    return value


def leaves_pids_and_waits(folder: str) -> None:
    """Every rank starts a child of its own, notes both process ids, then never returns."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note = Path(folder) / f"{dist.get_rank()}.pids"
    note.with_suffix(".tmp").write_text(f"{os.getpid()} {child.pid}")
    note.with_suffix(".tmp").rename(note)
    threading.Event().wait()


def leaves_a_child() -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


def trains_and_leaves() -> float:
    """A whole DDP script in small: joins, trains, destroys its group while the model still refers to it."""
    dist.init_process_group("gloo")
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(200, 200))
    for _ in range(10):
        model(torch.ones(4, 200)).sum().backward()
    dist.destroy_process_group()
    return model.module.weight.grad.sum().item()
