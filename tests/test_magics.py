"""`%%module`: a cell becomes importable here and in child processes; bad names and syntax errors are one message."""

import importlib
import os
import subprocess
import sys

import pytest

from course_utils import magics
from course_utils.errors import UserError


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_SCRATCH", str(tmp_path / "scratch folder, ü"))
    monkeypatch.setenv("PYTHONPATH", "already/there")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("my_steps", None)


def test_a_cell_becomes_a_module(capsys):
    magics.module_magic("my_steps.py", "def one():\n    return 1\n")
    assert importlib.import_module("my_steps").one() == 1
    assert (
        capsys.readouterr().out
        == "Module my_steps is ready: this notebook and the processes it starts can import it.\n"
    )


def test_a_newer_version_replaces_the_old_one_and_prints_the_same(capsys):
    for number in (1, 2, 3):  # same size, same second: compiled leftovers must not win
        magics.module_magic("my_steps.py", f"value = {number}\n")
        assert importlib.import_module("my_steps").value == number
    assert len(set(capsys.readouterr().out.splitlines())) == 1


def test_child_processes_import_it():
    magics.module_magic("my_steps.py", "value = 5\n")
    child = subprocess.run(
        [sys.executable, "-c", "import my_steps; print(my_steps.value)"], capture_output=True, text=True
    )
    assert child.stdout == "5\n", child.stderr
    assert os.environ["PYTHONPATH"].startswith("already/there")


def test_line_numbers_are_those_of_the_cell():
    magics.module_magic("my_steps.py", "x = 1\n\ndef f():\n    1 / 0\n")
    assert importlib.import_module("my_steps").f.__code__.co_firstlineno == 4


@pytest.mark.parametrize(
    "line, words",
    [
        ("", "takes one file name, got ''"),
        ("a.py b.py", "takes one file name, got 'a.py b.py'"),
        ("../a.py", "letters, digits and underscores, got '../a.py'"),
        ("my-steps.py", "letters, digits and underscores"),
        ("class.py", "letters, digits and underscores"),
        ("json.py", "a module named json exists already"),
        ("numpy.py", "a module named numpy exists already"),
    ],
)
def test_bad_names_are_one_message(line, words):
    with pytest.raises(UserError, match=words.replace(".", r"\.")):
        magics.module_magic(line, "x = 1\n")


def test_a_syntax_error_names_the_line_and_writes_nothing(tmp_path):
    with pytest.raises(UserError, match=r"my_steps.py was not written: .* in line 3 of the cell \(def f\(:\)"):
        magics.module_magic("my_steps.py", "x = 1\ndef f(:\n")
    assert not list(tmp_path.rglob("my_steps.py"))
