"""Every test of the exercises has a progress folder of its own: a contributor's progress stays untouched."""

import pytest

from course_utils.exercises import progress


@pytest.fixture(autouse=True)
def state_folder(tmp_path, monkeypatch):
    folder = tmp_path / "state"
    monkeypatch.setenv("COURSE_STATE_DIR", str(folder))
    monkeypatch.setattr(progress, "_said", set())
    return folder
