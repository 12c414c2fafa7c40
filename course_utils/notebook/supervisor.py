"""Starts one kernel and outlives it by a moment: when the kernel or the runner is gone, every descendant is killed.

Run as a script (`supervised` gives the command line), isolated and without site packages, so that it starts in
milliseconds. Its standard input is a pipe that only the runner holds: end of file means that the runner is gone,
however it died. On Linux it is a child subreaper, so that processes that left their parent and session are still its
children; elsewhere it kills those it can see. It neither talks to the kernel nor restarts it.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_S = 0.5  # after a kernel ended in order: helpers of multiprocessing see their pipe close and leave by themselves
ROUND_S = 0.02
RUN_FOLDER = "course-run-"  # how the engine names a run's own folder, which a killed runner cannot remove


def supervised(command: list[str], report: str) -> list[str]:
    """The command line that runs `command` under supervision; `report` is the JSON file it writes when all is over.

    On Windows, which has neither process groups nor reaping, the command itself.
    """
    if sys.platform == "win32":
        return command
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), report, *command]


def _prctl(option, value):
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with_the_supervisor():
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


def _start(command):
    env = {**os.environ, "JPY_PARENT_PID": str(os.getpid())}  # the kernel leaves when its parent changes
    return subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_the_supervisor
    ).pid


def _watch_signals():
    """A pipe that gets one byte, the signal's number, for each signal that matters here."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, lambda *_: None)
    return reading


def _reap():
    """Collect everyone who has ended: {pid: wait status}; None when there is no child left at all."""
    ended = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended or None
        if pid == 0:
            return ended
        ended[pid] = status


def _wait_for_the_end(kernel, signals):
    """Block until the kernel has ended (its wait status) or must be ended (None)."""
    watched = [signals, sys.stdin.fileno()]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 1):
            return None
        received = os.read(signals, 64) if signals in ready else b""
        ended = _reap() or {}
        if kernel in ended:
            return ended[kernel]
        if signal.SIGTERM in received or signal.SIGHUP in received:
            return None
        if signal.SIGINT in received:
            os.killpg(kernel, signal.SIGINT)


def descendants(root: int) -> dict[int, str]:
    """Every living process below `root`: {pid: command}."""
    parents, commands = _processes()
    found, level = {}, {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level and pid not in found}
        found.update((pid, commands[pid]) for pid in level)
    return found


def _processes():
    """({pid: parent}, {pid: command}) of every process that is not a zombie."""
    parents, commands = {}, {}
    if os.path.isdir("/proc/self"):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    name, _, rest = file.read().partition("(")[2].rpartition(")")
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    command = file.read().replace("\0", " ").strip()
            except OSError:
                continue
            state, parent = rest.split()[:2]
            if state != "Z":
                parents[int(pid)], commands[int(pid)] = int(parent), command or name
    else:
        listing = subprocess.run(["ps", "-axo", "pid=,ppid=,stat=,command="], capture_output=True, text=True).stdout
        for line in listing.splitlines():
            pid, parent, state, command = line.split(None, 3)
            if not state.startswith("Z"):
                parents[int(pid)], commands[int(pid)] = int(parent), command
    return parents, commands


def _kill_all(grace):
    """Kill until no descendant is left; {pid: command} of those that did not leave within `grace` seconds."""
    killed, start = {}, time.monotonic()
    while (ended := _reap()) is not None:
        left = descendants(os.getpid())
        if time.monotonic() - start >= grace:
            for pid, command in left.items():
                killed.setdefault(pid, command)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        if not ended:
            time.sleep(ROUND_S)
    return killed


def _write(report, **facts):
    temporary = f"{report}.part"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(facts, file)
        os.replace(temporary, report)
    except OSError:
        pass  # the run's folder is gone: nobody is left to read it


def _runner_lives():
    """Whether somebody still holds the other end of our standard input."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], 0)
    return not ready


def main(report: str, command: list[str]) -> int:
    """Run `command`; returns its exit code, or 128 plus the signal's number."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    signals = _watch_signals()
    kernel = _start(command)
    status = _wait_for_the_end(kernel, signals)
    exit_code = None if status is None else os.waitstatus_to_exitcode(status)
    _write(report, exit_code=exit_code, left_behind=[])
    killed = _kill_all(GRACE_S if exit_code == 0 else 0.0)
    killed.pop(kernel, None)
    _write(report, exit_code=exit_code, left_behind=sorted(killed.values()))
    if os.path.basename(os.path.dirname(report)).startswith(RUN_FOLDER) and not _runner_lives():
        shutil.rmtree(os.path.dirname(report), ignore_errors=True)
    if exit_code is None:
        return 128 + signal.SIGTERM
    return exit_code if exit_code >= 0 else 128 - exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
