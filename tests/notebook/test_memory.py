"""The sampler with real processes: peaks, caps, and shared pages counted once."""

import os
import subprocess
import sys
import threading

import pytest
from run_helpers import wait_until

from course_utils.notebook.memory import MemorySampler

pytestmark = pytest.mark.multiprocess
HOLD = "import sys, time; kept = bytearray(int(sys.argv[1]) * 2**20); print('ready', flush=True); sys.stdin.read()"
FORKS = """
import os, sys
kept = bytearray(200 * 2**20)
children = []
for _ in range(3):
    if (pid := os.fork()) == 0:
        os.read(0, 1)
        os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""


def child(code: str, *arguments: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen) -> None:
    process.communicate()


def test_peak_of_a_child_and_the_mark():
    with MemorySampler(os.getpid()) as sampler:
        before = sampler.mark()
        process = child(HOLD, "120")
        held = sampler.read()
        end(process)
        assert held >= before + 120
        assert sampler.mark() < held - 100
        assert sampler.overall_peak_mb >= held


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="PSS is Linux")
def test_forked_processes_share_their_pages():
    with MemorySampler(os.getpid()) as sampler:
        sampler.mark()
        process = child(FORKS)
        used = sampler.read()
        end(process)
    assert 200 <= used < 400  # four processes of 200 MB each, the same pages


def test_the_cap_is_noticed_once():
    noticed = []
    event = threading.Event()

    def notice():
        noticed.append(1)
        event.set()

    with MemorySampler(os.getpid(), cap_mb=80, on_excess=notice) as sampler:
        process = child(HOLD, "100")
        assert event.wait(10)
        end(process)
        assert sampler.excess_mb > 80
    assert noticed == [1]


def test_below_the_cap_nothing_happens():
    with MemorySampler(os.getpid(), cap_mb=4000, on_excess=lambda: pytest.fail("no excess")) as sampler:
        process = child(HOLD, "20")
        assert wait_until(lambda: sampler.peak_mb > 20)
        end(process)
    assert sampler.excess_mb is None
