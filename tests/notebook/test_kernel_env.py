"""The hermetic environment in real processes: what must not get out does not, and what must work does."""

import json
import subprocess
import sys
import textwrap

import pytest

from course_utils.notebook.kernel_env import SANDBOX, crash_log, kernel_environment, network_log

pytestmark = pytest.mark.multiprocess
TRIES = {
    "a name": "socket.getaddrinfo('huggingface.co', 443)",
    "an old call": "socket.gethostbyname('pypi.org')",
    "a number": "socket.create_connection(('93.184.216.34', 80), timeout=2)",
    "IPv6": "socket.socket(socket.AF_INET6).connect(('2606:4700::1', 443))",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))",
    "a connected datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('8.8.8.8', 53))",
    "the proxy": "urllib.request.urlopen('https://example.org/x', timeout=2)",
    "a library": "requests.get('https://example.org/x', timeout=2)",
}
LOCAL = """
    import socket
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname()).close()
    socket.getaddrinfo("localhost", 80); socket.getaddrinfo(None, 80); socket.getaddrinfo("127.0.0.1", 80)
    socket.getaddrinfo(socket.gethostname(), 80); socket.getfqdn()
    one, other = socket.socketpair()
    one.sendmsg([b"x"])
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"x", ("127.0.0.1", 9999))
"""
GLOO = """
    import torch, torch.distributed as dist, torch.multiprocessing as mp
    def rank_main(rank, port):
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
        total = torch.ones(1)
        dist.all_reduce(total)
        assert total.item() == 2
        dist.barrier()
        dist.destroy_process_group()
    if __name__ == "__main__":
        import socket
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        mp.spawn(rank_main, (port,), nprocs=2)
"""


def run(code: str, folder, **more: str) -> subprocess.CompletedProcess:
    env = {**kernel_environment("smoke", folder), **more}
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    return subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=60)


def attempts(folder) -> list[dict]:
    path = network_log(folder)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_way_out_is_refused_and_logged(tmp_path):
    lines = ["import socket, urllib.request, requests"]
    for call in TRIES.values():
        lines.append(f"try:\n    {call}\n    print('out')\nexcept OSError as error:\n    print(error)")
    done = run("\n".join(lines), tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(TRIES)
    assert all("course fetch" in line for line in said), said
    hosts = [attempt["host"] for attempt in attempts(tmp_path)]
    assert hosts[:4] == ["huggingface.co", "pypi.org", "93.184.216.34", "2606:4700::1"]
    assert "https://example.org/x" in hosts
    assert all(attempt["at"].startswith("script.py:") for attempt in attempts(tmp_path))


def test_this_machine_stays_open(tmp_path):
    done = run(LOCAL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert attempts(tmp_path) == []


@pytest.mark.slow
def test_ranks_can_talk(tmp_path):
    done = run(GLOO, tmp_path)
    assert done.returncode == 0, done.stderr
    assert attempts(tmp_path) == []


def test_a_grandchild_is_covered_too(tmp_path):
    inner = "import socket; socket.gethostbyname('pypi.org')"
    done = run(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {inner!r}])", tmp_path)
    assert done.returncode == 0
    assert [attempt["host"] for attempt in attempts(tmp_path)] == ["pypi.org"]


def test_the_hidden_sitecustomize_is_loaded(tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys; sys.hidden_was_here = True")
    done = run("import sys; print(sys.hidden_was_here)", tmp_path, PYTHONPATH=f"{SANDBOX}:{hidden}")
    assert done.stdout == "True\n", done.stderr


def test_a_crash_leaves_its_python_stack(tmp_path):
    run("def deep():\n    import ctypes\n    ctypes.string_at(0)\ndeep()", tmp_path)
    assert "in deep" in crash_log(tmp_path).read_text()


def test_what_a_kernel_sees(tmp_path):
    shell = {"PATH": "/bin", "PYTHONSTARTUP": "/x.py", "OMP_NUM_THREADS": "64", "https_proxy": "http://proxy:3128"}
    env = kernel_environment("gpu", tmp_path, shell)
    assert env["COURSE_PROFILE"] == "gpu"
    assert env["PATH"] == "/bin"
    assert env["OMP_NUM_THREADS"] == env["MKL_NUM_THREADS"] == "2"
    assert env["PYTHONHASHSEED"] == "0"
    assert "PYTHONSTARTUP" not in env
    assert env["https_proxy"] == env["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert env["PYTHONPATH"].split(":")[0] == str(SANDBOX)
    for name in ("COURSE_STATE_DIR", "COURSE_SCRATCH", "IPYTHONDIR"):
        assert env[name].startswith(str(tmp_path))
    assert list((tmp_path / "state").iterdir()) == []
