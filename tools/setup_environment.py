"""Make the environment ready if it is not, then run a command of the course in it: what every target of `make` calls.

    python tools/setup_environment.py [--torch index|cpu|cuda] [COMMAND ARGUMENT ...]

Uses the standard library only, and syntax that old Pythons can read, so that they get a message instead of a traceback.
A bare interpreter gets `.venv` beside the Makefile; one that already is an environment (venv, conda) is used as it is.
"""

import argparse
import contextlib
import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ((3, 11), (3, 14))  # from, and below: `requires-python` of pyproject.toml
# PyTorch's own index, contacted only when asked for with TORCH=cpu or TORCH=cuda.
TORCH_INDEXES = {
    "cpu": "https://download.pytorch.org/whl/cpu",
    "cuda": "https://download.pytorch.org/whl/cu130",
}
LOCK = ROOT / "requirements" / "lock.txt"
ASSETS = ROOT / "requirements" / "assets.txt"
BAD_INPUT = 2


class Problem(Exception):
    """What stands in the way, in words for the person who typed `make`."""


def main():
    """Set up, then become the command asked for; returns an exit code when there is no command or a problem."""
    args = parse_arguments(sys.argv[1:])
    try:
        check_python(sys.version_info[:2])
        check_torch(args.torch)
        python = environment_python()
        set_up(python, args.torch)
    except Problem as problem:
        print(f"setup: {problem}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\nsetup: interrupted; run it again to go on.", file=sys.stderr)
        return 130
    if not args.command:
        return 0
    sys.stdout.flush()
    return run_command(python, args.command)


def parse_arguments(argv):
    """`--torch` and everything after it, which is the command."""
    parser = argparse.ArgumentParser(prog="setup_environment.py", description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default="index", help="where torch comes from: index, cpu or cuda")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a command of `course`, run when all is ready")
    return parser.parse_args(argv)


def check_python(version):
    """Raise Problem for a Python the course does not run on."""
    lowest, above = SUPPORTED
    if not lowest <= tuple(version) < above:
        raise Problem(
            f"the course needs Python {lowest[0]}.{lowest[1]} to {above[0]}.{above[1] - 1}; "
            f"{sys.executable} is {version[0]}.{version[1]}. Install one of these, or name one: "
            "`make setup PYTHON=/path/to/python3`."
        )


def check_torch(choice):
    """Raise Problem for an unknown value of TORCH."""
    if choice not in ("index", *TORCH_INDEXES):
        raise Problem(f"TORCH={choice} is unknown: choose index (the default), cpu or cuda.")


def environment_python():
    """The interpreter of the environment to use: this one if it is in an environment, else that of `.venv`."""
    if sys.prefix != sys.base_prefix or Path(sys.prefix, "conda-meta").is_dir():
        return Path(sys.executable)
    folder = "Scripts" if os.name == "nt" else "bin"
    return ROOT / ".venv" / folder / ("python.exe" if os.name == "nt" else "python")


def set_up(python, torch_choice):
    """Bring the environment up to date; a fraction of a second when nothing changed. Raises Problem."""
    stamp = stamp_file(python)
    key = setup_key(torch_choice)
    if read_stamp(stamp) != key or not usable(python):
        with one_at_a_time():
            if read_stamp(stamp) != key or not usable(python):
                if not usable(python):
                    make_venv(python)
                install(python, torch_choice)
                write_stamp(stamp, key)
    if not prepared_model().is_file():
        run("prepare the embedded models", [str(python), "-m", "course_utils.cli", "fetch"])


def usable(python):
    """Whether the environment's interpreter is there and of the Python asked for; else `.venv` is made anew."""
    if not python.exists():
        return False
    try:
        lines = (python.parent.parent / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True  # conda's environments have no such file
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    found = next((value.strip() for name, value in values.items() if name.strip().startswith("version")), "")
    return found.split(".")[:2] == platform.python_version().split(".")[:2]


def setup_key(torch_choice):
    """A digest of everything that decides what is installed: it changes when, and only when, setup must run again."""
    digest = hashlib.sha256()
    for path in (ROOT / "pyproject.toml", LOCK, ASSETS, Path(__file__)):
        digest.update(path.read_bytes())
    digest.update(f"{torch_choice} {platform.python_version()} {ROOT}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def stamp_file(python):
    """Where the key of the last setup stands: inside the environment, so that deleting it deletes the stamp."""
    name = hashlib.sha256(os.fsencode(str(ROOT))).hexdigest()[:12]  # one conda environment may serve two checkouts
    return python.parent.parent / f".course-setup-{name}.json"


def read_stamp(path):
    """The key of the last setup, or None."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_stamp(path, key):
    """Record a finished setup, whole or not at all."""
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"key": key}), encoding="utf-8")
    os.replace(temporary, path)


def prepared_model():
    """The file that `course fetch` writes last."""
    cache = os.environ.get("COURSE_CACHE")
    return (Path(cache) if cache else ROOT / ".cache") / "models" / "smollm2" / "manifest.json"


@contextlib.contextmanager
def one_at_a_time():
    """Let a second setup of this checkout wait for the first."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        lock = open(ROOT / ".setup.lock", "w")  # noqa: SIM115 (held until the end of the block)
    except OSError as error:
        raise Problem(f"{ROOT} cannot be written ({error.strerror}). The course needs to write there.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_venv(python):
    """Create `.venv` with the interpreter that runs this script."""
    folder = python.parent.parent
    try:
        run(f"create {folder.name}", [sys.executable, "-m", "venv", "--clear", str(folder)])
    except Problem as problem:
        raise Problem(f"{problem} On Debian and Ubuntu, `apt install python3-venv` provides what is missing.") from None


def install(python, torch_choice):
    """Install the exact versions of the lock file, the assets by hash, and the course itself in editable form."""
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if torch_choice in TORCH_INDEXES:
        torch = next(line for line in LOCK.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
        run("install torch", [*pip, "--no-deps", "--index-url", TORCH_INDEXES[torch_choice], torch.split(";")[0]])
    run("install packages (minutes the first time)", [*pip, "-r", str(LOCK)])
    run("install models and data", [*pip, "--no-deps", "--require-hashes", "-r", str(ASSETS)])
    run("install the course", [*pip, "--no-deps", "-e", str(ROOT)])


def run(what, command):
    """Run one step, its output shown; raises Problem if it fails."""
    print(f"== {what}", flush=True)
    code = subprocess.call(command, cwd=str(ROOT))
    if code:
        raise Problem(f"could not {what} (exit code {code}; the reason is above). Solve it and run this again.")


def run_command(python, command):
    """Become `course COMMAND ...`, or any other module written as `-m MODULE ...`."""
    arguments = command if command[0] == "-m" else ["-m", "course_utils.cli", *command]
    if os.name == "nt":
        return subprocess.call([str(python), *arguments])
    os.execv(str(python), [str(python), *arguments])


if __name__ == "__main__":
    sys.exit(main())
