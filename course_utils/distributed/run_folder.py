"""The folder a launch and its ranks talk through: the job, and for each rank its output, result, failure and stack.

Files, because they survive whatever happens to a rank. It starts nothing and imports no torch.
"""

import json
import os
import pickle
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "COURSE_RUN_FOLDER"  # tells a rank started by torchrun where its launcher listens
MACHINERY = ("worker.py", "forkserver.py", "run_folder.py", "safe_groups.py")
# Frames of our own machinery are left out of what a learner reads.
INTERNALS = {str(Path(__file__).with_name(name)) for name in MACHINERY}


@dataclass(frozen=True)
class Job:
    """What every rank does: call `target` ("module:name") with `kwargs`, inside a process group if `init_group`."""

    target: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    init_group: bool = True
    sys_path: list[str] | None = None


@dataclass(frozen=True)
class Failure:
    """Why a rank gave up. `kind`: target, kwargs or result (what the caller passed is wrong), or exception."""

    kind: str
    summary: str  # one line, "ValueError: ..."
    details: str = ""  # the traceback
    time: float = 0.0  # seconds since the epoch: the earliest failure is the cause, later ones its consequences


class RunFolder:
    """Reads and writes the files of one launch. Writes are atomic: a reader sees a whole file or none."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def file(self, rank: int, kind: str) -> Path:
        """The file of a rank: out, err, pid, result, failure, stack or done."""
        return self.path / f"rank{rank}.{kind}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that nobody can see half of it."""
        temporary = self.path / f".{name}.{os.getpid()}"
        temporary.write_bytes(content)
        os.replace(temporary, self.path / name)

    def write_rank(self, rank: int, kind: str, content: bytes = b"") -> None:
        self.write(f"rank{rank}.{kind}", content)

    def write_job(self, job: Job) -> None:
        """Raises what pickle raises when an argument cannot travel to another process."""
        # The arguments are pickled apart: their classes are importable only after sys.path is set.
        self.write("job", pickle.dumps((job.target, job.init_group, job.sys_path, pickle.dumps(job.kwargs))))

    def read_job(self) -> Job:
        """The job; extends this process's sys.path by what the launching process could import."""
        target, init_group, sys_path, kwargs = pickle.loads((self.path / "job").read_bytes())
        sys.path.extend(entry for entry in sys_path or [] if entry not in sys.path)
        return Job(target, pickle.loads(kwargs), init_group, sys_path)

    def fail(self, rank: int, failure: Failure) -> None:
        self.write_rank(rank, "failure", json.dumps(asdict(failure)).encode())

    def failure(self, rank: int) -> Failure | None:
        """Why a rank gave up, or None if it did not say."""
        path = self.file(rank, "failure")
        return Failure(**json.loads(path.read_bytes())) if path.exists() else None

    def has_result(self, rank: int) -> bool:
        return self.file(rank, "result").exists()

    def result(self, rank: int) -> Any:
        """What the target returned on a rank. The file was written by our own process, so unpickling it is safe."""
        return pickle.loads(self.file(rank, "result").read_bytes())

    def pid(self, rank: int) -> int | None:
        """The rank's process id, or None if it has not started yet."""
        path = self.file(rank, "pid")
        return int(path.read_bytes()) if path.exists() else None

    def text(self, rank: int, kind: str) -> str:
        """What a rank has written to its `out`, `err` or `stack` file so far."""
        path = self.file(rank, kind)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def describe_exception(kind: str, error: BaseException) -> Failure:
    """A failure with a traceback as a learner wants it: no frames of ours, no folders of this machine."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in INTERNALS]
    for frame in frames:
        _ = frame.line  # read the source line before the file's name is shortened
        frame.filename = short_path(frame.filename)
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)] if frames else []
    last = traceback.format_exception_only(error)
    return Failure(kind, last[-1].strip(), "".join(lines + last).rstrip(), time.time())


def short_path(path: str) -> str:
    """A file's name; for an installed package, the path inside it (torch/nn/modules/linear.py)."""
    parts = Path(path).parts
    return "/".join(parts[parts.index("site-packages") + 1 :]) if "site-packages" in parts else Path(path).name


def signal_name(number: int) -> str:
    """9 -> "SIGKILL"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
