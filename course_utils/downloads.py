"""Download data sets and hub models for `course fetch`, checked against recorded lengths and hashes.

The only module that opens connections to the internet; no lesson and no library module imports it. Files appear whole
or not at all. From the hub only safetensors, JSON, text and tables are taken: nothing pickled, no code.
"""

import hashlib
import http.client
import json
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from course_utils import assets
from course_utils.errors import EnvironmentProblem, UserError
from course_utils.files import locked, need_room, new_folder, writable

TABLE_FILE = Path(__file__).with_name("downloads.json")
TIMEOUT_S = 30  # without a byte
CHUNK_BYTES = 1 << 18
MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
DATASET_FILES = ["*.parquet", "*.json", "*.jsonl", "*.csv", "*.tsv", "*.txt", "README.md"]


@dataclass(frozen=True)
class DataSet:
    """A data set of plain files: where they may be downloaded from, in order, and what they must look like."""

    title: str
    licence: str
    mirrors: list[str]
    files: dict[str, assets.File]


def table() -> dict[str, DataSet]:
    """The data sets that `course fetch` knows by name."""
    rows = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
    return {
        name: DataSet(**{**row, "files": {file: assets.File(**wanted) for file, wanted in row["files"].items()}})
        for name, row in rows.items()
    }


def fetch_data_set(data_set: DataSet, folder: Path) -> bool:
    """Bring the files of a data set into `folder`; False if they were there already, intact.

    Raises EnvironmentProblem when no mirror gives an intact file, or the folder cannot take it.
    """
    with writable(folder), locked(folder):
        if all(_intact(folder / name, wanted) for name, wanted in data_set.files.items()):
            return False
        need_room(folder, sum(wanted.bytes for wanted in data_set.files.values()))
        with new_folder(folder) as fresh:
            for name, wanted in data_set.files.items():
                if _intact(folder / name, wanted):
                    (fresh / name).write_bytes((folder / name).read_bytes())
                else:
                    download(name, wanted, data_set.mirrors, fresh / name)
    return True


def download(name: str, wanted: assets.File, mirrors: list[str], target: Path) -> None:
    """One file from the first mirror that gives it intact. Raises EnvironmentProblem naming what each mirror gave."""
    failures = []
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + name
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, open(target, "wb") as file:
                found = _copy(response, file, wanted.bytes, name)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        if found == wanted:
            return
        failures.append(f"{url}: {_difference(found, wanted)}")
    raise EnvironmentProblem(
        f"{name} could not be downloaded; nothing was changed. Tried:\n  "
        + "\n  ".join(failures)
        + "\nCheck the connection (a proxy is taken from https_proxy) and run this again, or name another source "
        "with --mirror URL."
    )


def fetch_hub(name: str, repo_type: str = "model") -> tuple[Path, bool]:
    """A hub model or data set in the hub's local cache: its folder, and whether anything was downloaded.

    Raises UserError for a name the hub does not have, EnvironmentProblem without a connection or without safetensors.
    """
    try:
        return assets.hub_path(name, repo_type), False
    except EnvironmentProblem:
        _download_from_hub(name, repo_type)
        return assets.hub_path(name, repo_type), True


def _download_from_hub(name: str, repo_type: str) -> None:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise EnvironmentProblem(f"{name} must be downloaded, but HF_HUB_OFFLINE is set. Unset it and run this again.")
    allowed = MODEL_FILES if repo_type == "model" else DATASET_FILES
    try:
        with writable(Path(constants.HF_HUB_CACHE)):
            snapshot_download(name, repo_type=repo_type, allow_patterns=allowed)
    except GatedRepoError as error:
        raise EnvironmentProblem(
            f"{repo_type} {name!r} asks for an agreement on the hub. Accept it there, run `hf auth login`, try again."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"the hub has no {repo_type} {name!r}; known here: {', '.join([*assets.table(), *table()])}."
        ) from error
    except (OfflineModeIsEnabled, HfHubHTTPError, OSError, _httpx_error()) as error:
        raise EnvironmentProblem(
            f"{repo_type} {name!r} could not be downloaded ({type(error).__name__}: {_first_line(error)}). "
            "Check the connection (a proxy is taken from https_proxy) and run this again; what arrived is kept."
        ) from error


def _httpx_error() -> type[Exception]:
    import httpx  # the hub client's own errors: some reach us unwrapped

    return httpx.HTTPError


def _copy(response: BinaryIO, file: BinaryIO, expected_bytes: int, name: str) -> assets.File:
    """Copy a download, never much more than expected; returns what arrived."""
    digest, length = hashlib.sha256(), 0
    while (chunk := response.read(CHUNK_BYTES)) and length <= expected_bytes:
        file.write(chunk)
        digest.update(chunk)
        length += len(chunk)
        if sys.stderr.isatty():
            print(f"\r  {name}: {length / 1e6:.1f} of {expected_bytes / 1e6:.1f} MB", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return assets.File(length, digest.hexdigest())


def _intact(path: Path, wanted: assets.File) -> bool:
    return path.is_file() and path.stat().st_size == wanted.bytes and assets.sha256(path) == wanted.sha256


def _difference(found: assets.File, wanted: assets.File) -> str:
    if found.bytes < wanted.bytes:
        return f"the file ends after {found.bytes:,} of {wanted.bytes:,} bytes"
    if found.bytes > wanted.bytes:
        return f"the file is longer than the {wanted.bytes:,} bytes expected"
    return f"the file was altered (SHA-256 {found.sha256[:12]}... instead of {wanted.sha256[:12]}...)"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else "no details"
