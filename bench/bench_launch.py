"""Starting ranks: fifty launches in a row without a flake, by fork and by torchrun, and what one costs.

The promise is "no flake"; seconds are printed, beside those of a bare `torchrun` of an empty script, and not judged.
"""

import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist

from course_utils.distributed.launch import launch, rank_environment

LAUNCHES = 50
BARE_REPEATS = 3
EMPTY_SCRIPT = "import torch.distributed as dist\ndist.init_process_group()\ndist.destroy_process_group()\n"


def sum_of_ranks(offset: int) -> float:
    """A collective whose result depends on the launch, so that nobody else's answer can pass."""
    total = torch.tensor([float(dist.get_rank() + offset)])
    dist.all_reduce(total)
    return total.item()


def timed_launches(via: str, world_size: int) -> list[float]:
    """Seconds of each of fifty launches; AssertionError at the first wrong result."""
    seconds = []
    for offset in range(LAUNCHES):
        start = time.perf_counter()
        results = launch("bench.bench_launch:sum_of_ranks", world_size, via=via, offset=offset)
        seconds.append(time.perf_counter() - start)
        expected = sum(range(world_size)) + world_size * offset
        assert results == [expected] * world_size, (via, world_size, offset, results)
    return seconds


def bare_torchrun(world_size: int) -> list[float]:
    """Seconds of torchrun itself with a script that only joins and leaves the process group."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "empty.py"
        script.write_text(EMPTY_SCRIPT, encoding="utf-8")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world_size}"]
        for _ in range(BARE_REPEATS):
            start = time.perf_counter()
            subprocess.run([*command, str(script)], check=True, env=rank_environment(), capture_output=True)
            seconds.append(time.perf_counter() - start)
    return seconds


def row(name: str, seconds: list[float]) -> str:
    """Number of launches, the first, the median of the others and the slowest of them."""
    first, *others = seconds
    median, slowest = statistics.median(others), max(others)
    return (
        f"{name:<24}{len(seconds):>3} launches: first {first:5.2f} s, median {median:5.2f} s, at most {slowest:5.2f} s"
    )


def main() -> None:
    """Print the table. Takes about four minutes, nearly all of it torchrun's."""
    for world_size in (1, 2, 3):
        print(row(f"fork, {world_size} rank{'s' * (world_size > 1)}", timed_launches("fork", world_size)), flush=True)
    print(row("bare torchrun, 2 ranks", bare_torchrun(2)), flush=True)
    with contextlib.redirect_stdout(io.StringIO()):  # fifty times the same command
        seconds = timed_launches("torchrun", 2)
    print(row("torchrun, 2 ranks", seconds))
