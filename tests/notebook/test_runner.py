"""`course run` as a person meets it: real processes in a checkout of its own."""

import json
import os
import signal
import stat
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import psutil
import pytest
from run_helpers import alive, course, make_checkout, notebook, start_course, wait_until, write_lesson

pytestmark = pytest.mark.multiprocess
QUICK = "print('quick')"
# Waits in the middle until the test lets it go on.
SLOW = """
import os, pathlib, subprocess, time
child = subprocess.Popen(["sleep", "303"], start_new_session=True)
pathlib.Path("pids.part").write_text(f"{os.getpid()} {child.pid}")
os.replace("pids.part", "pids")
while not pathlib.Path("go").exists():
    time.sleep(0.05)
child.kill()
"""
# Ends only when the other notebook runs at the same time.
MEET = """
import pathlib, time
pathlib.Path(f"here-{NAME}").touch()
end = time.monotonic() + 20
while not pathlib.Path(f"here-{OTHER}").exists():
    assert time.monotonic() < end
    time.sleep(0.02)
"""


def results(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["notebooks"]


def test_reuse_and_the_reason_for_every_run(tmp_path):
    root = make_checkout(tmp_path, l05_uses="import course_utils.paths", l07_plain=QUICK)
    report = tmp_path / "report.json"

    def reasons(*arguments: str) -> list[str]:
        done = course(root, "run", *arguments, "--json", str(report))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == f"{len(results(report))} passed, 0 failed"
        return [result["reason"] for result in results(report)]

    assert reasons() == ["new", "new"]
    unchanged = reasons()
    assert [reason.partition(" since ")[0] for reason in unchanged] == ["unchanged", "unchanged"]
    write_lesson(root, "07_plain", "print('slower')")
    with (root / "course_utils" / "paths.py").open("a") as file:
        file.write("ANSWER = 42\n")
    first, second = reasons()
    assert first == "course_utils/paths.py changed" or first.startswith("course_utils/paths.py changed, runner")
    assert second.startswith("cell work changed")
    (root / "requirements" / "lock.txt").write_text("torch==2\n")
    assert reasons("7") == ["lock changed"]
    assert reasons("07_plain", "--fresh") == ["--fresh"]
    executed = nbformat.read(root / "build" / "executed" / "learner-default" / "07_plain.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "slower\n"
    assert executed.metadata.course_run["status"] == "ok"
    assert (root / "build" / "reports" / "learner-default.html").is_file()
    suite = ET.parse(root / "build" / "reports" / "learner-default.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")


def test_a_failure_is_never_reused_as_a_pass(tmp_path):
    root = make_checkout(tmp_path, l05_bad="1 / 0")
    report = tmp_path / "report.json"
    for reason in ("new", "last run failed (error)"):
        done = course(root, "run", "--json", str(report))
        assert done.returncode == 1
        assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"
        (result,) = results(report)
        assert (result["status"], result["reason"], result["cell"]) == ("error", reason, "work")
        assert result["source"] == "1 / 0"
        assert "ZeroDivisionError" in result["message"]
    assert ET.parse(root / "build" / "reports" / "learner-default.xml").getroot().find(".//failure") is not None


def begin_slow(tmp_path, **env):
    """A run of a quick and a slow lesson, stopped in the slow one; returns root, the process and the kernel's pids."""
    root = make_checkout(tmp_path, l05_quick=QUICK, l07_slow=SLOW)
    process = start_course(root, "run", **env)
    pids = root / "notebooks" / "pids"
    wait_until(lambda: pids.exists() or process.poll() is not None)
    assert pids.exists(), process.communicate(timeout=5)
    return root, process, [int(pid) for pid in (root / "notebooks" / "pids").read_text().split()]


def test_after_kill_9_nobody_is_left_and_what_finished_is_reused(tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    root, process, pids = begin_slow(tmp_path, TMPDIR=str(folder))
    assert all(alive(pid) for pid in pids)
    process.kill()
    process.communicate()
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 10)
    assert wait_until(lambda: not list(folder.iterdir()), 10)  # the run's own folder went with it
    (root / "notebooks" / "go").touch()
    report = tmp_path / "report.json"
    done = course(root, "run", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    quick, slow = results(report)
    assert quick["cached"]
    assert slow["reason"].startswith("last run was cut off in cell ") and slow["reason"].endswith("work")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_children_and_keeps_the_results(tmp_path, signum):
    root, process, pids = begin_slow(tmp_path)
    os.kill(process.pid, signum)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "results so far are kept" in said
    assert "Traceback" not in said
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 10)
    (root / "notebooks" / "go").touch()
    assert "unchanged since" in course(root, "run", "05").stdout


def test_two_runs_at_once(tmp_path):
    root, process, _ = begin_slow(tmp_path)
    second = course(root, "run", "05")
    assert second.returncode == 2
    assert "another run is using" in second.stderr and "--output" in second.stderr
    elsewhere = course(root, "run", "05", "--output", str(tmp_path / "elsewhere"))
    assert elsewhere.returncode == 0, elsewhere.stderr
    (root / "notebooks" / "go").touch()
    assert process.communicate(timeout=30)[0].splitlines()[-1] == "2 passed, 0 failed"


def test_both_at_once_when_asked(tmp_path):
    root = make_checkout(
        tmp_path,
        l05_one=f"NAME, OTHER = 5, 7\n{MEET}",
        l07_two=f"NAME, OTHER = 7, 5\n{MEET}",
    )
    done = course(root, "run", "--jobs", "2")
    assert done.stdout.splitlines()[-1] == "2 passed, 0 failed", done.stdout


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        (["6"], "nothing-selected", "there is no lesson '6'"),
        (["5", "--form", "solvd"], "bad-parameter", "did you mean 'solved'"),
        (["5", "--profile", "tiny"], "bad-parameter", "known profiles: default, smoke, gpu"),
        (["5", "-p", "lr", "1"], "bad-parameter", "no parameter 'lr'"),
        (["5", "--jobs", "0"], "course run --help", "1 or more, got '0'"),
        (["5", "--cell-timeout", "-1"], "", "more than 0, got '-1'"),
        (["5", "--cell-timeout", "soon"], "", "more than 0, got 'soon'"),
        (["5", "--memory-cap", "inf"], "", "more than 0, got 'inf'"),
    ],
)
def test_bad_arguments_are_one_message_before_anything_runs(tmp_path, arguments, status, words):
    root = make_checkout(tmp_path, l05_quick=QUICK)
    done = course(root, "run", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr and status in done.stderr
    assert "Traceback" not in done.stderr
    assert not (root / "build").exists()


def test_an_output_folder_that_cannot_be_written(tmp_path):
    root = make_checkout(tmp_path, l05_quick=QUICK)
    (root / "build").write_text("a file, where a folder should be")
    done = course(root, "run")
    assert done.returncode == 2
    assert "cannot write" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_folder(tmp_path):
    root = make_checkout(tmp_path, l05_quick=QUICK)
    (root / "build").mkdir()
    (root / "build").chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = course(root, "run")
    assert done.returncode == 2
    assert "cannot write" in done.stderr and "Traceback" not in done.stderr


def test_a_strangers_notebook_anywhere(tmp_path):
    """Spaces, non-ASCII letters, another kernel's name, no cell ids, LANG=C and no HOME."""
    root = make_checkout(tmp_path / "checkout", l05_quick=QUICK)
    folder = tmp_path / "mein Ordner ä"
    folder.mkdir()
    path = folder / "größe 1.ipynb"
    nb = notebook("import os, pathlib\nprint('größe', pathlib.Path.cwd().name)", "md:Wörter.")
    nb.metadata["kernelspec"] = {"name": "julia-1.9", "display_name": "Julia"}
    nb.nbformat_minor = 4
    for cell in nb.cells:
        cell.pop("id")
    path.write_text(json.dumps(nb), encoding="utf-8")
    report = tmp_path / "report.json"
    env = {"LANG": "C", "LC_ALL": "C"}
    os_home = os.environ.pop("HOME", None)
    try:
        done = course(root, "run", str(path), "--json", str(report), **env)
    finally:
        if os_home is not None:
            os.environ["HOME"] = os_home
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = results(report)
    assert (result["status"], result["reason"]) == ("ok", "not a lesson, so always run")
    copy = nbformat.read(result["executed"], as_version=4)
    assert copy.cells[0].outputs[0].text == "größe mein Ordner ä\n"


def test_parameters_and_a_skip(tmp_path):
    root = make_checkout(tmp_path / "checkout", l05_quick=QUICK)
    nb = notebook("n = 1\nrate = 0.5", "n, rate")
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, tmp_path / "one.ipynb")
    skipped = notebook("1 / 0", skip={"reason": "waits for torch 3", "until": "2999-12-31"})
    nbformat.write(skipped, tmp_path / "two.ipynb")
    report = tmp_path / "report.json"
    paths = [str(tmp_path / "one.ipynb"), str(tmp_path / "two.ipynb")]
    done = course(root, "run", paths[0], "-p", "n", "4", "-p", "rate", "2", "--json", str(report))
    assert results(report)[0]["parameters"] == {"n": 4, "rate": 2.0}, done.stderr
    done = course(root, "run", *paths, "--json", str(report))
    assert done.returncode == 0
    assert [result["status"] for result in results(report)] == ["ok", "skipped"]
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed"
    assert "waits for torch 3 (until 2999-12-31)" in done.stdout
    alone = course(root, "run", paths[1])
    assert alone.returncode == 1 and "nothing was proven" in alone.stdout


def test_no_process_of_ours_is_left_at_the_end(tmp_path):
    root = make_checkout(tmp_path, l05_quick=QUICK)
    assert course(root, "run").returncode == 0
    left = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in left if str(tmp_path) in command and sys.executable in command]
