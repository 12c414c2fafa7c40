"""Doctor's table in a notebook: complete, readable without colour, and without this machine's folders."""

import sys

from course_utils import doctor, doctor_view, paths
from course_utils.doctor import FAIL, OK, WARN, Row

ROWS = [
    Row("Python", OK, f"3.11 ({sys.prefix}/bin/python)"),
    Row("disk", WARN, f"2 GB free at {paths.cache_dir().absolute()}", "3 GB are <comfortable>"),
    Row("asset x", FAIL, "/somewhere/else/file.bin is missing", "`course fetch x`"),
]


def test_every_row_with_its_word_and_fix():
    html = doctor_view.as_html(ROWS)
    for row in ROWS:
        assert row.subject in html and f"{doctor_view.SYMBOLS[row.status]}</b> {row.status}" in html
    assert "3 GB are &lt;comfortable&gt;" in html and "`course fetch x`" in html
    assert "1 to fix before you start (1 worth knowing)." in html.lower()


def test_no_folder_of_this_machine_is_shown():
    html = doctor_view.as_html(ROWS)
    assert sys.prefix not in html and str(paths.cache_dir().absolute()) not in html and "/somewhere" not in html
    assert "the cache folder" in html and "…/file.bin is missing" in html


def test_addresses_are_left_alone():
    text = "https://huggingface.co/some/model answers and/or not"
    assert doctor_view.shorten_paths(text) == text


def test_the_real_table_is_shown(capsys):
    doctor_view.show()
    out = capsys.readouterr().out
    assert out.count("\n") >= len(doctor.rows()) and "Python" in out
