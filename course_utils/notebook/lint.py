"""`course lint`: rules for lessons (given by number) and for any notebook (given by path), one line for each finding.

It reads; it executes nothing and changes nothing. The rules are in `lint_files`, `lint_lessons`, `budgets`,
`lint_numbers`, `lint_links`, `lint_leaks` and `lint_tree`.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from course_utils.errors import UserError
from course_utils.notebook import lint_lessons
from course_utils.notebook.budgets import budget
from course_utils.notebook.build import build_lesson
from course_utils.notebook.build_plan import planned_learner
from course_utils.notebook.canonical import read_notebook
from course_utils.notebook.exercise_source import read_exercises
from course_utils.notebook.facts import read_verified
from course_utils.notebook.findings import STATUSES, Finding, from_error
from course_utils.notebook.layout import Layout
from course_utils.notebook.lint_files import FILE_RULES, execution
from course_utils.notebook.lint_links import anchors_in, broken_links, link_problem, links_in
from course_utils.notebook.lint_numbers import unclaimed_numbers
from course_utils.notebook.lint_tree import dataclass_findings, name_findings, ruff_findings
from course_utils.notebook.results import write_json

PYTHON_FOLDERS = ("course_utils", "tests", "bench", "notebooks/src")
LINK_FIX = "correct the link, or add what it points to"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `course lint`."""
    parser.add_argument("targets", nargs="*", metavar="LESSON|FILE", help="05, or any .ipynb; everything by default")
    parser.add_argument("--strict", action="store_true", help="warnings fail too")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the findings there too")
    parser.add_argument("--root", help=argparse.SUPPRESS)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["what is reported:", *(f"  {name:<23}{text}" for name, text in STATUSES.items())])


def main(args: argparse.Namespace) -> int:
    """Lint and print; 0 clean, 1 findings, 2 bad input (an unknown lesson or file)."""
    try:
        layout: Layout | None = Layout.here(args.root)
    except UserError:
        layout = None
    files, lessons = _split(args.targets, layout)
    linted = {path: lint_file(path, layout) for path in files}
    linted |= {source: lint_lesson(source, layout) for source in lessons}
    others = lint_tree(layout) if not args.targets else ruff_findings(layout, lessons) if lessons else []
    findings = [*(finding for found in linted.values() for finding in found), *others]
    for finding in findings:
        print(finding)
    if args.json:
        write_json(args.json, _report(linted))
    errors = sum(not finding.warning for finding in findings)
    print(f"{len(linted)} notebooks linted: {errors} errors, {len(findings) - errors} warnings")
    return 1 if errors or (args.strict and findings) else 0


def _report(linted: dict[Path, list[Finding]]) -> dict:
    """One row for each notebook, in the form of `course run --json`: the first error decides the status."""
    rows = []
    for path, findings in linted.items():
        worst = min(findings, key=lambda finding: finding.warning, default=None)
        row = {"path": str(path), "status": worst.status if worst else "ok", "cell": worst.cell if worst else ""}
        rows.append({**row, "findings": [asdict(finding) for finding in findings]})
    return {"notebooks": rows}


def _split(targets: list[str], layout: Layout | None) -> tuple[list[Path], list[Path]]:
    """Files to lint as they are, and lessons of this checkout. Raises UserError for what is neither."""
    files, lessons = [], []
    for target in targets:
        path = Path(target)
        if path.suffix == ".ipynb" and not (layout and _is_lesson(path, layout)):
            if not path.is_file():
                raise UserError(f"there is no notebook {target}.", "nothing-selected")
            files.append(path)
        else:
            lessons.append(target)
    if (lessons or not targets) and layout is None:
        raise UserError("lessons are linted in a checkout of the course; here, name a notebook file.")
    return files, layout.select(lessons) if lessons or not targets else []


def _is_lesson(path: Path, layout: Layout) -> bool:
    return path.resolve().parent == layout.notebooks.resolve() and layout.source(path.stem).is_file()


def lint_file(path: Path, layout: Layout | None = None) -> list[Finding]:
    """Findings of the rules that hold for any notebook."""
    shown = layout.show(path) if layout else str(path)
    try:
        nb = read_notebook(path)
    except UserError as error:
        return [from_error(shown, error)]
    findings = [Finding(shown, *found) for rule in FILE_RULES for found in rule(nb)]
    if "slug" in nb.metadata.get("course", {}):
        findings += [Finding(shown, *found) for found in [*budget(nb), *lint_lessons.imports(nb)]]
    findings += [Finding(shown, cell, "link", what, LINK_FIX) for cell, what in broken_links(nb, path.parent, layout)]
    return findings + [Finding(shown, *found, warning=True) for found in unclaimed_numbers(nb)]


def lint_lesson(source: Path, layout: Layout) -> list[Finding]:
    """Findings of every rule for one lesson: its text as it is in the source, its outputs as committed."""
    shown = layout.show(source)
    try:
        nb, executed = planned_learner(layout, source)
        solved = build_lesson(source, "solved")
    except UserError as error:
        return [from_error(shown, error)]
    findings = list(_committed(source, layout, executed))
    rules = [rule for rule in FILE_RULES if rule is not execution]
    found = [finding for rule in rules for finding in rule(nb)]
    found += lint_lessons.order(nb)
    found += lint_lessons.imports(nb)
    found += lint_lessons.exercises(nb, read_exercises(source.stem[:2], layout.root))
    found += lint_lessons.profiles(nb, layout)
    found += budget(nb, read_verified(layout).get(source.stem, {}).get("seconds"))
    found += [(cell, "link", what, LINK_FIX) for cell, what in broken_links(nb, layout.notebooks, layout)]
    findings += [Finding(shown, *parts) for parts in found]
    findings += name_findings(layout, solved, shown)
    return findings + [Finding(shown, *found, warning=True) for found in unclaimed_numbers(nb)]


def _committed(source: Path, layout: Layout, executed: bool) -> Iterator[Finding]:
    """The committed notebook exists, ran in order, and its outputs are those of today's code."""
    path = layout.learner(source.stem)
    shown, fix = layout.show(path), f"course build --execute {source.stem[:2]}"
    if not path.is_file():
        yield Finding(shown, "-", "not-run", "the notebook was never built", fix)
        return
    try:
        found = list(execution(read_notebook(path)))
    except UserError as error:
        yield from_error(shown, error)
        return
    yield from (Finding(shown, *parts) for parts in found)
    if not found and not executed:
        yield Finding(shown, "-", "not-run", "the outputs are those of older code", fix)


def lint_tree(layout: Layout) -> list[Finding]:
    """Python files, and links of the README and the documents."""
    folders = [layout.root / folder for folder in PYTHON_FOLDERS if (layout.root / folder).is_dir()]
    findings = [*ruff_findings(layout, folders), *dataclass_findings(layout)]
    for page in [layout.root / "README.md", *sorted((layout.root / "docs").rglob("*.md"))]:
        if page.is_file():
            findings += _page_findings(page, layout)
    return findings


def _page_findings(page: Path, layout: Layout) -> Iterator[Finding]:
    text = page.read_text(encoding="utf-8")
    for target in dict.fromkeys(links_in(text)):
        if problem := link_problem(target, page.parent, anchors_in(text), layout):
            line = text[: text.find(target)].count("\n") + 1
            yield Finding(layout.show(page), f"line {line}", "link", problem, LINK_FIX)
