"""The machine's side of a lesson: seeds, timers, scratch folder, shown errors, memory."""

import random
import time

import numpy as np
import pytest
import torch

from course_utils import runtime
from course_utils.errors import EnvironmentProblem


def draw() -> tuple:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_seed_gives_the_same_numbers_everywhere():
    runtime.seed_everything(7)
    first = draw()
    assert draw() != first
    runtime.seed_everything(7)
    assert draw() == first


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=str(seed)):
        runtime.seed_everything(seed)


def test_set_threads(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        runtime.set_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        runtime.set_threads(before)
    with pytest.raises(ValueError, match="at least 1"):
        runtime.set_threads(0)


def test_device_is_one_that_torch_can_use():
    assert torch.ones(2, device=runtime.device()).sum().item() == 2


def test_timer_runs_inside_the_block_and_stands_still_after_it():
    with pytest.raises(RuntimeError, match="never started"):
        _ = runtime.Timer().seconds
    with runtime.Timer() as timer:
        inside = timer.seconds
        time.sleep(0.01)
    after = timer.seconds
    assert inside < after >= 0.01
    time.sleep(0.01)
    assert timer.seconds == after


def test_scratch_is_created_below_its_root(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_SCRATCH", str(tmp_path / "a folder é"))
    folder = runtime.scratch("05", "model")
    assert folder.is_dir()
    assert folder == tmp_path / "a folder é" / "05" / "model"
    assert runtime.scratch("05", "model") == folder
    for part in ("..", "/etc", "05/../.."):
        with pytest.raises(ValueError, match="leads out"):
            runtime.scratch(part)


def test_scratch_without_a_setting_is_below_the_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_SCRATCH", raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    assert runtime.scratch().is_relative_to(tmp_path)


def test_scratch_that_cannot_be_created_is_one_message(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_SCRATCH", str(tmp_path / "file"))
    with pytest.raises(EnvironmentProblem, match="COURSE_SCRATCH"):
        runtime.scratch("05")


def test_expect_error_shows_the_error_and_goes_on(capsys):
    with runtime.expect_error(ValueError, KeyError):
        int("x")
    assert capsys.readouterr().out == "ValueError: invalid literal for int() with base 10: 'x'\n"


def test_expect_error_notices_a_demonstration_that_stopped_failing():
    with pytest.raises(AssertionError, match="ValueError or KeyError"), runtime.expect_error(ValueError, KeyError):
        pass


def test_expect_error_lets_others_through():
    with pytest.raises(ZeroDivisionError), runtime.expect_error(ValueError):
        1 / 0  # noqa: B018
    with pytest.raises(TypeError, match="name the error"), runtime.expect_error():
        pass


def test_peak_memory_grows_with_what_was_held():
    before = runtime.peak_memory_mb()
    block = np.ones(int(before * 1e6 / 8) + 10_000_000)  # more than everything held so far, plus 80 MB
    assert runtime.peak_memory_mb() > before + 70
    assert block.nbytes > 0


def test_environment_report_names_what_results_depend_on():
    report = runtime.environment_report()
    assert report["packages"]["torch"] == torch.__version__
    assert report["cores"] >= 1
    assert report["memory_gb"] > 0
    assert runtime.package_version("no-such-package") is None
