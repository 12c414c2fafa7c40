"""Reports: the page and the junit file say what the results say, whatever characters a notebook put into them."""

import re
import xml.etree.ElementTree as ET

import pytest

from course_utils.errors import EnvironmentProblem
from course_utils.notebook.junit import junit_xml
from course_utils.notebook.report import ansi_to_html, duration, html_report
from course_utils.notebook.results import (
    CellResult,
    ClaimResult,
    ExerciseResult,
    NotebookResult,
    read_json,
    write_atomic,
    write_json,
)

CLAIM = ClaimResult("It is 0.91", "accuracy", "default", "0.91 ± 0.02", "0.87", "claim-drift", "too low", "notice")
FAILED = NotebookResult(
    "notebooks/05_x.ipynb",
    slug="05_x",
    form="solved",
    status="error",
    seconds=12.3,
    peak_mb=321,
    cell="train",
    cell_index=4,
    source="1 < 2 & '</pre><script>alert(1)</script>'",
    message="ValueError: \x1b[31mno\x1b[0m \x00",
    traceback="\x1b[1;31mValueError\x1b[0m: <no>",
    claims=[CLAIM],
    exercises=[ExerciseResult("05.1", "wrong", "got 5 < 6", "ex1-check")],
    cells=[CellResult(4, "train", "error", 1.5, 321.0, 100.0), CellResult(5, "later")],
)
PASSED = NotebookResult("notebooks/06_y.ipynb", slug="06_y", status="ok", seconds=3, reason="new", cells=[])
SKIPPED = NotebookResult("notebooks/07_z.ipynb", slug="07_z", status="skipped", message="needs a GPU")
ALL = [PASSED, FAILED, SKIPPED]


def test_the_page_is_self_contained_and_escaped():
    page = html_report(ALL, title="course run", seconds=15)
    assert "<script" not in page and "&lt;/pre&gt;&lt;script&gt;" in page
    assert not re.search(r"(src|href)\s*=|url\(|@import", page)
    assert not set(page) & {"\x00", "\x1b"}
    assert page.index("05_x") < page.index("06_y")  # what failed comes first
    assert '<details class="failed" open>' in page and page.count(" open>") == 1
    for words in (
        "error</span> in cell 5",
        "0.91 ± 0.02",
        "got 5 &lt; 6",
        "needs a GPU",
        "not-run",
        "12.3 s",
        "321 MB",
    ):
        assert words in page


def test_an_empty_run_has_a_page_too():
    assert "<h1>nothing</h1>" in html_report([], title="nothing", seconds=0)


def test_junit_is_xml_with_every_case():
    (suite,) = ET.fromstring(junit_xml(ALL, suite="solved-smoke"))
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["3", "1", "1"]
    failure = suite.find(".//failure")
    assert (failure.get("type"), failure.get("message")) == ("error", "ValueError: no ")
    assert "ValueError: <no>" in failure.text and "\x1b" not in failure.text
    assert suite.find(".//skipped").get("message") == "needs a GPU"


@pytest.mark.parametrize(
    "text, html",
    [
        ("plain <b>", "plain &lt;b&gt;"),
        ("\x1b[31mred\x1b[39m not", '<span style="color:#b42318">red</span> not'),
        ("\x1b[1mbold\x1b[22m\x1b[K", '<span style="font-weight:bold">bold</span>'),
        ("\x1b[38;5;28;01mboth\x1b[0m", '<span style="color:#005500;font-weight:bold">both</span>'),
    ],
)
def test_terminal_colours(text, html):
    assert ansi_to_html(text) == html


def test_durations_are_read_easily():
    assert [duration(value) for value in (0.236, 41.23, 185)] == ["0.24 s", "41.2 s", "3 min 05 s"]


def test_results_survive_json(tmp_path):
    write_json(tmp_path / "r.json", FAILED.to_json())
    assert NotebookResult.from_json(read_json(tmp_path / "r.json")) == FAILED
    assert NotebookResult.from_json({**FAILED.to_json(), "of_another_version": 1}) == FAILED


def test_files_are_whole_or_not_written(tmp_path):
    path = tmp_path / "sub" / "file.json"
    write_json(path, {"a": float("nan"), "b": [float("inf")]})
    assert read_json(path) == {"a": "nan", "b": ["inf"]}
    path.write_text('{"a": ')
    assert read_json(path) is None
    (tmp_path / "blocked").write_text("a file, where a folder should be")
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        write_atomic(tmp_path / "blocked" / "file", "x")
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]
