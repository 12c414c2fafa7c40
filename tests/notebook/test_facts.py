"""Generated facts: measured numbers change only when they differ enough, and the table says what the files say."""

import json

import pytest
from lessons import BODY, make_checkout

from course_utils.errors import UserError
from course_utils.notebook import lesson_table
from course_utils.notebook.bootstrap import facts_cell
from course_utils.notebook.build import build_lesson
from course_utils.notebook.build_execute import MAX_BUSY_SHARE, OtherLoad, record
from course_utils.notebook.build_plan import make_plan
from course_utils.notebook.facts import all_facts, facts_path, read_verified, updated_verified
from course_utils.notebook.results import NotebookResult

OLD = {"05_small": {"seconds": 40, "peak_mb": 1000}}


@pytest.mark.parametrize(
    ("seconds", "peak_mb", "expected"),
    [
        (43, 1100, {"seconds": 40, "peak_mb": 1000}),
        (52, 1290, {"seconds": 40, "peak_mb": 1000}),
        (60.4, 1000, {"seconds": 60, "peak_mb": 1000}),
        (40, 612, {"seconds": 40, "peak_mb": 600}),
    ],
)
def test_measured_numbers_are_rounded_and_rewritten_only_when_30_percent_off(seconds, peak_mb, expected):
    assert updated_verified(OLD, "05_small", seconds, peak_mb) == {"05_small": expected}


def test_new_lessons_join_in_order():
    both = updated_verified(OLD, "00_start", 1.2, 30)
    assert list(both) == ["00_start", "05_small"] and both["00_start"] == {"seconds": 5, "peak_mb": 100}


def test_a_time_taken_on_a_busy_machine_is_not_recorded(tmp_path, capsys):
    layout = make_checkout(tmp_path)
    result = NotebookResult(path="", slug="05_small", seconds=40, peak_mb=1000)
    record(layout, result, busy_share=MAX_BUSY_SHARE + 0.01)
    assert not layout.verified.exists() and "--fresh 05" in capsys.readouterr().out
    record(layout, result, busy_share=0.0)
    assert read_verified(layout) == OLD


def test_our_own_work_is_not_other_load():
    with OtherLoad() as others:
        total = sum(i * i for i in range(200_000))
    assert total and 0.0 <= others.share <= 1.5


def test_a_damaged_file_of_measurements_is_named(tmp_path):
    layout = make_checkout(tmp_path)
    layout.verified.write_text("{")
    with pytest.raises(UserError, match="verified.json is damaged"):
        build_lesson(layout.source("05_small"))


def test_the_table_holds_what_headers_and_measurements_say(tmp_path):
    layout = make_checkout(tmp_path)
    layout.verified.write_text(json.dumps({"05_small": {"seconds": 95, "peak_mb": 1536}}))
    (row,) = all_facts(layout)
    assert (row["exercises"], row["seconds"], row["minutes"]) == (1, 95, 30)
    table = lesson_table.as_markdown([row], folder="notebooks/")
    (line,) = [line for line in table.splitlines() if "05_small" in line]
    for words in ["| 05 |", "(notebooks/05_small.ipynb)", "| 1 min 35 s |", "| 1.5 GB |", "blob/v"]:
        assert words in line
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "colab" not in lesson_table.as_markdown([row], badges=False).lower()


def test_the_installed_package_reads_the_same_table(tmp_path):
    layout = make_checkout(tmp_path)
    plan = make_plan(layout, layout.sources())
    facts_path(layout).write_bytes(plan.files[facts_path(layout)])
    assert lesson_table.lessons(facts_path(layout)) == all_facts(layout)
    assert lesson_table.lessons(tmp_path / "none.json") == []


def test_a_lesson_may_show_the_table_between_markers(tmp_path):
    marked = "# Look.\n# <!-- lessons:begin -->\n# <!-- lessons:end -->"
    layout = make_checkout(tmp_path, BODY.replace("# Look.", marked))
    assert b"[A small lesson](05_small.ipynb)" in make_plan(layout, []).files[layout.learner("05_small")]


def test_prerequisites_link_to_lessons_that_exist(tmp_path):
    make_checkout(tmp_path, name="00_start")
    layout = make_checkout(tmp_path)
    (facts,) = [row for row in all_facts(layout) if row["number"] == "05"]
    assert "[00](00_start.ipynb)" in facts_cell(facts, {"00": "00_start"}).source
    assert "| 00 |" in facts_cell(facts, {}).source
    assert "not measured yet" in facts_cell(facts, {}).source


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (5, "5 s"), (60, "1 min"), (95, "1 min 35 s")])
def test_run_time(seconds, text):
    assert lesson_table.run_time(seconds) == text
