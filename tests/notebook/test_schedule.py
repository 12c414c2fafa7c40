"""The schedule and the display: order, memory, limits, and what a terminal shows."""

import asyncio
import io
from types import SimpleNamespace

import psutil
import pytest

from course_utils.notebook.progress_display import ProgressDisplay, elapsed
from course_utils.notebook.schedule import run_all


def job(name: str, seconds: float = 1, share: float = 0.01) -> SimpleNamespace:
    """A job that is expected to take this share of the free memory."""
    free_mb = psutil.virtual_memory().available / 2**20
    return SimpleNamespace(name=name, expected_s=seconds, expected_mb=share * free_mb)


def run(jobs, limit: int) -> tuple[list[str], int]:
    """Names in the order they started, and how many ran at once at most."""
    started, running, most = [], set(), [0]

    async def work(one):
        started.append(one.name)
        running.add(one.name)
        most[0] = max(most[0], len(running))
        await asyncio.sleep(0.01)
        running.remove(one.name)

    asyncio.run(run_all(jobs, limit, work))
    return started, most[0]


def test_one_at_a_time_keeps_the_order():
    assert run([job("a", 1), job("b", 9), job("c", 5)], 1) == (["a", "b", "c"], 1)


def test_several_start_with_the_longest():
    assert run([job("a", 1), job("b", 9), job("c", 5)], 2) == (["b", "c", "a"], 2)


def test_memory_limits_how_many_run():
    assert run([job("a", share=0.6), job("b", share=0.6), job("c", share=0.6)], 3)[1] == 1
    assert run([job("a", share=5)], 3) == (["a"], 1)  # too large for the machine: alone, then


def test_one_that_raises_ends_the_others():
    ended = []

    async def work(one):
        try:
            if one.name == "bad":
                raise ValueError("no")
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append(one.name)
            raise

    with pytest.raises(ValueError):
        asyncio.run(run_all([job("slow", 9), job("bad")], 2, work))
    assert ended == ["slow"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(stream) -> str:
    async def main():
        async with ProgressDisplay(2, stream) as display:
            display.start("05_x", "new")
            display.cell("05_x", 3, 40, "train")
            await asyncio.sleep(0.6)
            display.done("05_x", "ok")

    asyncio.run(main())
    return stream.getvalue()


def test_plain_lines_where_nobody_watches():
    assert show(io.StringIO()).splitlines() == [f"{'05_x':<28} running: new", f"{'05_x':<28} ok"]


def test_a_live_line_on_a_terminal():
    said = show(Terminal())
    assert "[0/2] 05_x cell 4/40 train 0:00" in said
    assert said.endswith("\r\x1b[2K")  # and it is gone at the end


def test_elapsed():
    assert [elapsed(value) for value in (7.9, 754)] == ["0:07", "12:34"]
