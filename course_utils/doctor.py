"""`course doctor`: is this machine ready for the course? One table of OK, WARN and FAIL, with the fix for each.

Fast enough for a lesson's first cell: versions come from package metadata, no TensorFlow is imported, and torch only
where a GPU was seen. The network is tried by the command alone: lessons never touch it. Nothing is changed or repaired.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from course_utils import assets
from course_utils.errors import EnvironmentProblem
from course_utils.files import existing_parent
from course_utils.machine import Gpu, find_gpus, find_tpus, memory_gb
from course_utils.paths import cache_dir, checkout, state_dir
from course_utils.runtime import num_cores, package_version

OK, WARN, FAIL = "OK", "WARN", "FAIL"
SUPPORTED_PYTHON = ((3, 11), (3, 14))  # from, and below: `requires-python` of pyproject.toml
LESSON_MEMORY_GB = 4
CACHE_GB = 0.6  # what the prepared chat model takes
ROOMY_GB = 3
GPU_PROFILE_GB = 8
NETWORK_TIMEOUT_S = 2.0
DEFAULT_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Row:
    """One line of the table: what was looked at, how it stands, what was found, what to do about it (or "")."""

    subject: str
    status: str  # OK, WARN or FAIL
    found: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `course doctor`."""
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def main(args: argparse.Namespace) -> int:
    """Print the table; 1 if a row is FAIL, else 0."""
    table = rows(network=True, hashes=True)
    print(as_json(table) if args.json else as_text(table))
    return int(any(row.status == FAIL for row in table))


def rows(network: bool = False, hashes: bool = False) -> list[Row]:
    """Every check, in the order of the table, in about half a second.

    `network` also tries the model hub; `hashes` compares every byte of the assets (700 MB), not just names and lengths.
    """
    gpus = find_gpus()
    return [
        check_python(sys.version_info[:2]),
        *check_packages(),
        check_cores(num_cores()),
        check_memory(*memory_gb()),
        check_disk(cache_dir()),
        check_state(state_dir()),
        check_accelerator(gpus),
        *(check_asset(name, hashes) for name in assets.table()),
        check_shipped(),
        check_network(network),
        suggest_profile(gpus, num_cores(), memory_gb()[0]),
    ]


def as_json(table: list[Row]) -> str:
    """The table as one JSON object: `status` (the worst) and `rows`."""
    worst = max((row.status for row in table), key=(OK, WARN, FAIL).index)
    return json.dumps({"status": worst, "rows": [dataclasses.asdict(row) for row in table]}, indent=2)


def as_text(table: list[Row]) -> str:
    """The table as aligned text, each fix below its row, and a last line that sums up."""
    width = max(len(row.subject) for row in table)
    lines = []
    for row in table:
        lines.append(f"{row.status:<4}  {row.subject:<{width}}  {row.found}")
        lines += [f"{'':<4}  {'':<{width}}  -> {row.fix}"] if row.fix else []
    failed, warned = (sum(row.status == status for row in table) for status in (FAIL, WARN))
    verdict = f"{failed} to fix before you start" if failed else "this machine is ready"
    return "\n".join([*lines, f"\n{verdict}" + (f" ({warned} worth knowing)" if warned else "")])


def check_python(version: tuple[int, int]) -> Row:
    """The interpreter's version against the range that the course supports."""
    lowest, above = SUPPORTED_PYTHON
    found = f"{platform.python_version()} ({sys.executable})"
    if lowest <= tuple(version) < above:
        return Row("Python", OK, found)
    wanted = f"{lowest[0]}.{lowest[1]} to {above[0]}.{above[1] - 1}"
    return Row("Python", FAIL, found, f"use Python {wanted}: `make setup PYTHON=/path/to/python3`")


def check_packages() -> Iterator[Row]:
    """Installed versions against what the course needs (FAIL) and against the exact ones it was tested with (WARN)."""
    from packaging.requirements import Requirement

    needed = [Requirement(line) for line in importlib.metadata.requires("course-utils") or ()]
    needed = [requirement for requirement in needed if _applies(requirement)]
    bad = [problem for requirement in needed if (problem := _mismatch(requirement))]
    if bad:
        yield Row("packages", FAIL, _listing(bad), "run `make setup` (elsewhere: `pip install course-utils`)")
    else:
        yield Row("packages", OK, f"all {len(needed)} that lessons import are installed in a supported version")
    root = checkout()
    if root is None:
        return
    lines = (root / "requirements" / "lock.txt").read_text(encoding="utf-8").splitlines()
    locked = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    differing = [problem for requirement in locked if _applies(requirement) and (problem := _mismatch(requirement))]
    if differing:
        yield Row(
            "lock file", WARN, _listing(differing), "`make setup` installs the versions the course is tested with"
        )
    else:
        yield Row("lock file", OK, f"all {len(locked)} packages as tested")


def check_cores(count: int) -> Row:
    """Lessons are timed on two cores."""
    if count >= 2:
        return Row("cores", OK, str(count))
    return Row("cores", WARN, str(count), "lessons take about twice the time they name")


def check_memory(total_gb: float, available_gb: float) -> Row:
    """Every lesson stays below 4 GB."""
    found = f"{total_gb:.1f} GB, {available_gb:.1f} GB of it available"
    if available_gb >= LESSON_MEMORY_GB:
        return Row("memory", OK, found)
    return Row("memory", WARN, found, f"close other programs: the largest lessons need {LESSON_MEMORY_GB} GB")


def check_disk(cache: Path) -> Row:
    """Room for the cache, and the right to write it."""
    place = existing_parent(cache)
    free_gb = shutil.disk_usage(place).free / 1e9
    found = f"{free_gb:.1f} GB free at {cache}"
    if not os.access(place, os.W_OK):
        return Row("disk", FAIL, f"{cache} cannot be written", "set COURSE_CACHE to a folder you may write to")
    needed = 0 if _problem(lambda: assets.asset_path("smollm2")) is None else CACHE_GB
    if free_gb < needed:
        return Row("disk", FAIL, found, f"free {CACHE_GB} GB, or set COURSE_CACHE to a folder on another disk")
    if free_gb < ROOMY_GB:
        return Row("disk", WARN, found, f"lessons write models and checkpoints: {ROOMY_GB} GB are comfortable")
    return Row("disk", OK, found)


def check_state(folder: Path) -> Row:
    """The folder of the learner's progress can be written."""
    if os.access(existing_parent(folder), os.W_OK):
        return Row("progress", OK, f"kept in {folder}")
    return Row("progress", WARN, f"{folder} cannot be written", "set COURSE_STATE_DIR to a folder you may write to")


def check_accelerator(gpus: list[Gpu]) -> Row:
    """GPUs that the driver sees, and whether torch can use them; TPUs by their device files."""
    if gpus:
        found = ", ".join(f"{gpu.name} ({gpu.memory_gb:.0f} GB)" for gpu in gpus)
        if _torch_sees_gpu():
            return Row("GPU / TPU", OK, found)
        version = package_version("torch")
        return Row(
            "GPU / TPU", WARN, f"{found}; torch {version} cannot use it", "`make setup TORCH=cuda`, newer driver"
        )
    if tpus := find_tpus():
        return Row("GPU / TPU", OK, f"TPU ({tpus})")
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return Row("GPU / TPU", OK, "Apple silicon (torch device mps)")
    return Row("GPU / TPU", OK, "none: every lesson runs on the CPU")


def check_asset(name: str, hashes: bool = True) -> Row:
    """An embedded model or data set: present and complete, and with `hashes` also unaltered."""
    asset = assets.table()[name]
    problem = _problem(lambda: (assets.verify if hashes else assets.asset_path)(name))
    if problem is None:
        return Row(f"asset {name}", OK, f"{asset.title}: {'intact' if hashes else 'complete'}")
    return Row(f"asset {name}", FAIL, problem.split(". ")[0], f"`course fetch {name}`")


def check_shipped() -> Row:
    """The small models that the course trained itself, compared with their hashes (a moment: 10 MB each)."""
    names = list(assets.shipped_models())
    problem = next((found for name in names if (found := _problem(lambda n=name: assets.verify_shipped(n)))), None)
    if problem is None:
        return Row("own models", OK, f"{', '.join(names) or 'none'}: intact")
    return Row(
        "own models", FAIL, problem.split(": ")[0], "`git checkout -- course_utils/checkpoints`, or install again"
    )


def check_network(allowed: bool) -> Row:
    """Whether the model hub answers. Not needed: being offline is fine."""
    if not allowed or os.environ.get("HF_HUB_OFFLINE") == "1":
        return Row("network", OK, "not tried: lessons need none")
    hub = os.environ.get("HF_ENDPOINT", DEFAULT_HUB)
    if _answers(hub):
        return Row("network", OK, f"{hub} answers")
    fix = "fine: only `course fetch` of larger models and other data sets needs it"
    return Row("network", WARN, f"{hub} does not answer within {NETWORK_TIMEOUT_S:.0f} s", fix)


def suggest_profile(gpus: list[Gpu], cores: int, total_gb: float) -> Row:
    """The profile that suits this machine."""
    if gpus and max(gpu.memory_gb for gpu in gpus) >= GPU_PROFILE_GB and _torch_sees_gpu():
        return Row("profile", OK, "gpu: larger models and data (`course fetch --profile gpu` first)")
    if cores < 2 or total_gb < LESSON_MEMORY_GB:
        return Row("profile", OK, "smoke: small and quick; the default works too, slowly")
    return Row("profile", OK, "default: what the notebooks hold, made for two cores and no GPU")


def _torch_sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _applies(requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _mismatch(requirement) -> str | None:
    version = package_version(requirement.name)
    if version is None:
        return f"{requirement.name} is missing"
    public = version.split("+")[0]  # 2.13.0+cpu is a build of 2.13.0
    if requirement.specifier.contains(public, prereleases=True):
        return None
    return f"{requirement.name} {version} is not {requirement.specifier}"


def _listing(problems: list[str], shown: int = 4) -> str:
    rest = len(problems) - shown
    return "; ".join(problems[:shown]) + (f"; and {rest} more" if rest > 0 else "")


def _answers(url: str) -> bool:
    """Whether a server answers at all; in a thread, because a name server that is silent ignores every timeout."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=NETWORK_TIMEOUT_S).close()
        except urllib.error.HTTPError:
            pass  # an error page is an answer
        except (OSError, ValueError):
            return
        answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(NETWORK_TIMEOUT_S)


def _problem(action: Callable[[], object]) -> str | None:
    try:
        action()
    except EnvironmentProblem as problem:
        return str(problem)
    return None
