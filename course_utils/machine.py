"""What hardware a machine has, found without loading torch or TensorFlow: graphics cards, TPUs, memory.

Used by `course doctor` before it is known that anything else works. Judges nothing.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Gpu:
    """A graphics card as the driver describes it."""

    name: str
    memory_gb: float


def find_gpus() -> list[Gpu]:
    """NVIDIA cards as the driver's own tool lists them; empty without the tool, or if it does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=10)
        lines = [line.rsplit(",", 1) for line in result.stdout.splitlines() if result.returncode == 0]
        return [Gpu(name.strip(), float(mebibytes) * 2**20 / 1e9) for name, mebibytes in lines]
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []


def find_tpus() -> str:
    """What shows a TPU: device files, or the address that notebook services set; "" if none."""
    devices = sorted(str(path) for path in Path("/dev").glob("accel[0-9]*"))
    return ", ".join(devices) or os.environ.get("TPU_NAME", "") or os.environ.get("COLAB_TPU_ADDR", "")


def memory_gb() -> tuple[float, float]:
    """Total and available memory, within the limit of a container."""
    import psutil

    memory = psutil.virtual_memory()
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    cap = memory.total if text == "max" else min(int(text), memory.total)
    return cap / 1e9, min(memory.available, cap) / 1e9
