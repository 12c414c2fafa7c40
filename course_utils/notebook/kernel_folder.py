"""What a kernel leaves in its run's folder: refused network attempts, how it ended, and its last words.

The engine and the nbval check each start kernels in their own way; both keep and read the same files. It reads only.
"""

import itertools
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from course_utils.notebook.kernel_env import crash_log, network_log

LOG_LINES = 25
SOCKET_PATH_BYTES = 80  # of the 108 that a Unix socket's path may have; the rest is for the socket's own name
# What a kernel writes while it starts, and the first frame of IPython below a cell.
_NOISE = re.compile(r"NOTE: When using|.*Extension modules:|.*frozen_modules|.*Debugger warning|\[IPKernelApp\]")
_FRAME_BELOW_THE_CELL = re.compile(r"[\\/]IPython[\\/]core[\\/]")


def transport(folder: Path) -> str:
    """Unix sockets where they exist and the path fits: two runs at once can never pick the same port."""
    return "ipc" if sys.platform != "win32" and len(os.fsencode(folder)) < SOCKET_PATH_BYTES else "tcp"


def connection_file(folder: Path) -> str:
    """Where the kernel's ports or sockets are written down."""
    return str(folder / "kernel.json")


def kernel_log(folder: Path) -> Path:
    """What the kernel's process writes to its own standard output and error."""
    return folder / "kernel.log"


def supervisor_report(folder: Path) -> Path:
    """Where the supervisor says how the kernel ended."""
    return folder / "supervisor.json"


def network_attempts(folder: Path) -> list[dict[str, Any]]:
    """What the sandbox refused so far."""
    try:
        lines = network_log(folder).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [json.loads(line) for line in lines]


def exit_code(folder: Path) -> int | None:
    """How the kernel process ended by itself: its exit code, minus a signal's number, or None."""
    try:
        return json.loads(supervisor_report(folder).read_text(encoding="utf-8"))["exit_code"]
    except (OSError, ValueError, KeyError):
        return None


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; `signal N` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_words(folder: Path) -> str:
    """The Python stack of a crash down to the cell, or the last lines that the kernel process wrote to its log."""
    crash = itertools.takewhile(lambda line: not _FRAME_BELOW_THE_CELL.search(line), _lines(crash_log(folder)))
    return "\n".join(list(crash)[:LOG_LINES] or _lines(kernel_log(folder))[-LOG_LINES:])


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return [line for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
