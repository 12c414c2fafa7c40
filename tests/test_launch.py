"""`distributed.launch`: results, every way a rank can fail, no hang, no orphan, no flake."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import launch_targets
import psutil
import pytest
import torch

from course_utils.distributed import fork_launcher
from course_utils.distributed.launch import LaunchTimeout, RankError, launch, rank_environment
from course_utils.errors import EnvironmentProblem, UserError

pytestmark = pytest.mark.multiprocess
HERE = Path(__file__).parent
BOTH = pytest.mark.parametrize("via", ["fork", pytest.param("torchrun", marks=pytest.mark.slow)])


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds: float = 30.0) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@BOTH
def test_results_come_back_by_rank(via, capsys):
    assert launch(launch_targets.sum_of_ranks, 2, via=via, offset=1.5) == [(0, 4.0), (1, 4.0)]
    printed = capsys.readouterr().out
    command = "$ torchrun --standalone --nproc-per-node=2 -m course_utils.distributed.worker"
    assert printed == ("" if via == "fork" else f"{command} launch_targets:sum_of_ranks offset=1.5\n")


def test_fifty_launches_in_a_row():
    for offset in range(50):
        world_size = 2 + offset % 2
        expected = sum(range(world_size)) + world_size * offset
        results = launch("launch_targets:sum_of_ranks", world_size, offset=offset)
        assert results == [(rank, expected) for rank in range(world_size)]


def test_a_rank_finds_torchruns_variables_one_thread_and_our_surroundings(tmp_path, monkeypatch):
    folder = tmp_path / "Größe und Maß"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COURSE_TEST", "ß")
    for rank, found in enumerate(launch(launch_targets.surroundings, 2)):
        numbers = {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        assert found["env"] == numbers | {"COURSE_TEST": "ß"}
        assert found["threads"] == 1 and found["cwd"] == str(folder) and found["pid"] != os.getpid()
        assert "gloo" in found["backend"]


def test_a_function_may_join_the_group_itself():
    assert launch(launch_targets.joins_itself, 2, init_group=False) == [2.0, 2.0]


def test_a_target_that_destroys_its_group_does_not_hang():
    """gloo's destructor deadlocked in 1 of 4 such runs on two busy cores (see `safe_groups`)."""
    for _ in range(8):
        assert len(set(launch(launch_targets.trains_and_leaves, 4, timeout_s=20, init_group=False))) == 1


def test_output_is_printed_in_rank_order_under_the_ranks_name(capfd):
    launch(launch_targets.speak, 2)
    printed = capfd.readouterr()
    lines = [
        f"[rank {rank}] {text}"
        for rank in (0, 1)
        for text in (f"Größe 0 of rank {rank}", f"Größe 1 of rank {rank}", "from C")
    ]
    assert printed.out.splitlines() == lines
    assert printed.err.splitlines() == ["[rank 0] a warning", "[rank 1] a warning"]


def test_long_output_is_cut_at_the_front(capfd):
    launch(launch_targets.speak, 1, lines=1000)
    printed = capfd.readouterr().out.splitlines()
    assert (
        len(printed) == 201 and printed[0] == "[rank 0] ... 801 earlier lines ..." and printed[-1] == "[rank 0] from C"
    )


def test_ranks_end_together_when_one_is_slow():
    assert launch(launch_targets.returns_after_everyone_else, 2, seconds=0.5) == [0, 1]


def test_tensors_and_arguments_travel():
    value = {"weights": torch.arange(5.0), "name": "Größe", "nested": [(1, None)]}
    (back,) = launch(launch_targets.takes, 1, value=value)
    assert torch.equal(back.pop("weights"), torch.arange(5.0))
    assert back == {"name": "Größe", "nested": [(1, None)]}


FAILURES = [
    ("raise", "rank 1 of 2 failed in launch_targets:gives_up.*in gives_up.*ValueError: bad batch: Größe 7"),
    ("sys.exit", "rank 1 of 2 failed.*SystemExit: goodbye"),
    ("signal9", "rank 1 of 2 was killed by SIGKILL.*out of memory"),
    ("signal6", "rank 1 of 2 was killed by SIGABRT"),
    ("segfault", "rank 1 of 2 was killed by SIGSEGV"),
    ("exit3", r"rank 1 of 2 ended in the middle.*exit code 3"),
    ("exit0", r"rank 1 of 2 ended in the middle.*exit code 0"),
]


@pytest.mark.parametrize(("how", "message"), FAILURES)
def test_the_first_rank_to_fail_is_named_with_its_reason(how, message):
    with pytest.raises(RankError, match=f"(?s){message}") as caught:
        launch(launch_targets.gives_up, 2, how=how)
    assert caught.value.rank == 1
    assert "/" not in str(caught.value).replace("os._exit", ""), "no folders of this machine"
    assert launch("launch_targets:sum_of_ranks", 2) == [(0, 1.0), (1, 1.0)], "the next launch is not affected"


@pytest.mark.slow
@pytest.mark.parametrize(("how", "message"), [FAILURES[0], FAILURES[2]])
def test_torchrun_names_the_first_rank_to_fail(how, message):
    with pytest.raises(RankError, match=f"(?s){message}"):
        launch(launch_targets.gives_up, 2, via="torchrun", how=how)


def test_a_crash_shows_the_python_line_that_led_to_it(capfd):
    with pytest.raises(RankError):
        launch(launch_targets.gives_up, 2, how="segfault")
    assert "[rank 1] Fatal Python error: Segmentation fault" in capfd.readouterr().err


def test_a_deadlock_ends_and_says_where_each_rank_stood():
    with pytest.raises(LaunchTimeout) as caught:
        launch(launch_targets.skips_a_collective, 3, timeout_s=1.5)
    lines = str(caught.value).splitlines()
    assert lines[0] == "launch_targets:skips_a_collective did not finish on 3 ranks within 1.5 s."
    assert lines[1] == "rank 0 had finished and was waiting for the others."
    for rank, line in ((1, 2), (2, 4)):
        assert lines[line].startswith(f"rank {rank} stood in launch_targets.py, line ")
        assert lines[line].endswith("in skips_a_collective, inside all_reduce:")
        assert lines[line + 1].strip() == "dist.all_reduce(torch.ones(3))"
    assert "same calls in the same order" in lines[-1]


def test_a_timeout_in_plain_python_shows_the_line_in_a_folder_with_any_name(tmp_path, monkeypatch):
    folder = tmp_path / "Größe, 大 und Maß"
    folder.mkdir()
    (folder / "waits.py").write_text("import time\n\ndef wait():\n    time.sleep(60)  # Mittagsschläfchen\n", "utf-8")
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(
        LaunchTimeout, match="(?s)stood in waits.py, line 4, in wait:\n    time.sleep.60.  # Mittagsschläfchen"
    ):
        launch("waits:wait", 1, timeout_s=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world_size": 0}, "world_size must be a whole number from 1 to 64, not 0"),
        ({"world_size": -2}, "not -2"),
        ({"world_size": True}, "not True"),
        ({"world_size": 2.0}, "not 2.0"),
        ({"world_size": 1000}, "not 1000"),
        ({"timeout_s": 0}, "timeout_s must be a number of seconds above 0"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"via": "mpi"}, 'via must be "fork" or "torchrun", not \'mpi\''),
        ({"target": lambda: 0}, "is a lambda, a method or a function inside a function"),
        ({"target": random.Random().random}, "must be a function|is a lambda, a method"),
        ({"target": 7}, "must be a function or a text"),
        ({"target": "launch_targets"}, "has the form 'module:function'"),
        ({"target": "no_such_module_here:train"}, "There is no module 'no_such_module_here'.*%%module"),
        ({"target": "launch_targets:no_such_name"}, "the module 'launch_targets' has no function 'no_such_name'"),
        ({"target": launch_targets.sum_of_ranks, "offsett": 1}, "unexpected keyword argument 'offsett'"),
        ({"target": launch_targets.takes, "value": lambda: 0}, "The arguments value of .* cannot travel"),
        ({"target": launch_targets.takes, "value": threading.Lock()}, "cannot travel"),
        ({"target": launch_targets.returns_a_lambda}, "returned something that cannot travel"),
    ],
)
def test_calls_that_cannot_work_are_explained(changes, message):
    arguments = {"target": launch_targets.sum_of_ranks, "world_size": 2} | changes
    with pytest.raises(UserError, match=message):
        launch(**arguments)


def test_a_function_of_the_notebook_is_refused_with_the_way_out():
    def cell_function():
        """Stands for a function defined in a cell."""

    cell_function.__module__, cell_function.__qualname__ = "__main__", "cell_function"
    with pytest.raises(UserError, match="cell_function lives in the notebook.*%%module"):
        launch(cell_function, 2)


def test_an_error_while_importing_the_module_keeps_its_traceback(tmp_path, monkeypatch):
    (tmp_path / "half_written.py").write_text("import no_such_package_of_mine\n\ndef train(): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RankError, match="(?s)half_written.py.*No module named 'no_such_package_of_mine'"):
        launch("half_written:train", 1)


def test_an_edited_module_is_read_anew(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for answer in (1, 22):
        (tmp_path / "edited.py").write_text(f"def answer():\n    return {answer}\n")
        assert launch("edited:answer", 1) == [answer]


def test_what_a_rank_started_ends_with_it():
    (pid,) = launch(launch_targets.leaves_a_child, 1)
    assert wait_until(lambda: not is_running(pid))


@BOTH
def test_no_process_survives_a_killed_notebook(via, tmp_path):
    script = f"""
        import sys
        sys.path.insert(0, {str(HERE)!r})
        from course_utils.distributed.launch import launch
        launch("launch_targets:leaves_pids_and_waits", 2, timeout_s=300, via={via!r}, folder={str(tmp_path)!r})
    """
    notebook = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    try:
        assert wait_until(lambda: len(list(tmp_path.glob("*.pids"))) == 2, 60)
        below = [process.pid for process in psutil.Process(notebook.pid).children(recursive=True)]
        ranks = [int(note.read_text().split()[0]) for note in tmp_path.glob("*.pids")]
        assert set(ranks) <= set(below)
    finally:
        notebook.kill()
        notebook.wait()
    children = [int(note.read_text().split()[1]) for note in tmp_path.glob("*.pids")]
    try:
        # On a kill without warning only the ranks and their launchers are ours to end under torchrun.
        ours = set(below) - (set(children) if via == "torchrun" else set())
        assert wait_until(lambda: not any(map(is_running, ours))), [pid for pid in ours if is_running(pid)]
    finally:
        for pid in filter(is_running, children):
            os.kill(pid, signal.SIGKILL)


@BOTH
def test_an_interrupted_cell_leaves_nothing_behind(via, tmp_path):
    def interrupt_when_running():
        wait_until(lambda: len(list(tmp_path.glob("*.pids"))) == 2, 60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_when_running, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        launch(launch_targets.leaves_pids_and_waits, 2, timeout_s=120, via=via, folder=str(tmp_path))
    pids = [int(pid) for note in tmp_path.glob("*.pids") for pid in note.read_text().split()]
    assert len(pids) == 4 and wait_until(lambda: not any(map(is_running, pids)))


def test_a_dead_fork_server_is_reported_and_replaced():
    launch(launch_targets.sum_of_ranks, 1)
    server = fork_launcher._server
    killer = threading.Timer(0.5, server.process.kill)
    killer.start()
    with pytest.raises(EnvironmentProblem, match="ended unexpectedly.*exit code -9"):
        launch(launch_targets.sleeps_in_python, 2)
    assert launch(launch_targets.sum_of_ranks, 1) == [(0, 0.0)]
    assert fork_launcher._server is not server


def test_launches_from_several_threads_take_turns():
    results = {}

    def run(offset):
        results[offset] = launch(launch_targets.sum_of_ranks, 2, offset=offset)

    threads = [threading.Thread(target=run, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {offset: [(0, 1.0 + 2 * offset), (1, 1.0 + 2 * offset)] for offset in range(4)}


def test_what_comes_first_on_the_import_path_stays_first(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/sandbox")
    assert rank_environment()["PYTHONPATH"].split(os.pathsep)[0] == "/sandbox"


@pytest.mark.slow
def test_the_printed_command_runs_from_a_terminal(tmp_path):
    folder = tmp_path / "Größe und Maß"
    folder.mkdir()
    (folder / "by_hand.py").write_text(
        "import torch.distributed as dist\n\ndef main(word, number):\n"
        "    ranks = [None] * dist.get_world_size()\n"
        "    dist.all_gather_object(ranks, dist.get_rank())\n"
        "    assert (word, number, ranks) == ('Maß', 2.5, [0, 1])\n"
        "    print('all well')\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "course_utils.distributed.worker", "by_hand:main", "word=Maß", "number=2.5"]
    env = rank_environment() | {"LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.count("all well")) == (0, 2), done.stderr
