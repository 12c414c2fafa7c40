"""`make` and its setup script: unsupported Pythons, odd folders, bare surroundings, and nothing done twice."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils import lab
from course_utils.errors import EnvironmentProblem, UserError

ROOT = Path(__file__).resolve().parent.parent
SETUP = ROOT / "tools" / "setup_environment.py"
spec = importlib.util.spec_from_file_location("setup_environment", SETUP)
setup_environment = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup_environment)


@pytest.fixture
def clone(tmp_path):
    """What `make` needs, in a folder whose path has a space and letters beyond ASCII, set up by this environment."""
    folder = tmp_path / "a cours é"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("tools", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {name: os.environ[name] for name in ("PATH",)}
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=folder, env=kept | environment, capture_output=True, text=True, errors="replace")


def test_make_alone_lists_every_target():
    listed = re.findall(r"^ +make (\w+)", make(ROOT).stdout, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert sorted(listed) == sorted(phony)
    assert {"help", "setup", "lab", "test", "run", "build", "check", "lint", "doctor", "bench", "clean"} <= set(listed)


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_unsupported_python(version):
    with pytest.raises(setup_environment.Problem, match=r"needs Python 3\.11 to 3\.13; .* is \d\.\d+\. Install"):
        setup_environment.check_python(version)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_supported_python(version):
    setup_environment.check_python(version)


def test_an_old_python_gets_a_message_from_make(clone):
    """An interpreter that says it is 3.9, as `make` would meet it."""
    old = clone / "old python"
    code = "import sys; sys.version_info = (3, 9, 1); sys.version = '3.9.1 (main)'; exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$2"\n')
    old.chmod(0o755)
    result = make(clone, "setup", PYTHON=str(old))
    assert result.returncode == 2
    assert re.search(r"^setup: the course needs Python 3.11 to 3.13; .* is 3.9.", result.stderr, re.MULTILINE)
    assert "Traceback" not in result.stderr


def test_the_setup_script_can_be_read_by_old_pythons():
    import ast

    ast.parse(SETUP.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_python_that_is_not_there(clone):
    result = make(clone, "setup", PYTHON="/no/such/python")
    assert result.returncode == 2
    assert "setup: PYTHON=/no/such/python is not a program." in result.stderr


def test_unknown_torch(clone):
    result = make(clone, "setup", "TORCH=tpu", PYTHON=sys.executable)
    assert result.returncode == 2
    assert "setup: TORCH=tpu is unknown: choose index" in result.stderr


def ready(clone: Path, monkeypatch) -> None:
    """Record a finished setup of the clone in this environment, and a prepared model in its cache."""
    monkeypatch.setattr(setup_environment, "ROOT", clone)
    monkeypatch.setattr(setup_environment, "LOCK", clone / "requirements" / "lock.txt")
    monkeypatch.setattr(setup_environment, "ASSETS", clone / "requirements" / "assets.txt")
    monkeypatch.setattr(setup_environment, "__file__", str(clone / "tools" / "setup_environment.py"))
    stamp = setup_environment.stamp_file(Path(sys.executable))
    setup_environment.write_stamp(stamp, setup_environment.setup_key("index"))
    model = clone / ".cache" / "models" / "smollm2"
    model.mkdir(parents=True)
    (model / "manifest.json").write_text("{}")


@pytest.fixture
def stamped(clone, monkeypatch):
    ready(clone, monkeypatch)
    yield clone
    setup_environment.stamp_file(Path(sys.executable)).unlink()


def test_a_finished_setup_is_not_repeated(stamped):
    """Also with HOME unset, LANG=C, and a path with a space and an accent."""
    result = make(stamped, "setup", PYTHON=sys.executable, LANG="C", LC_ALL="C")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_changed_lock_means_setup_again(stamped, monkeypatch):
    before = setup_environment.setup_key("index")
    with open(stamped / "requirements" / "lock.txt", "a") as file:
        file.write("extra==1\n")
    assert setup_environment.setup_key("index") != before
    assert setup_environment.setup_key("cpu") != setup_environment.setup_key("index")


def test_arguments_reach_the_command(stamped):
    """The command of this checkout's package runs in the clone, nothing installed: without HOME, in the C locale."""
    environment = {"PYTHON": sys.executable, "LANG": "C", "LC_ALL": "C", "COURSE_CACHE": str(ROOT / ".cache")}
    result = make(stamped, "doctor", "ARGS=--json", **environment, HF_HUB_OFFLINE="1")
    assert '"subject": "Python"' in result.stdout, result.stderr


def test_a_folder_that_cannot_be_written(clone, monkeypatch):
    monkeypatch.setattr(setup_environment, "ROOT", clone / "Makefile")
    with pytest.raises(setup_environment.Problem, match="cannot be written"), setup_environment.one_at_a_time():
        pass


def test_a_failing_step_is_one_message(capfd):
    with pytest.raises(setup_environment.Problem, match=r"could not install packages \(exit code 3"):
        setup_environment.run("install packages", [sys.executable, "-c", "raise SystemExit(3)"])


def test_a_bare_interpreter_gets_a_venv(tmp_path, monkeypatch):
    monkeypatch.setattr(setup_environment, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    python = setup_environment.environment_python()
    assert python.is_relative_to(tmp_path / ".venv")
    assert not python.exists()


def test_clean_keeps_what_cannot_be_rebuilt(clone):
    for folder in ("build", ".cache/scratch", ".cache/models", ".venv/lib"):
        (clone / folder / "x").mkdir(parents=True)
    assert make(clone, "clean").returncode == 0
    assert sorted(path.name for path in clone.iterdir() if path.is_dir()) == [
        ".cache",
        ".venv",
        "requirements",
        "tools",
    ]
    assert [path.name for path in (clone / ".cache").iterdir()] == ["models"]


def test_port_in_use():
    with socket.socket() as server:
        server.bind((lab.LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=rf"port {port} is in use .* `make lab PORT={port + 1}`"):
            lab.check_port(port)
    lab.check_port(port)


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1", ""])
def test_impossible_port(text):
    with pytest.raises(UserError, match="1 to 65535"):
        lab.parse_port(text)


def test_jupyterlab_listens_on_this_machine_only_and_asks_for_a_token():
    command = lab.lab_command(8901, ["--no-browser"])
    assert "--ServerApp.ip=127.0.0.1" in command
    assert command[-1] == "--no-browser"
    assert not [word for word in command if "token" in word or "password" in word]


def test_ci_calls_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_a_venv_of_another_python_is_made_anew(tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    assert not setup_environment.usable(python)
    python.write_text("")
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for version, usable in [(f"{ours}.0", True), ("3.1.0", False), ("", False)]:
        (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version}\n")
        assert setup_environment.usable(python) is usable
