"""What `course run` shows while it works: on a terminal one live line below the finished ones, else plain lines only.

It prints; it knows nothing of kernels.
"""

import asyncio
import contextlib
import shutil
import sys
import time
from typing import TextIO

TICK_S = 0.5


class ProgressDisplay:
    """Finished lines scroll; the live line shows each running notebook, its cell and the time since it started."""

    def __init__(self, total: int, stream: TextIO | None = None):
        self.stream = stream or sys.stdout
        self.total, self.finished = total, 0
        self.is_live = self.stream.isatty()
        self._running: dict[str, tuple[float, str]] = {}
        self._ticker: asyncio.Task | None = None

    async def __aenter__(self) -> "ProgressDisplay":
        if self.is_live:
            self._ticker = asyncio.ensure_future(self._tick())
        return self

    async def __aexit__(self, *_) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._draw("")

    def start(self, slug: str, reason: str) -> None:
        """A notebook begins, for this reason."""
        self._running[slug] = (time.monotonic(), "starting")
        self.line(f"{slug:<28} running: {reason}")

    def cell(self, slug: str, index: int, count: int, name: str) -> None:
        """It has come to this cell."""
        if slug in self._running:
            self._running[slug] = (self._running[slug][0], f"cell {index + 1}/{count} {name}"[:40])

    def done(self, slug: str, text: str) -> None:
        """It has ended; `text` says how."""
        self._running.pop(slug, None)
        self.finished += 1
        self.line(f"{slug:<28} {text}")

    def line(self, text: str) -> None:
        """One line that stays."""
        if self.is_live:
            self._draw("")
        print(text, file=self.stream, flush=True)
        self._draw_running()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._draw_running()

    def _draw_running(self) -> None:
        if self.is_live and self._running:
            now = time.monotonic()
            parts = [f"{slug[:24]} {what} {elapsed(now - start)}" for slug, (start, what) in self._running.items()]
            self._draw(f"[{self.finished}/{self.total}] " + " | ".join(parts))

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self.stream.write(f"\r\x1b[2K{text[:width]}")
        self.stream.flush()


def elapsed(seconds: float) -> str:
    """`0:07`, `12:34`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
