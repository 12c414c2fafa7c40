"""The engine with real kernels: what a run says about a notebook is what happened."""

import asyncio
import os
import shutil
import subprocess
import sys

import nbformat
import psutil
import pytest
from run_helpers import alive, notebook, wait_until

from course_utils.notebook.cell_outputs import as_terminal, strip_ansi
from course_utils.notebook.engine import cell_timeout, execute_notebook, inject_parameters, memory_cap
from course_utils.notebook.kernel_env import SANDBOX

pytestmark = pytest.mark.multiprocess
NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
EXERCISE = """
    from IPython.display import display
    answer = {"id": "05.1", "status": "todo", "message": "To do."}
    display({"application/vnd.course-utils.exercise+json": answer}, raw=True)
"""


def statuses(result) -> list[str]:
    return [cell.status for cell in result.cells]


def test_a_notebook_that_is_fine(tmp_path):
    nb = notebook(
        "num_steps = 1",
        "import os, time\nblock = bytearray(150 * 2**20)\ntime.sleep(0.2)\nprint('a', end='')\nprint('b')",
        "md:It is 3 <!-- claim: num_steps == 1; smoke: == 3 -->.".replace("It is 3", "It is 1"),
        "del block\nprint('1%\\r50%\\r100%')\nimport sys; print('note', file=sys.stderr); print('last')",
        EXERCISE,
        "from IPython.display import display\nhandle = display('first', display_id=True)\nprint('between')",
        "handle.update('second')\nenv = os.environ\n"
        "os.getcwd(), env['COURSE_PROFILE'], os.path.exists(env['COURSE_SCRATCH'])",
    )
    nb.cells[0].metadata["tags"] = ["parameters"]
    events = []
    executed, result = execute_notebook(
        nb, slug="05_x", profile="smoke", parameters={"num_steps": 3}, workdir=tmp_path, on_event=events.append
    )
    assert (result.status, result.message) == ("ok", "")
    assert set(statuses(result)) == {"ok"}
    assert [claim.status for claim in result.claims] == ["ok"]
    assert result.claims[0].cell == "c2"
    assert [(exercise.id, exercise.status) for exercise in result.exercises] == [("05.1", "todo")]
    by_id = {cell.id: cell for cell in executed.cells}
    assert by_id["injected-parameters"].source.endswith("num_steps = 3")
    assert [output.text for output in by_id["c1"].outputs] == ["ab\n"]
    assert [(o.name, o.text) for o in by_id["c3"].outputs] == [("stdout", "100%\nlast\n"), ("stderr", "note\n")]
    assert by_id["c5"].outputs[0].data["text/plain"] == "'second'"
    shown = by_id["c6"].outputs[0].data["text/plain"]  # IPython breaks long lines: a long folder name adds "\n "
    assert " ".join(shown.split()) == f"('{tmp_path}', 'smoke', True)"
    assert [cell.execution_count for cell in executed.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5, 6, 7]
    peaks = {cell.id: cell for cell in result.cells}
    assert peaks["c1"].peak_mb >= peaks["c1"].before_mb + 140
    assert peaks["c4"].peak_mb < peaks["c1"].peak_mb - 100
    assert result.peak_mb == pytest.approx(peaks["c1"].peak_mb, abs=60)
    assert peaks["c1"].seconds >= 0.2
    assert [event["index"] for event in events if event["kind"] == "cell"] == list(range(8))
    assert nb.cells[1].outputs == []  # the caller's notebook is untouched


def test_soft_failures_are_all_reported_and_a_hard_one_decides():
    nb = notebook(
        "x = 1",
        "md:It is 2 <!-- claim: x == 2 -->.",
        "md:It is 3 <!-- claim: x + oops == 3 -->.",
        "raise ValueError('no')",
        "x = 3",
    )
    executed, result = execute_notebook(nb)
    assert [claim.status for claim in result.claims] == ["claim-drift", "claim-drift"]
    assert "NameError" in result.claims[1].message
    assert (result.status, result.cell, result.message) == ("error", "c3", "ValueError: no")
    assert statuses(result) == ["ok", "error", "not-run"]
    assert executed.cells[-1].execution_count is None
    assert "ValueError" in result.traceback


def test_a_timeout_shows_the_line_that_hung():
    executed, result = execute_notebook(notebook("import time\nwhile True:\n    time.sleep(0.01)", "1"), timeout=0.7)
    assert (result.status, result.cell) == ("timeout", "c0")
    assert "time.sleep(0.01)" in strip_ansi(result.traceback)
    assert statuses(result) == ["timeout", "not-run"]


def test_a_kernel_that_cannot_be_interrupted_is_killed_all_the_same():
    stubborn = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    time.sleep(1)"
    executed, result = execute_notebook(notebook(stubborn), timeout=0.5)
    assert result.status == "timeout"
    assert executed.cells[0].outputs[-1].ename == "timeout"


def test_children_left_behind_are_stopped_and_said(tmp_path):
    code = f"""
        import os, subprocess, time
        plain = subprocess.Popen(["sleep", "301"], start_new_session=True).pid
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open({str(tmp_path / "orphan")!r}, "w").write(str(os.getpid()))
                time.sleep(302)
            os._exit(0)
        open({str(tmp_path / "plain")!r}, "w").write(str(plain))
        time.sleep(0.3)
    """
    _, result = execute_notebook(notebook(code))
    assert result.status == "ok"
    assert "sleep 301" in result.notes[0]
    pids = [int((tmp_path / name).read_text()) for name in ("plain", "orphan")]
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 5)


@pytest.mark.parametrize(
    "start",
    ["[sys.executable, '-I', '-c', ask]", pytest.param("['curl', '-s', 'http://example.org/d']", marks=NEEDS_CURL)],
)
def test_programs_that_never_load_the_sandbox_are_caught_too(start):
    code = f"""
        import subprocess, sys, time
        ask = "import urllib.request; urllib.request.urlopen('http://example.org/d')"
        subprocess.run({start}, stderr=subprocess.DEVNULL)
        time.sleep(60)
    """
    _, result = execute_notebook(notebook(code))
    assert (result.status, result.cell) == ("network", "c0")
    assert "http://example.org/d" in result.message


def test_a_network_attempt_after_the_last_cell_counts():
    late = "import atexit, socket\natexit.register(lambda: socket.gethostbyname('example.org'))"
    _, result = execute_notebook(notebook(late))
    assert result.status == "network"
    assert "after the last cell" in result.message


def test_tags_of_other_tools_mean_what_they_mean_there():
    nb = notebook("1 / 0", "raise SystemExit(3)", "2")
    nb.cells[0].metadata["tags"] = ["raises-exception"]
    nb.cells[1].metadata["tags"] = ["skip-execution"]
    _, result = execute_notebook(nb)
    assert result.status == "ok"
    assert statuses(result) == ["ok", "skipped", "ok"]


def test_inside_a_running_event_loop():
    async def caller():
        return execute_notebook(notebook("6 * 7"))

    executed, result = asyncio.run(caller())
    assert executed.cells[0].outputs[0].data["text/plain"] == "42"


def test_cancelling_leaves_no_process():
    from course_utils.notebook.engine import execute_async

    before = {child.pid for child in psutil.Process().children(recursive=True)}

    async def cancelled():
        work = execute_async(notebook("import time\ntime.sleep(60)"), "", "default", {}, None, None, None, None)
        task = asyncio.ensure_future(work)
        await asyncio.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_malformed_claims_are_named_before_a_kernel_starts():
    _, result = execute_notebook(notebook("x = 1", "md:Number 1 <!-- claim: x 1 -->."))
    assert (result.status, result.cell, statuses(result)) == ("invalid-notebook", "c1", ["not-run"])


def test_limits_come_from_the_notebook():
    lesson = notebook("1", slug="05_x", cell_timeout=20, mem_cap_mb=512)
    assert (cell_timeout(lesson, "default"), memory_cap(lesson, "smoke")) == (20, 512)
    assert cell_timeout(lesson, "gpu") == 3600
    assert memory_cap(notebook("1", slug="05_x"), "default") == 4096
    machine_mb = psutil.virtual_memory().total / 2**20
    assert 0.5 * machine_mb < memory_cap(notebook("1"), "default") < machine_mb


def test_parameters_replace_those_injected_before():
    nb = notebook("n = 1", "n")
    nb.cells[0].metadata["tags"] = ["parameters"]
    twice = inject_parameters(inject_parameters(nb, {"n": 2}), {"n": 3, "name": "a'b"})
    assert [cell.source for cell in twice.cells] == ["n = 1", '# Parameters\nn = 3\nname = "a\'b"', "n"]
    assert inject_parameters(nb, {}).cells == nb.cells


@pytest.mark.parametrize(
    "text, left",
    [("a\rb", "b"), ("10%\r100%\n", "100%\n"), ("ab\bc", "ac"), ("line\r\nnext", "line\nnext"), ("", "")],
)
def test_what_a_terminal_would_leave(text, left):
    assert as_terminal(text) == left


def papermill(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "papermill", "--engine", "course", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=os.path.dirname(arguments[0]))


def test_plain_papermill_with_our_engine(tmp_path):
    nb = notebook(
        "n = 1", "md:Words.", "import sys\nprint(n, next(p for p in sys.path if 'sandbox' in p))", "1 / 0", "n"
    )
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb.metadata["kernelspec"] = {"name": "somebody-elses", "display_name": "Python", "language": "python"}
    path = tmp_path / "in.ipynb"
    nbformat.write(nb, path)
    done = papermill(str(path), str(tmp_path / "out.ipynb"), "-p", "n", "5")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    out = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    cells = [cell for cell in out.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]
    assert [cell.metadata.papermill["status"] for cell in cells] == [*["completed"] * 4, "failed", "pending"]
    assert cells[3].outputs[0].text == f"5 {SANDBOX}\n"


def test_plain_papermill_names_what_it_does_not_know(tmp_path):
    path = tmp_path / "in.ipynb"
    nbformat.write(notebook("x = 1", "md:It is 2 <!-- claim: x == 2 -->.", "x"), path)
    done = papermill(str(path), str(tmp_path / "out.ipynb"))
    assert done.returncode == 1
    assert "claim-drift" in done.stderr
    out = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert [cell.metadata.papermill["status"] for cell in out.cells] == ["completed", "failed", "completed"]
