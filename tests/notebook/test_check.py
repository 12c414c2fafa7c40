"""`course check`: which notebooks it means, when a result still holds, and what it prints."""

import json
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_utils import cli, paths
from course_utils.errors import UserError
from course_utils.notebook import check


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A checkout with two tiny lessons, its own cache and no network of anybody's."""
    root = tmp_path / "a course, é"
    (root / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(paths, "checkout", lambda: root)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    for name in ("05_one", "12_two"):
        write(root / "notebooks" / f"{name}.ipynb", "print(1)", "1\n")
    return root


def write(path, source, output):
    outputs = [new_output("stream", name="stdout", text=output)]
    cell = new_code_cell(source, id="only", execution_count=1, outputs=outputs)
    nbformat.write(new_notebook(cells=[cell], metadata={"course": {"slug": path.stem}}), path)


def names(found):
    return [path.stem for path in found]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["05_one", "12_two"]),
        (["5"], ["05_one"]),
        (["05", "12"], ["05_one", "12_two"]),
        (["12_two"], ["12_two"]),
        (["notebooks/12_two.ipynb"], ["12_two"]),
        (["05", "05_one"], ["05_one"]),
    ],
)
def test_lessons_are_meant_by_number_name_or_path(course, words, expected):
    assert names(check.select_notebooks(words)) == expected


def test_paths_and_folders_are_taken_as_they_are(course, tmp_path):
    other = tmp_path / "my notes.ipynb"
    write(other, "print(1)", "1\n")
    assert check.select_notebooks([str(other)]) == [other]
    assert names(check.select_notebooks([str(course / "notebooks")])) == ["05_one", "12_two"]


@pytest.mark.parametrize(("word", "hint"), [("06", "lessons: 05_one, 12_two"), ("05_onee", "did you mean 05_one")])
def test_what_does_not_exist_is_an_error_with_a_hint(course, word, hint):
    with pytest.raises(UserError, match=hint) as caught:
        check.select_notebooks([word])
    assert caught.value.status == "nothing-selected"


def test_no_notebook_at_all_is_an_error(course, tmp_path):
    with pytest.raises(UserError) as caught:
        check.select_notebooks([str(tmp_path)])
    assert caught.value.status == "nothing-selected"
    shutil.rmtree(course / "notebooks")
    with pytest.raises(UserError) as caught:
        check.select_notebooks([])
    assert caught.value.status == "nothing-selected"


def run(*arguments):
    return cli.main(["check", *arguments])


def test_a_pass_is_remembered_until_something_changes(course, capsys):
    assert run("05") == 0
    said = capsys.readouterr()
    assert "05_one: new" in said.out and said.out.splitlines()[-1] == "1 passed, 0 failed"

    assert run("05") == 0
    said = capsys.readouterr()
    assert "unchanged" in said.out and "checking" not in said.out and said.out.endswith("1 passed, 0 failed\n")

    path = course / "notebooks" / "05_one.ipynb"
    write(path, "print(1)", "2\n")  # only the committed output: the code is the same
    assert run("05") == 1
    said = capsys.readouterr()
    assert "committed notebook changed" in said.out and "stale-output" in said.out
    assert "committed: 2" in said.out and "today:     1" in said.out
    assert said.out.splitlines()[-1] == "0 passed, 1 failed"

    assert run("05") == 1  # a failure is never remembered as one
    assert "failed last time (stale-output)" in capsys.readouterr().out


def test_fresh_checks_again(course, capsys):
    assert run("05") == 0 and run("05", "--fresh") == 0
    assert "asked for (--fresh)" in capsys.readouterr().out


def test_a_damaged_cache_is_no_cache(course, tmp_path, capsys):
    assert run("05") == 0
    (tmp_path / "cache" / "check" / "05_one.json").write_text("{", encoding="utf-8")
    assert run("05") == 0
    assert capsys.readouterr().out.count("05_one: new") == 2


def test_reports(course, tmp_path):
    assert run("05", "--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml")) == 0
    (result,) = json.loads((tmp_path / "r.json").read_text())["notebooks"]
    assert (result["path"], result["status"]) == ("notebooks/05_one.ipynb", "ok")
    assert [cell["id"] for cell in result["cells"]] == ["only"]
    assert 'tests="1"' in (tmp_path / "r.xml").read_text()
    assert (course / "build" / "reports" / "check.html").is_file()


def test_a_build_folder_that_cannot_be_written_is_said_before_anything_runs(course, capsys):
    (course / "build").write_text("a file where the folder should be", encoding="utf-8")
    assert run("05") == 2
    said = capsys.readouterr()
    assert "cannot write" in said.err and "checking" not in said.out and "Traceback" not in said.err


def test_a_time_limit_must_be_one(course, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("05", "--cell-timeout", "-1")
    assert stopped.value.code == 2 and "more than 0, got" in capsys.readouterr().err
