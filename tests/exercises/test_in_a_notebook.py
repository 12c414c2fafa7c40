"""What a learner sees in a real kernel: text, HTML and JSON in one bundle; their own line in an error; short errors."""

from pathlib import Path

import nbclient
import nbformat
import pytest

MIME = "application/vnd.course-utils.exercise+json"
CELLS = {
    "import": "from course_utils.exercises import exercise\nimport course_utils.exercises.lesson_00 as lesson",
    "todo": 'n = ...\nn = exercise("00.1", n)\nassert n == 109_386',
    "wrong": 'n = exercise("00.1", 109_184)',
    "pass": 'n = exercise("00.1", 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10)',
    "wrong-value": "num_parameters = 5",
    "wrong-value-check": 'num_parameters = exercise("00.1", num_parameters)',
    "value-again": 'num_parameters = exercise("00.1", num_parameters)',
    "value-mine": "num_parameters = lesson.EXERCISES[0].solution",  # the very same object, typed by the learner
    "value-mine-check": 'num_parameters = exercise("00.1", num_parameters)',
    "wrong-function": "def count_parameters(layer_sizes):\n    return 5",
    "wrong-function-check": 'count_parameters = exercise("00.2", count_parameters)',
    "function-again": 'count_parameters = exercise("00.2", count_parameters)',
    "unknown": 'exercise("0.1", 3)',
    "error": (
        "import sys\nsys.path.insert(0, FOLDER)\nimport good_exercises as good\n"
        "from course_utils.exercises import display, framework\n\n"
        "def my_mean(x, mask):\n    total = x.sum(1)\n    return total / mask.sum(1)\n\n"
        "display.show(framework.evaluate(good.EXERCISES[0], my_mean))"
    ),
    "module": "%load_ext course_utils",
    "module-bad": "%%module json.py\nx = 1",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """{cell name: its outputs}, from one run of one kernel."""
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_STATE_DIR", str(folder / "state"))
        patch.setenv("COURSE_SCRATCH", str(folder))
        sources = [source.replace("FOLDER", repr(str(Path(__file__).parent))) for source in CELLS.values()]
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        nbclient.NotebookClient(nb, timeout=60, kernel_name="python3", allow_errors=True).execute(cwd=str(folder))
    return {name: cell.outputs for name, cell in zip(CELLS, nb.cells, strict=True)}


@pytest.mark.parametrize("status", ["todo", "wrong", "pass"])
def test_one_bundle_of_three_kinds(outputs, status):
    (output,) = outputs[status]
    data = output["data"]
    assert set(data) == {"text/plain", "text/html", MIME}
    facts = data[MIME]
    assert (facts["id"], facts["status"]) == ("00.1", status)
    assert "<script" not in data["text/html"] and "<style" not in data["text/html"]


@pytest.mark.parametrize("kind", ["value", "function"])
def test_checking_twice_does_not_pass_with_the_courses_version(outputs, kind):
    """After a wrong answer the name holds the course's version; only the learner's own cell may change that."""
    statuses = [outputs[cell][0]["data"][MIME]["status"] for cell in (f"wrong-{kind}-check", f"{kind}-again")]
    assert statuses == ["wrong", "todo"]
    assert "still holds the course's version" in outputs[f"{kind}-again"][0]["data"]["text/plain"]


def test_the_right_value_typed_after_a_wrong_one_passes(outputs):
    assert outputs["value-mine-check"][0]["data"][MIME]["status"] == "pass"


def test_a_wrong_answer_reads_as_promised(outputs):
    text = outputs["wrong"][0]["data"]["text/plain"]
    assert text.startswith("00.1 not yet. It is not 109,184: that is too few.")
    assert "forgets the biases" in text and "The lesson goes on with the course's `num_parameters`" in text


def test_an_error_shows_the_learners_own_line(outputs):
    text = outputs["error"][0]["data"]["text/plain"]
    assert "90.1 error. Your code raised RuntimeError: The size of tensor a (4) must match" in text
    assert "line 8:  return total / mask.sum(1)" in text
    assert "ipykernel" not in text and "Traceback" not in text


def test_our_own_errors_are_one_line_in_a_notebook(outputs):
    (unknown,), (module,) = outputs["unknown"], outputs["module-bad"]
    assert unknown["traceback"] == ["UserError: there is no exercise '0.1'; did you mean \"00.1\"?"]
    assert len(module["traceback"]) == 1 and "a module named json exists already" in module["traceback"][0]
