"""`course test`: its stages, how it counts, what it does not repeat, and that nothing empty counts as a pass."""

import json
import sys

import pytest

from course_utils.errors import EnvironmentProblem
from course_utils.notebook import suite
from course_utils.notebook.folder_lock import exclusive
from course_utils.notebook.suite import Stage, count, plan, run_stage, shown_command
from course_utils.notebook.tree_key import tree_key, what_changed


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "course"
    (folder / "notebooks" / "src").mkdir(parents=True)
    (folder / "notebooks" / "src" / "05_x.py").write_text("# %%\n")
    (folder / "README.md").write_text("read me")
    return folder


def python(code):
    return [sys.executable, "-c", code]


def test_the_stages_are_what_a_contributor_could_type(tmp_path):
    stages = plan(tmp_path, tmp_path / "build" / "reports", [])
    assert [stage.name for stage in stages] == ["build check", "lint", "unit tests", "solved form", "learner form"]
    shown = [shown_command(stage.command, tmp_path) for stage in stages]
    assert shown[0] == "course build --check" and shown[1] == "course lint"
    assert shown[2].startswith("python -m pytest tests")
    assert shown[3].startswith("course run --form solved --profile smoke")
    assert shown[4].startswith("course check")


def test_chosen_lessons_prove_their_exercises_instead_of_the_unit_tests(tmp_path):
    stages = plan(tmp_path, tmp_path, ["05"], fresh=True)
    assert "unit tests" not in [stage.name for stage in stages]
    assert all("05" in stage.command for stage in stages)
    assert not any(stage.cached for stage in stages)
    assert [stage.name for stage in stages if "--fresh" in stage.command] == ["solved form", "learner form"]


def test_fast_leaves_out_slow_tests_and_notebooks(tmp_path):
    stages = plan(tmp_path, tmp_path, [], fast=True)
    assert [stage.name for stage in stages] == ["build check", "lint", "unit tests"]
    assert stages[-1].command[-2:] == ["-m", "not slow"]


JUNIT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


@pytest.mark.parametrize(
    ("content", "exit_code", "counts"),
    [
        (JUNIT.format(10, 0, 0, 2), 0, (8, 0)),
        (JUNIT.format(10, 1, 2, 3), 1, (4, 3)),
        (JUNIT.format(10, 0, 0, 0), 3, (10, 1)),  # pytest itself broke
        (JUNIT.format(0, 0, 0, 0), 5, (0, 1)),
        (JUNIT.format(0, 0, 0, 0), 0, (0, 1)),  # nothing collected is no pass
        (JUNIT.format(4, 0, 0, 4), 0, (0, 1)),  # all skipped is no pass
        ("<not xml", 0, (0, 1)),
        (None, 0, (0, 1)),
    ],
)
def test_unit_tests_are_counted_from_junit(tmp_path, content, exit_code, counts):
    report = tmp_path / "unit.xml"
    if content is not None:
        report.write_text(content)
    assert count(report, exit_code) == counts


@pytest.mark.parametrize(
    ("statuses", "exit_code", "counts"),
    [
        (["ok", "ok"], 0, (2, 0)),
        (["ok", "stale-output", "timeout"], 1, (1, 2)),
        (["ok", "skipped"], 0, (1, 0)),
        (["skipped"], 0, (0, 1)),
        ([], 0, (0, 1)),
        (["ok"], 130, (1, 1)),  # cut off: what is missing cannot have passed
        (None, 2, (0, 1)),
    ],
)
def test_notebooks_are_counted_from_json(tmp_path, statuses, exit_code, counts):
    report = tmp_path / "run.json"
    if statuses is not None:
        report.write_text(json.dumps({"notebooks": [{"status": status} for status in statuses]}))
    assert count(report, exit_code) == counts


def test_a_stage_without_a_report_counts_as_one():
    assert count(None, 0) == (1, 0) and count(None, 2) == (0, 1)


def counting_stage(root, number=7, exit_code=0):
    report = root / "report.xml"
    text = JUNIT.format(number, 1 if exit_code else 0, 0, 0)
    code = f"import pathlib, sys; pathlib.Path({str(report)!r}).write_text({text!r}); sys.exit({exit_code})"
    return Stage("unit tests", python(code), report, cached=True)


def test_a_passed_stage_keeps_its_count_until_a_file_changes(root, capsys):
    run_stage(first := counting_stage(root.parent), root, tree_key(root))
    run_stage(second := counting_stage(root.parent), root, tree_key(root))
    assert (first.passed, first.note) == (7, "") and (second.passed, second.note) == (7, "unchanged")
    (root / "README.md").write_text("read me again")
    run_stage(third := counting_stage(root.parent, 8), root, tree_key(root))
    assert (third.passed, third.note) == (8, "")
    said = capsys.readouterr().out
    assert "unit tests (new)" in said and "unchanged, 7 passed" in said and "(changed: README.md)" in said


def test_fresh_repeats_and_a_failure_is_never_remembered(root):
    run_stage(counting_stage(root.parent), root, tree_key(root))
    run_stage(again := counting_stage(root.parent, 9), root, tree_key(root), fresh=True)
    assert again.passed == 9
    (root / "README.md").write_text("broken")
    for _ in range(2):
        run_stage(bad := counting_stage(root.parent, 9, exit_code=1), root, tree_key(root))
        assert (bad.passed, bad.failed) == (8, 1)


def test_what_a_stage_cannot_see_does_not_repeat_it(root, capsys):
    lesson = root / "notebooks" / "05_x.ipynb"
    for content, state in (("{}", "new"), ("[]", "unchanged")):
        lesson.write_text(content)
        stage = counting_stage(root.parent, 7)
        stage.blind_to = suite.NO_UNIT_TEST_READS
        run_stage(stage, root, tree_key(root))
        assert state in capsys.readouterr().out and stage.passed == 7
    (root / "notebooks" / "src" / "05_x.py").write_text("# %% changed\n")
    run_stage(stage, root, tree_key(root))
    assert "changed: notebooks/src/05_x.py)" in capsys.readouterr().out


def test_an_old_report_never_speaks_for_a_run_that_wrote_none(root):
    run_stage(counting_stage(root.parent), root, tree_key(root))
    silent = Stage("other", python("pass"), root.parent / "report.xml")
    run_stage(silent, root, tree_key(root))
    assert (silent.passed, silent.failed) == (0, 1)


def test_the_key_sees_every_file_but_ignored_ones(root):
    before = tree_key(root)
    for ignored in ("build/x", ".cache/x", ".venv/x", ".git/x", "a/__pycache__/x", ".pytest_cache/x"):
        path = root / ignored
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("noise")
    assert tree_key(root).digest == before.digest
    (root / "notebooks" / "src" / "05_x.py").write_text("# %%\nprint(1)\n")
    (root / ".github").mkdir()
    (root / ".github" / "cpu.yml").write_text("on: push")
    after = tree_key(root)
    assert after.digest != before.digest
    assert what_changed(after, before.parts) == "changed: .github/cpu.yml, notebooks/src/05_x.py"
    assert what_changed(after, after.parts) == "" and what_changed(after, None) == "new"


def test_the_summary_ends_with_one_line_of_counts(capsys, tmp_path):
    stages = [Stage("a", [], passed=3), Stage("b", [], passed=1, failed=2, note="exit code 1")]
    assert suite.summarise(stages, tmp_path / "index.html") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "4 passed, 2 failed"
    assert suite.summarise(stages[:1], tmp_path / "index.html") == 0


def test_two_suites_at_once_and_a_folder_that_cannot_be_written(tmp_path):
    reports, taken = tmp_path / "reports", pytest.raises(EnvironmentProblem, match="another `course test`")
    first, second = (exclusive(reports, ".test.lock", "another `course test` is writing") for _ in range(2))
    with first, taken, second:
        pass
    (tmp_path / "build").write_text("a file")
    with (
        pytest.raises(EnvironmentProblem, match="cannot write"),
        exclusive(tmp_path / "build" / "reports", ".test.lock", ""),
    ):
        pass


def test_the_page_links_reports_that_exist(tmp_path):
    (tmp_path / "check.html").write_text("")
    stages = [Stage("learner <form>", [], passed=1, links=[tmp_path / "check.html", tmp_path / "gone.xml"])]
    page = suite.index_page(stages)
    assert 'href="check.html"' in page and "gone.xml" not in page and "learner &lt;form&gt;" in page
