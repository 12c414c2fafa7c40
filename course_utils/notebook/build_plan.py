"""What `course build` would write: every generated file with its bytes, and which lessons lack valid outputs.

Reads sources, committed notebooks and measured facts; writes nothing.
"""

from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from course_utils.errors import UserError
from course_utils.notebook.build import build_lesson
from course_utils.notebook.canonical import notebook_bytes, read_notebook
from course_utils.notebook.facts import all_facts, facts_bytes, facts_path
from course_utils.notebook.harvest import carry_over, runs
from course_utils.notebook.keys import output_key
from course_utils.notebook.layout import Layout
from course_utils.notebook.lesson_table import BEGIN, as_markdown, fill_markers


@dataclass
class Plan:
    """`files`: bytes by path. `unexecuted`: slugs whose learner form has no valid outputs. `errors`: by source."""

    files: dict[Path, bytes] = field(default_factory=dict)
    unexecuted: list[str] = field(default_factory=list)
    errors: dict[Path, UserError] = field(default_factory=dict)


def make_plan(layout: Layout, selected: list[Path]) -> Plan:
    """The plan for some lessons, the lesson table, and the pages and notebooks that show it."""
    plan = Plan()
    rows = all_facts(layout)
    for source in layout.sources():
        wanted = source in selected
        if wanted or BEGIN in source.read_text(encoding="utf-8"):
            _plan_lesson(plan, layout, source, rows, wanted)
    plan.files[facts_path(layout)] = facts_bytes(rows)
    for page in [layout.root / "README.md", *sorted((layout.root / "docs").glob("*.md"))]:
        if page.is_file() and BEGIN in (text := page.read_text(encoding="utf-8")):
            folder = "notebooks/" if page.parent == layout.root else "../notebooks/"
            plan.files[page] = fill_markers(text, as_markdown(rows, folder)).encode("utf-8")
    return plan


def _plan_lesson(plan: Plan, layout: Layout, source: Path, rows: list[dict], wanted: bool) -> None:
    try:
        learner, executed = planned_learner(layout, source, rows)
        plan.files[layout.learner(source.stem)] = notebook_bytes(learner)
        plan.files[layout.solved(source.stem)] = notebook_bytes(with_table(build_lesson(source, "solved"), rows))
    except UserError as error:
        if wanted:
            plan.errors[source] = error
        return
    if wanted and not executed:
        plan.unexecuted.append(source.stem)


def with_table(nb: nbformat.NotebookNode, rows: list[dict]) -> nbformat.NotebookNode:
    """The notebook with the lesson table between the markers of its markdown cells, if it has any."""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = fill_markers(cell.source, as_markdown(rows, badges=False))
    return nb


def committed_notebook(layout: Layout, slug: str) -> nbformat.NotebookNode | None:
    """The learner notebook as it stands, or None when absent or unreadable (build then writes a new one)."""
    path = layout.learner(slug)
    try:
        return read_notebook(path) if path.is_file() else None
    except UserError:
        return None


def planned_learner(layout: Layout, source: Path, rows: list[dict] | None = None) -> tuple[nbformat.NotebookNode, bool]:
    """The learner form with the committed outputs that are still valid, and whether every code cell has them."""
    nb = with_table(build_lesson(source, "learner"), all_facts(layout) if rows is None else rows)
    valid = carry_over(nb, committed_notebook(layout, source.stem), output_key(nb))
    return nb, valid or not any(runs(cell) for cell in nb.cells)
