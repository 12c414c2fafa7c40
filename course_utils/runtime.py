"""The machine a lesson runs on: device, seeds, threads, time, memory, scratch folder.

Knows nothing about models, data or ranks. torch is imported inside the functions that need it, so that importing this
module is instant; nothing here imports TensorFlow.
"""

import importlib.metadata
import os
import platform
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.errors import EnvironmentProblem
from course_utils.paths import cache_dir

if TYPE_CHECKING:
    import torch

REPORTED_PACKAGES = ("course-utils", "torch", "transformers", "tokenizers", "tensorflow", "numpy", "scikit-learn")
MEGABYTE = 1e6


def device() -> "torch.device":
    """The fastest device of this machine: "cuda" where torch finds a GPU, else "mps" on Apple silicon, else "cpu"."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, torch (every device) and, where a lesson already imported it, TensorFlow.

    Raises ValueError for a seed outside 0 .. 2**32 - 1, the range that NumPy takes.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"a seed is a whole number from 0 to {2**32 - 1}; got {seed}. Choose a smaller one.")
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)  # the legacy generator: scikit-learn and many lessons of others still draw from it
    torch.manual_seed(seed)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(seed)


def set_threads(n: int = 2) -> None:
    """Let torch use `n` threads for one operation, so that timings and sums do not depend on the machine's core count.

    Processes started afterwards inherit the number through OMP_NUM_THREADS.
    """
    if n < 1:
        raise ValueError(f"the number of threads must be at least 1; got {n}.")
    import torch

    os.environ["OMP_NUM_THREADS"] = str(n)
    torch.set_num_threads(n)


class Timer:
    """`with Timer() as timer: ...`, then `timer.seconds`: wall-clock time, the device's work included.

    A GPU runs behind the Python program, so the device is synchronised at both ends. Inside the block, `seconds` is the
    time so far (without synchronising).
    """

    def __init__(self) -> None:
        self._start: float | None = None
        self._end: float | None = None

    def __enter__(self) -> "Timer":
        synchronize()
        self._start, self._end = time.perf_counter(), None
        return self

    def __exit__(self, *exc_info) -> None:
        synchronize()
        self._end = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds from the start of the block to its end, or to now while it runs."""
        if self._start is None:
            raise RuntimeError("this timer was never started: use `with Timer() as timer:`.")
        return (time.perf_counter() if self._end is None else self._end) - self._start


def synchronize() -> None:
    """Wait until the device has done what was asked of it; a CPU has, and so has any device before torch loads."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def scratch(*parts: str) -> Path:
    """A folder for files that may be thrown away, created: below COURSE_SCRATCH, else below the course's cache.

    `scratch("05", "model")` is that folder's subfolder `05/model`. Lessons write nowhere else.
    Raises ValueError for a part that leads out of the scratch folder, EnvironmentProblem where it cannot be written.
    """
    root = Path(os.environ.get("COURSE_SCRATCH") or cache_dir() / "scratch").absolute()
    folder = root.joinpath(*parts)
    if not Path(os.path.normpath(folder)).is_relative_to(root):
        raise ValueError(f"scratch folders lie below {root}; {'/'.join(parts)!r} leads out of it. Use plain names.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the scratch folder {folder} cannot be created ({error.strerror}). "
            "Set COURSE_SCRATCH to a folder you may write to."
        ) from error
    return folder


@contextmanager
def expect_error(*types: type[BaseException]) -> Iterator[None]:
    """Show an error that a lesson provokes on purpose: prints `ValueError: message`, and the notebook goes on.

    Raises AssertionError if the block raises nothing, so that a demonstration which stopped failing is noticed.
    Errors of other types pass through.
    """
    if not types:
        raise TypeError("name the error you expect: `with expect_error(ValueError):`.")
    try:
        yield
    except types as error:
        print(f"{type(error).__name__}: {error}")
    else:
        names = " or ".join(kind.__name__ for kind in types)
        raise AssertionError(f"this cell shows a {names}, but its code raised nothing.")


def peak_memory_mb() -> float:
    """The most memory this process has held at once, in megabytes (10**6 bytes): resident, without its children."""
    status = Path("/proc/self/status")
    if status.is_file():  # exact on Linux, where getrusage also counts what the parent held before it started us
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / MEGABYTE
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / MEGABYTE
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE  # macOS counts bytes


def num_cores() -> int:
    """The processor cores this process may use: in a container or under `taskset` fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment_report() -> dict[str, object]:
    """What a result depends on, as plain values: Python, system, cores, memory (GB), device, package versions."""
    import psutil

    chosen = device()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": num_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "device": _device_name(chosen),
        "packages": {name: version for name in REPORTED_PACKAGES if (version := package_version(name))},
    }


def package_version(name: str) -> str | None:
    """The installed version of a distribution, without importing it; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device_name(chosen: "torch.device") -> str:
    import torch

    return torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else chosen.type
