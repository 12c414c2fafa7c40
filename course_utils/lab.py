"""`course lab`: check the machine, then open the course in JupyterLab at lesson 00.

The server listens on this machine only and asks for a token, as Jupyter does by default. Nothing here installs or
prepares anything; `make lab` does that first.
"""

import argparse
import errno
import importlib.util
import os
import socket
import sys
from pathlib import Path

from course_utils import doctor
from course_utils.errors import EnvironmentProblem, UserError
from course_utils.paths import checkout

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8888
FIRST_LESSON = "00_*.ipynb"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `course lab`."""
    parser.add_argument("--port", default=str(DEFAULT_PORT), help=f"port of the server (default {DEFAULT_PORT})")
    parser.add_argument("arguments", nargs="*", help="after `--`: handed on to JupyterLab, e.g. -- --no-browser")


def main(args: argparse.Namespace) -> int:
    """Print doctor's table and become JupyterLab; 1 if the machine is not ready.

    Raises UserError for an impossible port, EnvironmentProblem for one in use or without JupyterLab.
    """
    port = parse_port(args.port)
    check_port(port)
    table = doctor.rows()
    print(doctor.as_text(table), flush=True)
    if any(row.status == doctor.FAIL for row in table):
        return 1
    command = lab_command(port, args.arguments)
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(config_path())
    if os.name == "nt":
        import subprocess

        return subprocess.call(command)
    os.execv(command[0], command)


def parse_port(text: str) -> int:
    """A port number from what was typed. Raises UserError."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise UserError(f"a port is a number from 1 to 65535; got {text!r}. Choose one: `make lab PORT=8889`.")
    return int(text)


def check_port(port: int) -> None:
    """Raise EnvironmentProblem now if JupyterLab could not listen: it would choose another port, or stop much later."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port closed a moment ago is free
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "is in use (perhaps the course is open already)" if taken else f"is not ours ({error.strerror})"
            raise EnvironmentProblem(f"port {port} {reason}. Choose another: `make lab PORT={port + 1}`.") from error


def config_path() -> list[str]:
    """Folders of Jupyter's configuration: ours first, so that no question about news stands before a first lesson."""
    ours = [str(root / "tools" / "jupyter")] if (root := checkout()) else []
    theirs = os.environ.get("JUPYTER_CONFIG_PATH", "")
    return ours + [folder for folder in theirs.split(os.pathsep) if folder]


def lab_command(port: int, extra: list[str]) -> list[str]:
    """The command that opens JupyterLab in the checkout at the first lesson. Raises EnvironmentProblem."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise EnvironmentProblem("JupyterLab is not installed. `make setup` installs it.")
    root = checkout() or Path.cwd()
    options = [f"--ServerApp.ip={LOOPBACK}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += [f"--ServerApp.root_dir={root}"]
    if lesson := next(iter(sorted((root / "notebooks").glob(FIRST_LESSON))), None):
        options.append(f"--LabApp.default_url=/lab/tree/{lesson.relative_to(root).as_posix()}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container; Jupyter refuses root otherwise
        options.append("--ServerApp.allow_root=True")
    return [sys.executable, "-m", "jupyterlab", *options, *extra]
