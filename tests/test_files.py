"""Folders of the cache appear whole or not at all, even after a process was killed; one writer waits for another."""

import errno
import threading

import pytest

from course_utils import files
from course_utils.errors import EnvironmentProblem


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("")
    with files.new_folder(target) as fresh:
        (fresh / "new").write_text("")
        assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("")
    with pytest.raises(KeyboardInterrupt), files.new_folder(target) as fresh:
        (fresh / "new").write_text("")
        raise KeyboardInterrupt
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".model-abc").mkdir()
    (tmp_path / ".model-abc" / "half").write_text("x")
    with files.new_folder(tmp_path / "model"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_one_writer_at_a_time(tmp_path):
    order, inside = [], threading.Event()

    def second():
        inside.wait()
        with files.locked(tmp_path / "model"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with files.locked(tmp_path / "model"):
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "no room left"), (errno.EROFS, "cannot be written"), (errno.EACCES, "COURSE")],
)
def test_what_the_system_says_becomes_one_message(tmp_path, number, message):
    with pytest.raises(EnvironmentProblem, match=message), files.writable(tmp_path):
        raise OSError(number, "as the system puts it")


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(OSError, match="Interrupted"), files.writable(tmp_path):
        raise OSError(errno.EINTR, "Interrupted")
