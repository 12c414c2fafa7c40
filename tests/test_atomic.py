"""A file is the old one or the new one, never a part, and nothing is left behind."""

import stat

import pytest

from course_utils.atomic import replacing


def test_the_new_file_replaces_the_old_one_and_all_may_read_it(tmp_path):
    target = tmp_path / "facts.json"
    target.write_text("old")
    with replacing(target) as temporary:
        assert temporary.parent == tmp_path and temporary != target
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_whoever_is_interrupted_keeps_the_old_file(tmp_path, error):
    target = tmp_path / "facts.json"
    target.write_text("old")
    with pytest.raises(type(error)), replacing(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_not_there_is_the_callers_to_make(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "no" / "facts.json"):
        pass
