"""`course build --execute`: run one lesson in learner form with its default parameters and keep what it printed.

A run that fails in any way leaves the committed notebook alone; the executed copy stays in `build/failed/` to look at.
"""

import copy
import os
import sys
import time
from pathlib import Path

import nbformat
import psutil

from course_utils.errors import UserError
from course_utils.notebook.build_plan import planned_learner
from course_utils.notebook.canonical import json_bytes, write_notebook
from course_utils.notebook.facts import read_verified, updated_verified
from course_utils.notebook.harvest import harvest
from course_utils.notebook.keys import output_key
from course_utils.notebook.layout import Layout
from course_utils.notebook.results import NotebookResult, write_atomic

MAX_BUSY_SHARE = 0.15  # of the processor time of all cores


def execute_lesson(layout: Layout, source: Path) -> None:
    """Run, harvest, store the key, record time and memory. Raises UserError naming the cell if anything is not `ok`."""
    from course_utils.notebook.engine import execute_notebook

    slug = source.stem
    nb, _ = planned_learner(layout, source)
    key = output_key(nb)
    print(f"{slug}: running {len(nb.cells)} cells ...", flush=True)
    with OtherLoad() as others:
        executed, result = execute_notebook(
            without_outputs(nb), slug=slug, profile="default", workdir=layout.notebooks, on_event=_show_cell
        )
    try:
        if not result.passed:
            raise UserError(_failure(result), result.status)
        nb = harvest(nb, executed)
    except UserError as error:
        kept = layout.root / "build" / "failed" / f"{slug}.ipynb"
        write_notebook(executed, kept)
        raise UserError(f"{error} The executed copy: {layout.show(kept)}", error.status) from error
    nb.metadata.course["key"] = key
    write_notebook(nb, layout.learner(slug))
    record(layout, result, others.share)
    print(f"{slug}: ran in {result.seconds:.1f} s, {result.peak_mb:,.0f} MB at most")


def _show_cell(event: dict) -> None:
    if event["kind"] == "cell" and sys.stdout.isatty():
        print(f"\r  cell {event['index'] + 1}/{event['count']} {event['id']:<40.40}", end="\r", flush=True)


def without_outputs(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy that has not run."""
    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def _failure(result: NotebookResult) -> str:
    drifted = [f"  {claim.cell}: {claim.message}" for claim in result.claims if not claim.ok]
    where = f"cell {result.cell!r}: " if result.cell else ""
    return "\n".join([f"{where}{result.message}", *drifted, result.traceback]).rstrip()


def record(layout: Layout, result: NotebookResult, busy_share: float) -> None:
    """Keep seconds and peak memory in verified.json, where they differ enough to matter.

    `busy_share` is the part of the machine that other programs used meanwhile: a time taken then would be wrong.
    """
    if busy_share > MAX_BUSY_SHARE:
        print(
            f"{result.slug}: time not recorded, since other programs used {busy_share:.0%} of this machine meanwhile; "
            f"when it is idle: course build --execute --fresh {result.slug[:2]}"
        )
        return
    verified = read_verified(layout)
    updated = updated_verified(verified, result.slug, result.seconds, result.peak_mb)
    if updated != verified:
        write_atomic(layout.verified, json_bytes(updated))


class OtherLoad:
    """How much of the machine's processor time other programs use between `with` and its end: `share`, 0 to 1."""

    share = 0.0

    def __enter__(self) -> "OtherLoad":
        self._start = self._seconds()
        return self

    def __exit__(self, *_exception) -> None:
        total, busy, ours = (now - before for now, before in zip(self._seconds(), self._start, strict=True))
        self.share = max(0.0, busy - ours) / total if total else 0.0

    @staticmethod
    def _seconds() -> tuple[float, float, float]:
        """Processor seconds so far: of all cores together, of those busy, and ours with ended children."""
        machine, ours = psutil.cpu_times(), os.times()
        busy = machine.user + machine.system + getattr(machine, "nice", 0.0)
        return time.monotonic() * psutil.cpu_count(), busy, sum(ours[:4])
