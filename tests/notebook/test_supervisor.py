"""The supervisor with real processes: whoever dies first, nobody is left behind."""

import json
import os
import signal
import subprocess
import sys

import pytest
from run_helpers import alive, wait_until

from course_utils.notebook.supervisor import supervised

pytestmark = [
    pytest.mark.multiprocess,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="subreaper and /proc are Linux"),
]
# A "kernel" with three kinds of children: plain, in a session of its own, and forked twice (its parent is gone).
FAMILY = """
import os, subprocess, sys, time
folder = sys.argv[1]
def note(name, pid):
    with open(os.path.join(folder, name + ".part"), "w") as file: file.write(str(pid))
    os.replace(os.path.join(folder, name + ".part"), os.path.join(folder, name))
note("kernel", os.getpid())
note("plain", subprocess.Popen(["sleep", "300"]).pid)
note("session", subprocess.Popen(["sleep", "300"], start_new_session=True).pid)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        note("orphan", os.getpid())
        time.sleep(300)
    os._exit(0)
os.wait()
while not os.path.exists(os.path.join(folder, "orphan")):  # else it may be killed before it has said its number
    time.sleep(0.01)
END
"""
NAMES = ("kernel", "plain", "session", "orphan")


def start(tmp_path, end: str):
    """A supervised family; returns the supervisor, its pipe's writing end and the pids."""
    script = tmp_path / "family.py"
    script.write_text(FAMILY.replace("END", end))
    reading, writing = os.pipe()
    report = tmp_path / "report.json"
    command = supervised([sys.executable, str(script), str(tmp_path)], str(report))
    process = subprocess.Popen(command, stdin=reading, start_new_session=True)
    os.close(reading)
    assert wait_until(lambda: all((tmp_path / name).exists() for name in NAMES))
    return process, writing, {name: int((tmp_path / name).read_text()) for name in NAMES}, report


def gone(pids) -> bool:
    return wait_until(lambda: not any(alive(pid) for pid in pids.values()), 10)


def test_when_the_runner_is_gone_everyone_is_killed(tmp_path):
    process, writing, pids, _ = start(tmp_path, "time.sleep(300)")
    assert all(alive(pid) for pid in pids.values())
    os.close(writing)  # what the system does when the runner dies, of kill -9 too
    assert gone(pids)
    process.wait(10)


def test_a_termination_signal_kills_everyone(tmp_path):
    process, writing, pids, _ = start(tmp_path, "time.sleep(300)")
    process.terminate()
    assert process.wait(10) == 128 + signal.SIGTERM
    assert gone(pids)
    os.close(writing)


def test_when_the_kernel_leaves_its_family_is_killed_and_reported(tmp_path):
    process, writing, pids, report = start(tmp_path, "sys.exit(0)")
    assert process.wait(10) == 0
    assert gone(pids)
    said = json.loads(report.read_text())
    assert said["exit_code"] == 0
    assert said["left_behind"].count("sleep 300") == 2
    assert len(said["left_behind"]) == 3
    os.close(writing)


def test_a_crash_is_reported_with_its_signal(tmp_path):
    process, writing, pids, report = start(tmp_path, "os.kill(os.getpid(), 11)")
    assert process.wait(10) == 128 + signal.SIGSEGV
    assert json.loads(report.read_text())["exit_code"] == -signal.SIGSEGV
    assert gone(pids)
    os.close(writing)


def test_an_interrupt_reaches_the_kernel_and_not_the_supervisor(tmp_path):
    end = "\ntry:\n    time.sleep(300)\nexcept KeyboardInterrupt:\n    sys.exit(7)"
    process, writing, pids, _ = start(tmp_path, end)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 7
    assert gone(pids)
    os.close(writing)


def test_the_kernel_dies_with_its_supervisor(tmp_path):
    process, writing, pids, _ = start(tmp_path, "time.sleep(300)")
    process.kill()
    assert wait_until(lambda: not alive(pids["kernel"]), 10)
    process.wait(10)
    os.close(writing)
    for pid in pids.values():  # beyond what a dead supervisor can do
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
