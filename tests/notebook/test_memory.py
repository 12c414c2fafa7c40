"""The sampler with real processes: peaks, caps, and shared pages counted once."""

import json
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


# Starts and ends one child at a time. The tests' own process may have other children, of other tests.
ROOT = """
import json, subprocess, sys
for line in sys.stdin:
    if arguments := json.loads(line):
        child = subprocess.Popen([sys.executable, "-c", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
    else:
        child.communicate()
    print("done", flush=True)
"""


class Root:
    """A process whose only child is the one a test starts."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", ROOT], **pipes)
        self.pid = self.process.pid

    def start(self, *arguments: str) -> None:
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        self.start()


@pytest.fixture
def root():
    process = Root()
    yield process
    process.process.communicate()


def test_peak_of_a_child_and_the_mark(root):
    with MemorySampler(root.pid) as sampler:
        before = sampler.mark()
        root.start(HOLD, "120")
        held = sampler.read()
        root.end()
        assert held >= before + 120
        assert sampler.mark() < held - 100
        assert sampler.overall_peak_mb >= held


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="PSS is Linux")
def test_forked_processes_share_their_pages(root):
    with MemorySampler(root.pid) as sampler:
        sampler.mark()
        root.start(FORKS)
        used = sampler.read()
        root.end()
    assert 200 <= used < 400  # four processes of 200 MB each, the same pages


def test_the_cap_is_noticed_once(root):
    noticed = []
    event = threading.Event()

    def notice():
        noticed.append(1)
        event.set()

    with MemorySampler(root.pid, cap_mb=80, on_excess=notice) as sampler:
        root.start(HOLD, "100")
        assert event.wait(10)
        root.end()
        assert sampler.excess_mb > 80
    assert noticed == [1]


def test_below_the_cap_nothing_happens(root):
    with MemorySampler(root.pid, cap_mb=4000, on_excess=lambda: pytest.fail("no excess")) as sampler:
        root.start(HOLD, "20")
        assert wait_until(lambda: sampler.peak_mb > 20)
        root.end()
    assert sampler.excess_mb is None
