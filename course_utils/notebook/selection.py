"""Which notebooks a `course run` is about: lessons by number or slug, or any .ipynb by path, checked before one starts.

Everything a person can get wrong on the command line is found here, while nothing has run yet.
"""

import datetime
import difflib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from course_utils.errors import UserError
from course_utils.notebook.claims import parse_claims
from course_utils.notebook.keys import Key, run_key
from course_utils.notebook.layout import Layout
from course_utils.notebook.profiles import PROFILES, load_profile, resolve_parameters

FORMS = ("learner", "solved")


@dataclass
class Job:
    """One notebook to run: `nb` without outputs, where it runs, its parameters, and its key if results may be kept."""

    nb: nbformat.NotebookNode
    shown: str
    slug: str
    form: str
    profile: str
    workdir: Path
    parameters: dict[str, Any]
    is_lesson: bool
    key: Key
    timeout: float | None = None
    memory_cap_mb: float | None = None
    skip_reason: str = ""
    expired_skip: str = ""
    reason: str = ""
    expected_s: float = 60.0
    expected_mb: float = 2048.0
    folder: Path = field(default_factory=Path)


def select_jobs(
    words: list[str],
    *,
    form: str | None,
    profile: str,
    overrides: Mapping[str, str],
    timeout: float | None = None,
    memory_cap_mb: float | None = None,
) -> list[Job]:
    """Jobs in lesson order, then paths as given. Raises UserError (nothing-selected, bad-parameter, ...)."""
    _known("form", form or "learner", FORMS)
    _known("profile", profile, PROFILES)
    paths = [word for word in words if word.endswith(".ipynb")]
    lessons = [word for word in words if word not in paths]
    table = load_profile(profile) if profile != "default" else {}
    found = [_from_path(Path(word), form) for word in dict.fromkeys(paths)]
    if lessons or not paths:
        layout = Layout.here()
        found = [_from_source(layout, source, form or "learner") for source in layout.select(lessons)] + found
    if not found:
        raise UserError("no notebook was selected, so nothing would be proven.", "nothing-selected")
    limits = {"timeout": timeout, "memory_cap_mb": memory_cap_mb}
    jobs = [_job(*parts, profile, table, overrides, limits) for parts in found]
    for number, job in enumerate(jobs):  # strangers may share a name, and their copies lie in one folder
        if job.slug in {other.slug for other in jobs[:number]}:
            job.slug = f"{job.slug}-{number + 1}"
    return jobs


def _known(what: str, value: str, names: tuple[str, ...]) -> None:
    if value not in names:
        near = difflib.get_close_matches(value, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known {what}s: {', '.join(names)}."
        raise UserError(f"there is no {what} {value!r}; {hint}", "bad-parameter")


def _from_source(layout: Layout, source: Path, form: str) -> tuple[nbformat.NotebookNode, str, Path, bool]:
    from course_utils.notebook.build import build_lesson

    shown = layout.learner(source.stem) if form == "learner" else layout.solved(source.stem)
    return build_lesson(source, form), layout.show(shown), layout.notebooks, True


def _from_path(path: Path, form: str | None) -> tuple[nbformat.NotebookNode, str, Path, bool]:
    nb = read_notebook(path)
    own = nb.metadata.get("course", {}).get("form", "learner")
    if form and form != own:
        raise UserError(f"{path} is in {own} form; --form {form} needs the lesson's number.", "bad-parameter")
    folder = path.resolve().parent
    try:
        layout = Layout.here()
    except UserError:
        return nb, str(path), folder, False
    slug = nb.metadata.get("course", {}).get("slug", "")
    is_lesson = bool(slug) and path.resolve() in (layout.learner(slug).resolve(), layout.solved(slug).resolve())
    shown = layout.show(path.resolve()) if is_lesson else str(path)
    return nb, shown, layout.notebooks if is_lesson else folder, is_lesson


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """A notebook as nbformat 4, without outputs. Raises UserError: nothing-selected (no file), invalid-notebook."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no notebook {path}; check the path.", "nothing-selected") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} cannot be read as a notebook: {problem}.", "invalid-notebook") from None
    try:
        nb = nbformat.reads(text, as_version=4)
        nbformat.validate(nb, relax_add_props=True)
    except Exception as problem:  # nbformat raises whatever the broken structure made it trip over
        what = str(problem).splitlines()[0][:200] or type(problem).__name__
        raise UserError(
            f"{path} is not a notebook: {what}. Restore it, or save it again.", "invalid-notebook"
        ) from None
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def _job(
    nb: nbformat.NotebookNode,
    shown: str,
    workdir: Path,
    is_lesson: bool,
    profile: str,
    table: Mapping[str, dict],
    overrides: Mapping[str, str],
    limits: dict[str, float | None],
) -> Job:
    course = nb.metadata.get("course", {})
    slug = course.get("slug") or Path(shown).stem
    if not any(cell.cell_type == "code" and cell.source.strip() for cell in nb.cells):
        raise UserError(f"{shown} holds no code, so running it would prove nothing.", "nothing-selected")
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            _readable_claims(shown, cell)
    parameters = resolve_parameters(nb, slug, table, overrides)
    key = run_key(nb, profile, parameters)
    if any(limits.values()):
        key = key.extended("limits", repr(limits))
    job = Job(nb, shown, slug, course.get("form", "learner"), profile, workdir, parameters, is_lesson, key, **limits)
    _apply_skip(job, course)
    return job


def _readable_claims(shown: str, cell: nbformat.NotebookNode) -> None:
    try:
        parse_claims(cell.source)
    except UserError as problem:
        raise UserError(f"{shown}, cell {cell.get('id', '')}: {problem}", problem.status) from None


def _apply_skip(job: Job, course: Mapping[str, Any]) -> None:
    """A skip needs a reason and an end; from the day after, it fails."""
    skip = course.get("skip")
    if skip:
        try:
            reason, until = str(skip["reason"]), datetime.date.fromisoformat(str(skip["until"]))
        except (KeyError, TypeError, ValueError):
            message = f"{job.shown}: skip needs `reason` and `until: YYYY-MM-DD`, got {dict(skip)!r}."
            raise UserError(message, "invalid-notebook") from None
        if datetime.date.today() > until:
            job.expired_skip = f"its skip ended on {until} ({reason}): repair the notebook, or set a new date"
        else:
            job.skip_reason = f"{reason} (until {until})"
    needs_gpu = job.profile == "gpu" or str(course.get("needs", "")).upper().startswith("GPU")
    if needs_gpu and not has_gpu():
        job.skip_reason = job.skip_reason or "needs a GPU, and this machine shows none (nvidia-smi lists no device)"


def has_gpu() -> bool:
    """Whether a GPU that the course can use is here, without importing torch: NVIDIA's tool lists one, or a Mac's."""
    if sys.platform == "darwin":
        import platform

        return platform.machine() == "arm64"
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout
