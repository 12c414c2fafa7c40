"""nbval as hardened by us, on notebooks made here: each test runs the real pytest with a real kernel."""

import importlib.metadata
import inspect
import json
import os
import subprocess
import sys
import time

import nbformat
import nbval.kernel
import nbval.plugin
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.notebook.check_run import check_notebook

# -- the private parts of nbval that the plugin stands on


def test_nbval_is_the_version_that_was_read():
    assert importlib.metadata.version("nbval") == "0.11.0"


def test_names_of_nbval_that_we_override_or_call():
    file, cell, kernel = nbval.plugin.IPyNbFile, nbval.plugin.IPyNbCell, nbval.kernel.RunningKernel
    assert list(inspect.signature(file.collect).parameters) == ["self"]
    assert all(callable(getattr(file, name)) for name in ("setup", "teardown", "setup_sanitize_files"))
    assert list(inspect.signature(cell.compare_outputs).parameters) == ["self", "test", "ref", "skip_compare"]
    assert list(inspect.signature(cell.__init__).parameters)[1:] == ["name", "parent", "cell_num", "cell", "options"]
    assert list(inspect.signature(kernel.await_reply).parameters) == ["self", "msg_id", "timeout"]
    assert list(inspect.signature(kernel.get_message).parameters) == ["self", "stream", "timeout"]
    assert list(inspect.signature(kernel.execute_cell_input).parameters) == ["self", "cell_input", "allow_stdin"]
    assert list(inspect.signature(nbval.plugin.setup_coverage).parameters)[:2] == ["config", "kernel"]


def test_what_nbval_does_inside_a_cell_that_we_rely_on():
    source = inspect.getsource(nbval.plugin.IPyNbCell.runtest)
    for line in (
        "self.test_outputs = outs",  # the very list it fills: our screen changes it
        "timeout = self.config.option.nbval_cell_timeout",
        "self.parent.timed_out = True",
        "timeout=self.output_timeout",
        "self.compare_outputs(outs, coalesce_streams(self.cell.outputs))",
    ):
        assert line in source


# -- behaviour

UNKNOWN_KERNEL = {"name": "no-such-kernel", "display_name": "none", "language": "python"}


def code(cell_id, source, output="", tags=(), data=None):
    outputs = [new_output("stream", name="stdout", text=output)] if output else []
    outputs += [new_output("display_data", data=data)] if data else []
    return new_code_cell(source, id=cell_id, outputs=outputs, metadata={"tags": list(tags)} if tags else {})


@pytest.fixture
def check(tmp_path):
    """Writes a notebook whose cells were run in order, checks it, and returns the result."""

    def check(*cells, timeout=30.0):
        path = tmp_path / "made here, é.ipynb"
        numbered = [cell for cell in cells if cell.cell_type == "code"]
        for number, cell in enumerate(numbered, start=1):
            cell.execution_count = cell.execution_count or number
        nb = new_notebook(cells=list(cells), metadata={"kernelspec": UNKNOWN_KERNEL})
        nbformat.write(nb, path)
        return check_notebook(path, cell_timeout=timeout)

    return check


def test_a_true_notebook_passes_and_everything_in_it_is_counted(check):
    result = check(
        code("value", "loss = 0.5121\nprint(f'loss {loss:.3f}')", "loss 0.513\n"),
        new_markdown_cell("The loss is 0.512 <!-- claim: loss ~= 0.512 --> after 1 <!-- claim: 1 == 1 -->.", id="said"),
        code("ignored", "import time; print(time.time())", "1.0\n", tags=["nbval-ignore-output"]),
        code("noise", "import sys; print('warning', file=sys.stderr)"),
    )
    assert (result.status, result.message) == ("ok", "")
    assert [cell.status for cell in result.cells] == ["ok"] * 3
    assert [claim.cell for claim in result.claims] == ["said", "said"]


def test_every_stale_cell_is_listed_and_the_first_decides(check):
    result = check(code("one", "print(1)", "2\n"), code("two", "print(2)", "2\n"), code("three", "print(3)", "4\n"))
    assert (result.status, result.cell) == ("stale-output", "one")
    assert result.notes == ["stale-output in cell three: stdout, line 1: 4 became 3"]


def test_an_error_is_one_failure_and_the_rest_is_not_run(check):
    result = check(code("good", "print(1)", "1\n"), code("bad", "1 / 0"), code("rest", "print(2)", "2\n"))
    assert (result.status, result.cell, result.source) == ("error", "bad", "1 / 0")
    assert "ZeroDivisionError" in result.message and "\x1b" not in result.message
    assert [cell.status for cell in result.cells] == ["ok", "error", "not-run"]


def test_a_download_is_reported_even_if_the_cell_caught_it(check):
    source = "import urllib.request\ntry:\n    urllib.request.urlopen('http://example.com')\nexcept OSError:\n    pass"
    result = check(code("sneaky", source), code("after", "print(1)", "1\n"))
    assert (result.status, result.cell) == ("network", "sneaky")
    assert "example.com" in result.message


def test_a_cell_that_ignores_interrupts_is_a_timeout_all_the_same(check):
    stubborn = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass"
    result = check(code("first", "print(1)", "1\n"), code("stubborn", stubborn), timeout=1.0)
    assert (result.status, result.cell) == ("timeout", "stubborn")
    assert "longer than 1 s" in result.message


def test_clearing_and_updating_the_display_leave_what_a_reader_sees(check):
    update = "from IPython.display import display\nh = display('a', display_id=True)\nh.update('b')"
    clear = "from IPython.display import clear_output\nprint('old')\nclear_output(wait=True)\nprint('new')"
    at_once = "from IPython.display import clear_output\nprint('old')\nclear_output()\nprint('new')"
    result = check(
        code("update", update, data={"text/plain": "'b'"}),
        code("clear", clear, "new\n"),
        code("at-once", at_once, "new\n"),
    )
    assert (result.status, result.message) == ("ok", "")


def test_pictures_widgets_and_unknown_media_are_not_compared(check):
    media = {"application/vnd.new+json": {"a": 2}, "image/png": "eA=="}
    show = f"from IPython.display import display\ndisplay({media!r}, raw=True)"
    result = check(
        code("media", show, data={"application/vnd.new+json": {"a": 1}, "image/png": "eQ=="}),
        code("one", "print(1)", "1\n"),
    )
    assert result.status == "ok"


def test_what_widgets_show_is_theirs_and_what_is_printed_beside_them_is_compared(check):
    source = """import ipywidgets as widgets
box = widgets.Output()
display(widgets.VBox([box]))
with box:
    print("inside")
print("beside")"""
    result = check(code("widget", source, "beside\n"), code("later", "with box: print('in')\nprint(1)", "1\n"))
    assert (result.status, result.message) == ("ok", "")
    assert check(code("widget", source, "inside\nbeside\n")).status == "stale-output"


def test_exercise_verdicts_are_read_and_compared(check):
    mime = "application/vnd.course-utils.exercise+json"
    show = f"from IPython.display import display\ndisplay({{{mime!r}: {{'id': '05.1', 'status': 'todo'}}}}, raw=True)"
    kept = check(code("ex1-check", show, data={mime: {"id": "05.1", "status": "todo"}}))
    assert kept.status == "ok"
    assert [(verdict.id, verdict.status, verdict.cell) for verdict in kept.exercises] == [("05.1", "todo", "ex1-check")]
    assert check(code("ex1-check", show, data={mime: {"id": "05.1", "status": "pass"}})).status == "stale-output"


@pytest.mark.parametrize(
    ("counts", "status"), [((None, None), "not-run"), ((1, None), "not-run"), ((2, 1), "out-of-order")]
)
def test_counts_other_than_1_to_n_are_refused_before_a_kernel_starts(tmp_path, counts, status):
    cells = [code("a", "print(1)", "1\n"), code("b", "print(2)", "2\n")]
    for cell, count in zip(cells, counts, strict=True):
        cell.execution_count = count
    nbformat.write(new_notebook(cells=cells), tmp_path / "nb.ipynb")
    result = check_notebook(tmp_path / "nb.ipynb")
    assert (result.status, result.cells) == (status, [])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"cells": [], "metadata": {}, "nbformat": 4}'])
def test_a_file_that_is_no_notebook_is_named_as_such(tmp_path, text):
    (tmp_path / "nb.ipynb").write_text(text, encoding="utf-8")
    result = check_notebook(tmp_path / "nb.ipynb")
    assert result.status == "invalid-notebook" and "nb.ipynb" in result.message + result.path


def test_nothing_outlives_the_check(check, tmp_path):
    pids = tmp_path / "pids"
    source = f"""import os, subprocess
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
print(os.getpid(), child.pid, file=open({str(pids)!r}, "w"))"""
    result = check(code("child", source), code("one", "print(1)", "1\n"), code("dies", "import os; os._exit(3)"))
    assert result.status == "kernel-died" and "exit code 3" in result.message
    kernel, child = map(int, pids.read_text().split())
    assert not psutil.pid_exists(kernel) and not psutil.pid_exists(child)


def plain_pytest(folder, *options):
    """What a person types, in a folder with our conftest."""
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-W", "error", *options, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def folder(tmp_path, request):
    conftest = request.config.rootpath / "notebooks" / "conftest.py"
    (tmp_path / "conftest.py").write_text(conftest.read_text(encoding="utf-8"), encoding="utf-8")
    cells = [
        code("stale", "x = 1\nprint(x)", "2\n"),
        new_markdown_cell("It is 2 <!-- claim: x == 2 -->.", id="said"),
        code("marked", "# NBVAL_CHECK_OUTPUT\nprint(3)", "4\n"),
    ]
    for number, cell in enumerate((cells[0], cells[2]), start=1):
        cell.execution_count = number
    nbformat.write(new_notebook(cells=cells), tmp_path / "nb.ipynb")
    return tmp_path


def test_plain_nbval_uses_the_hardened_plugin(folder):
    done = plain_pytest(folder, "--nbval")
    assert "3 failed" in done.stdout, done.stdout
    assert "stale-output in cell 'stale'" in done.stdout and "claim-drift in cell 'said'" in done.stdout


def test_plain_nbval_lax_compares_only_marked_cells_but_judges_claims(folder):
    done = plain_pytest(folder, "--nbval-lax")
    assert "2 failed, 1 passed" in done.stdout, done.stdout
    assert "stale-output in cell 'marked'" in done.stdout and "claim-drift in cell 'said'" in done.stdout


def test_the_conftest_is_harmless_without_nbval(folder):
    assert "no tests ran" in plain_pytest(folder).stdout


def test_interrupting_the_check_kills_kernel_and_children(tmp_path):
    pids = tmp_path / "pids"
    source = f"import os, time\nprint(os.getpid(), file=open({str(pids)!r}, 'w'), flush=True)\ntime.sleep(300)"
    cell = code("waits", source, "never\n")
    cell.execution_count = 1
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "nb.ipynb")
    command = [sys.executable, "-m", "course_utils.cli", "check", str(tmp_path / "nb.ipynb"), "--output", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (pids.exists() and pids.read_text().strip()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(2)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    assert not psutil.pid_exists(int(pids.read_text()))


def test_the_journal_is_one_json_object_a_line(tmp_path):
    cell = code("one", "print(1)", "1\n")
    cell.execution_count = 1
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "nb.ipynb")
    events = []
    check_notebook(tmp_path / "nb.ipynb", on_event=events.append)
    named = [event["event"] for event in events if event["event"] != "tick"]
    assert named == ["cell-start", "cell-end"] and json.dumps(events)
