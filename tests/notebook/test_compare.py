"""The comparison rule: which differences a reader may see between committed outputs and today's."""

import pytest

from course_utils.notebook.compare import EXERCISE_MIME, comparable, compare_line, first_mismatch


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def display(**data):
    return {"output_type": "display_data", "metadata": {}, "data": {k.replace("__", "/"): v for k, v in data.items()}}


@pytest.mark.parametrize(
    ("committed", "today"),
    [
        ("loss 0.512", "loss 0.513"),
        ("loss 0.512", "loss 0.511"),
        ("loss 0.512", "loss 0.517"),  # within 1%
        ("loss 2.5", "loss 2.6"),  # one unit of the last digit
        ("loss 100.0", "loss 101.0"),
        ("error 3.2e-08", "error 3.3e-08"),
        ("error 1e-05", "error 9.99e-06"),
        ("x = -0.00", "x = 0.00"),
        ("|  9.99 | 1.00 |", "| 10.01 | 1.00 |"),
        ("tensor([0.1000, 1.])", "tensor([0.1001, 0.9999])"),
        ("1,234.56 tokens/s", "1,240.12 tokens/s"),
        ("took 1.50s", "took 1.51s"),
        ("two  spaces", "two spaces"),
        ("(0.50%)", "(0.51%)"),
        ("step 3/10 loss 0.50", "step 3/10 loss 0.51"),
        ("array([0.5 , 1.  , 1.])", "array([0.5 , 0.999, 1.])"),
        ("a . b .", "a . b ."),
        ("up to 0.5.", "up to 0.5."),
    ],
)
def test_lines_that_read_the_same(committed, today):
    assert compare_line(committed, today) == ""


@pytest.mark.parametrize(
    ("committed", "today", "reason"),
    [
        ("loss 0.512", "loss 0.518", "0.512 became 0.518 (moved by 0.006, allowed 0.00512)"),
        ("loss 2.5", "loss 2.7", "2.5 became 2.7"),
        ("count 8", "count 7", "8 became 7"),
        ("109,386 parameters", "109,387 parameters", "109,386 became 109,387"),
        ("1000000", "1000001", "1000000 became 1000001"),
        ("x = 1", "x = 1.0", "1 became 1.0"),
        ("x = 0.5", "x = -0.5", "0.5 became -0.5"),
        ("1.5 or 2.5", "1.5", "words differ"),
        ("great", "Great", "words differ"),
        ("loss nan", "loss 0.5", "words differ"),
        ("torch 2.13.0", "torch 2.13.1", "words differ"),
        ("gpt2", "gpt3", "words differ"),
        ("v1.50", "v1.51", "words differ"),
        ("2026-11-22", "2026-11-23", "became"),
        ("step 3/10", "step 4/10", "3 became 4"),
        ("1e-05", "1e-04", "became"),
        ("0.5 layers 12", "0.5 layers 13", "12 became 13"),
        ("[1, 2, 3]", "[1, 2, 4]", "3 became 4"),
        ("1_000", "1_001", "differ"),
        ("it ended at step 12.", "it ended at step 13.", "12 became 13"),
        ("it ended (at step 12.)", "it ended (at step 13.)", "12 became 13"),
        ("it is 0.5.", "it is 0.9.", "moved by 0.4"),
    ],
)
def test_lines_that_differ_name_what_moved(committed, today, reason):
    assert reason in compare_line(committed, today)


def test_the_rule_at_its_edge_for_every_last_digit():
    for hundredths in range(1000):
        old = f"{hundredths / 100:.2f}"
        allowed = max(1, hundredths // 100)
        assert compare_line(f"x {old}", f"x {(hundredths + allowed) / 100:.2f}") == ""
        assert compare_line(f"x {old}", f"x {(hundredths + allowed + 1) / 100:.2f}") != ""


def test_stderr_pictures_and_media_are_not_compared():
    committed = [
        stream("warning 1", "stderr"),
        display(text__plain="<Figure size 640x480 with 1 Axes>", image__png="aaaa"),
    ]
    today = [display(text__plain="<Figure size 600x400 with 2 Axes>", image__png="bbbb")]
    assert first_mismatch(committed, today) is None
    assert comparable(committed) == {}
    custom = {"application/vnd.unknown+json": {"a": 1}, "application/javascript": "x()", "image/svg+xml": "<svg/>"}
    assert comparable([{"output_type": "display_data", "metadata": {}, "data": custom}]) == {}


def test_html_is_compared():
    mismatch = first_mismatch([display(text__html="<td>12</td>")], [display(text__html="<td>13</td>")])
    assert mismatch.kind == "text/html" and "12 became 13" in str(mismatch)


def test_exercise_verdicts_are_compared():
    old, new = ([display(**{EXERCISE_MIME: {"id": "05.1", "status": s}})] for s in ("todo", "pass"))
    assert first_mismatch(old, new).kind == EXERCISE_MIME
    assert first_mismatch(old, old) is None


def test_streams_split_anywhere_are_one_text_and_kinds_may_interleave():
    committed = [stream("a 1\nb "), display(text__plain="'x'"), stream("2\n")]
    assert first_mismatch(committed, [display(text__plain="'x'"), stream("a 1\nb 2\n\n")]) is None


def test_multiline_lists_of_the_file_format_are_joined():
    assert first_mismatch([stream(["a\n", "b\n"])], [stream("a\nb")]) is None


def test_progress_written_over_shows_only_its_end():
    assert first_mismatch([stream("100%\n")], [stream("0%\r50%\r100%\n")]) is None


def test_addresses_and_colours_do_not_count():
    assert first_mismatch([stream("<f at 0x7f0011223344>")], [stream("\x1b[31m<f at 0x7f99aabbccdd>\x1b[0m")]) is None


@pytest.mark.parametrize(
    ("committed", "today", "words"),
    [
        ([stream("a\nb\n")], [stream("a\n")], ("2 lines committed, 1 today", "line 2", "b")),
        ([stream("a\n")], [], ("1 outputs committed, 0 today", "a")),
        ([], [display(text__plain="7")], ("0 outputs committed, 1 today", "7")),
        (
            [stream("a\nloss 0.50\n")],
            [stream("a\nloss 0.70\n")],
            ("stdout, line 2", "loss 0.50", "loss 0.70", "moved by 0.2"),
        ),
    ],
)
def test_a_mismatch_shows_both_sides(committed, today, words):
    text = str(first_mismatch(committed, today))
    assert all(word in text for word in words), text
