"""How much memory a kernel and everything it started use, sampled 50 times a second.

Resident memory (RSS) counts a page once in every process that shares it, so forked ranks would be counted several times
over. A single process is therefore measured by RSS; a tree of several by the sum of PSS (each shared page divided among
its users), read only when the cheap RSS sum could be a new peak, because reading PSS costs milliseconds. Where there is
no PSS (macOS, Windows) the RSS sum stands, an upper bound. Memory of a GPU is not seen.
"""

import threading
import time
from collections.abc import Callable

import psutil

MB = 2**20
INTERVAL_S = 0.02
DISCOVERY_S = 0.2  # how often the tree is searched for new processes, which costs more than reading known ones
PSS_SHARE = 0.2  # reading PSS takes at most this share of the time


class MemorySampler:
    """Samples the processes below `root` (not `root` itself, which only supervises) in a thread of its own.

    `peak_mb` is the largest value since `mark()`. When the tree exceeds `cap_mb`, `on_excess()` is called once, from
    the thread, and `excess_mb` says what was seen.
    """

    def __init__(self, root: int, cap_mb: float | None = None, on_excess: Callable[[], None] = lambda: None):
        self.cap_mb, self.on_excess = cap_mb, on_excess
        self.peak_mb = self.overall_peak_mb = 0.0
        self.excess_mb: float | None = None
        self._root = root
        self._known: dict[int, psutil.Process] = {}
        self._next_discovery = self._next_pss = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def mark(self) -> float:
        """Start a new peak from what is used now; returns it in MB."""
        with self._lock:
            self.peak_mb = 0.0
            return self._sample(thorough=True)

    def read(self) -> float:
        """Sample once more and return the peak since `mark()` in MB."""
        with self._lock:
            self._sample(thorough=True)
            return self.peak_mb

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            with self._lock:
                self._sample()
            if self.excess_mb is not None:
                self.on_excess()
                return

    def _sample(self, thorough: bool = False) -> float:
        now = time.monotonic()
        if thorough or now >= self._next_discovery:
            self._discover()
            self._next_discovery = now + DISCOVERY_S
        rss = {pid: _resident(process) for pid, process in self._known.items()}
        used = sum(rss.values())
        limit = min(self.peak_mb, self.cap_mb or float("inf"))
        if sum(value > 0 for value in rss.values()) > 1 and (thorough or used > limit):
            if not thorough and now < self._next_pss:
                return used
            used = min(used, self._shared_out())
        self.peak_mb = max(self.peak_mb, used)
        self.overall_peak_mb = max(self.overall_peak_mb, used)
        if self.cap_mb and used > self.cap_mb and self.excess_mb is None:
            self.excess_mb = used
        return used

    def _discover(self) -> None:
        try:
            children = psutil.Process(self._root).children(recursive=True)
        except psutil.Error:
            children = []
        self._known = {child.pid: self._known.get(child.pid, child) for child in children}

    def _shared_out(self) -> float:
        start = time.monotonic()
        total = sum(_proportional(process) for process in self._known.values())
        end = time.monotonic()
        self._next_pss = end + (end - start) * (1 - PSS_SHARE) / PSS_SHARE
        return total


def _resident(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / MB
    except psutil.Error:
        return 0.0


def _proportional(process: psutil.Process) -> float:
    """PSS in MB where the system tells it, else RSS."""
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return _resident(process)
