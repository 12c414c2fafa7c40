"""Kept results of runs: what passed under which key, how each notebook's last run ended, where one was cut off.

One folder for each notebook, form and profile below `.cache/runs/`. Only passes are ever reused.
"""

import json
from pathlib import Path
from typing import Any

from course_utils import paths
from course_utils.errors import EnvironmentProblem
from course_utils.notebook.results import NotebookResult, read_json, write_json
from course_utils.notebook.selection import Job

KEPT_PER_NOTEBOOK = 8


class RunStore:
    """The results below one folder. Writing raises EnvironmentProblem when the folder cannot be written."""

    def __init__(self, root: Path | None = None):
        self.root = root or paths.cache_dir() / "runs"

    def folder(self, job: Job) -> Path:
        """Where results of this notebook in this form and profile are."""
        return self.root / f"{job.form}-{job.profile}" / job.slug

    def passed(self, job: Job) -> NotebookResult | None:
        """The pass with exactly this key, if there is one."""
        stored = self._read(self.folder(job) / f"{job.key.digest}.json")
        return stored if stored and stored.passed else None

    def last(self, job: Job) -> NotebookResult | None:
        """How the most recent finished run ended, whatever its key."""
        return self._read(self.folder(job) / "last.json")

    @staticmethod
    def _read(path: Path) -> NotebookResult | None:
        data = read_json(path)
        try:
            return NotebookResult.from_json(data) if data else None
        except (TypeError, AttributeError, KeyError):
            return None  # another version's, or damaged: run again

    def reason_to_run(self, job: Job, fresh: bool) -> str:
        """Why this notebook runs now; '' when a kept pass may stand for it."""
        if not job.is_lesson:
            return "not a lesson, so always run"
        if fresh:
            return "--fresh"
        if self.passed(job):
            return ""
        if cut_off := self._cut_off(job):
            return f"last run was cut off in cell {cut_off}"
        last = self.last(job)
        if last is None:
            return "new"
        reason = job.key.reason(last.key)
        return f"last run failed ({last.status})" if reason == "unchanged" else reason

    def save(self, job: Job, result: NotebookResult) -> None:
        """Keep a finished result; the journal of the run is over."""
        folder = self.folder(job)
        data = result.to_json()
        write_json(folder / "last.json", data)
        if result.passed:
            write_json(folder / f"{job.key.digest}.json", data)
        self._journal(job).unlink(missing_ok=True)
        kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in kept[KEPT_PER_NOTEBOOK + 1 :]:
            old.unlink(missing_ok=True)

    def note(self, job: Job, event: dict[str, Any]) -> None:
        """Append one line to the journal: the runner may be killed at any moment."""
        line = {"kind": event["kind"], "index": event["index"], "id": event.get("id", ""), "count": event.get("count")}
        path = self._journal(job)
        is_first = event["kind"] == "cell" and event["index"] == 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if is_first else "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as problem:
            message = f"cannot keep results in {path.parent}: {problem.strerror}. Free space, make it writable,"
            raise EnvironmentProblem(f"{message} or set COURSE_CACHE to another folder.") from None

    def _journal(self, job: Job) -> Path:
        return self.folder(job) / "journal.jsonl"

    def _cut_off(self, job: Job) -> str:
        try:
            lines = self._journal(job).read_text(encoding="utf-8").splitlines()
            started = [entry for entry in map(json.loads, lines) if entry["kind"] == "cell"][-1]
        except (OSError, ValueError, IndexError, KeyError):
            return ""
        return f"{started['index'] + 1}/{started['count']} {started['id']}".strip()
