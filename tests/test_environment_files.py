"""The files that say what is installed agree: pyproject.toml, the lock, conda's environment, Colab's versions, CI."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_utils import doctor

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13")
NOT_LOCKED = {"pip", "course-utils"}  # pip installs the lock; the course is installed from here


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.split(" --hash")[0]) for line in lines if line.strip() and not line.startswith("#")]


def exact(name: str) -> dict[str, str]:
    pins = {}
    for requirement in requirements(name):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and "*" not in specifier.version, f"{requirement} is not exact"
        pins[canonicalize_name(requirement.name)] = specifier.version
    return pins


def declared() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


LOCK = exact("lock.txt")


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_ranges_contain_the_lock(requirement):
    version = LOCK.get(canonicalize_name(requirement.name))
    assert version, f"{requirement.name} is not in requirements/lock.txt"
    assert requirement.specifier.contains(version), f"{requirement} does not contain the locked {version}"


def test_ranges_contain_todays_colab():
    colab = exact("colab.txt")
    core = {canonicalize_name(Requirement(line).name): Requirement(line) for line in PROJECT["dependencies"]}
    assert set(core) == set(colab), "core dependencies are what Colab preinstalls: neither more nor less"
    outside = {name: version for name, version in colab.items() if not core[name].specifier.contains(version)}
    assert not outside


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_is_complete(python):
    """Whatever a locked package requires is locked too, on each Python; CUDA packages come with torch's own wheels."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    pins = {
        canonicalize_name(requirement.name)
        for requirement in requirements("lock.txt")
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }
    missing = {}
    for name in pins & {canonicalize_name(found.name) for found in importlib.metadata.distributions()}:
        for line in importlib.metadata.requires(name) or ():
            needed = Requirement(line)
            wanted = needed.marker is None or needed.marker.evaluate(environment)
            if wanted and canonicalize_name(needed.name) not in pins | NOT_LOCKED and not is_cuda(needed.name):
                missing[needed.name] = name
    assert not missing, f"required by a locked package, but not in the lock: {missing}"


def is_cuda(name: str) -> bool:
    return name.startswith(("nvidia", "cuda", "triton"))


def test_the_lock_holds_nothing_local():
    assert not [name for name, version in LOCK.items() if "+" in version or is_cuda(name)]
    assert not [line for line in (ROOT / "requirements" / "lock.txt").read_text().splitlines() if "://" in line]


def test_assets_are_pinned_by_hash():
    lines = [
        line for line in (ROOT / "requirements" / "assets.txt").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert len(lines) == 4
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)


def test_supported_pythons_are_the_same_everywhere():
    (lowest, above) = ((3, 11), (3, 14))
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import setup_environment
    finally:
        sys.path.pop(0)
    assert setup_environment.SUPPORTED == doctor.SUPPORTED_PYTHON == (lowest, above)
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert "python " + PROJECT["requires-python"] in conda["dependencies"]
    matrix = yaml.safe_load((ROOT / ".github/workflows/cpu.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert tuple(matrix["python"]) == PYTHONS
    assert "(3, 11) <= sys.version_info[:2] < (3, 14)" in (ROOT / "tools" / "course.sh").read_text()


def test_conda_adds_no_second_list_of_packages():
    names = {line.split()[0] for line in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]}
    assert names == {"python", "pip", "make"}, "packages come from the lock, by `make setup` in the environment"


def test_workflows_pass_actionlint():
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {path.name for path in files} >= {"cpu.yml", "gpu.yml", "weekly.yml"}
    tool = Path(sys.executable).with_name("actionlint")
    result = subprocess.run([tool, *files], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_actionlint_would_notice(tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text("name: x\non: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - rum: make\n")
    tool = Path(sys.executable).with_name("actionlint")
    assert subprocess.run([tool, broken], capture_output=True).returncode == 1


def test_the_gpu_runner_is_named_in_one_place():
    text = (ROOT / ".github" / "workflows" / "gpu.yml").read_text()
    assert text.count("runs-on:") == text.count("GPU_RUNNER") == 1
