"""Progress survives what happens to files: damage, two kernels at once, a folder that cannot be written, a move."""

import json
import subprocess
import sys

import pytest

from course_utils import atomic, cli
from course_utils.exercises import catalogue, progress, progress_view

FIRST, *_, LAST = catalogue.titles()


def status_of(exercise_id):
    return progress.load().get(exercise_id, {}).get("status")


def test_attempts_are_counted_and_a_pass_is_never_lost():
    for status in ("wrong", "error", "pass", "wrong"):
        progress.record(FIRST, status)
    entry = progress.load()[FIRST]
    assert (entry["status"], entry["attempts"]) == ("pass", 4)
    assert entry["passed_at"] <= entry["last"]


def test_an_untouched_stub_leaves_no_trace(state_folder):
    assert progress.record(FIRST, "todo") == ""
    assert not state_folder.exists()


def test_the_standing_of_the_lesson_is_said():
    total = sum(key[:2] == FIRST[:2] for key in catalogue.titles())
    assert progress.record(FIRST, "pass") == f"1 of {total} solved in this lesson."


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"format": 1}', '{"format": 99, "exercises": {}}', "\x00\xff",
               '{"format": 1, "exercises": {"00.1": {"status": "done"}}}'],
)  # fmt: skip
def test_a_damaged_file_is_set_aside_and_said_so(state_folder, capsys, damage):
    state_folder.mkdir()
    progress.progress_file().write_bytes(damage.encode("latin-1"))
    progress.record(FIRST, "pass")
    out = capsys.readouterr().out
    (aside,) = state_folder.glob("progress.damaged-*.json")
    assert aside.read_bytes() == damage.encode("latin-1")
    assert "is damaged" in out and aside.name in out
    assert status_of(FIRST) == "pass"


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_STATE_DIR", str(tmp_path / "file" / "state"))
    assert "1 of" in progress.record(FIRST, "pass")
    progress.record(FIRST, "pass")
    assert capsys.readouterr().out.count("cannot be kept") == 1


def test_a_failed_write_keeps_the_old_file(monkeypatch):
    progress.record(FIRST, "pass")
    before = progress.progress_file().read_text()

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "replace", full_disk)
    progress.record(FIRST, "wrong")
    assert progress.progress_file().read_text() == before
    assert list(progress.progress_file().parent.glob(".*.tmp")) == []


@pytest.mark.multiprocess
def test_two_kernels_at_once_lose_nothing():
    code = (
        "import sys; from course_utils.exercises import progress\n"
        "for i in range(40): progress.record(sys.argv[1], 'wrong')"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, exercise_id]) for exercise_id in (FIRST, FIRST, LAST)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    expected = {FIRST: 80, LAST: 40} if FIRST != LAST else {FIRST: 120}
    assert {key: entry["attempts"] for key, entry in progress.load().items()} == expected


def test_the_command_shows_bars_and_the_next_exercise(capsys):
    progress.record(FIRST, "pass")
    assert cli.main(["progress"]) == 0
    out = capsys.readouterr().out
    following = list(catalogue.titles())[1]
    assert "█" in out and "░" in out
    assert f"Next: {following}, {catalogue.titles()[following]}" in out


def test_next_names_the_notebook_file():
    found = progress_view.next_exercise({}, {FIRST[:2]: "notebooks/00_start_here.ipynb"})
    assert found == {"id": FIRST, "title": catalogue.titles()[FIRST], "file": "notebooks/00_start_here.ipynb"}


def test_everything_solved_has_no_next():
    entries = {key: {"status": "pass", "attempts": 1} for key in catalogue.titles()}
    found = progress_view.summary(entries)
    assert found["next"] is None and "All solved." in progress_view.as_text(found)


def test_json_is_json(capsys):
    progress.record(FIRST, "wrong")
    assert cli.main(["progress", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lessons"][0]["attempts"] == 1 and found["next"]["id"] == FIRST


def test_export_then_import_elsewhere_merges(tmp_path, monkeypatch, capsys):
    progress.record(FIRST, "pass")
    progress.record(LAST, "wrong")
    assert cli.main(["progress", "--export", str(tmp_path / "mine.json")]) == 0
    monkeypatch.setenv("COURSE_STATE_DIR", str(tmp_path / "elsewhere"))
    progress.record(FIRST, "wrong")
    progress.record(LAST, "pass")
    assert cli.main(["progress", "--import", str(tmp_path / "mine.json")]) == 0
    assert (status_of(FIRST), status_of(LAST)) == ("pass", "pass")


def test_reset_sets_aside(state_folder, capsys):
    progress.record(FIRST, "pass")
    assert cli.main(["progress", "--reset"]) == 0
    (aside,) = state_folder.glob("progress.reset-*.json")
    assert progress.load() == {} and str(aside) in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--import", "nowhere.json"], "cannot read nowhere.json"),
        (["--import", __file__], "is not a progress file"),
        (["--export", "/no/such/folder/x.json"], "cannot write /no/such/folder/x.json"),
    ],
)
def test_bad_files_are_one_message(arguments, words, capsys):
    progress.record(FIRST, "pass")
    assert cli.main(["progress", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert status_of(FIRST) == "pass"


def test_progress_imports_no_torch():
    code = "import sys, course_utils.exercises.progress_view as v; v.summary({}); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
