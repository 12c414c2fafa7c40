"""`course build`: turns sources into learner and solved notebooks, the same bytes every time.

The learner form keeps its committed outputs while the code that made them is unchanged; `--execute` makes new ones,
`--check` only says what would change. Executing is the engine's work, judging outputs is `course check`'s.
"""

import argparse
import sys
from pathlib import Path

import nbformat

from course_utils.errors import UserError
from course_utils.notebook.bootstrap import bootstrap_cell, facts_cell
from course_utils.notebook.canonical import KERNELSPEC, LANGUAGE_INFO, write_notebook
from course_utils.notebook.cells import exercise_cells, plain_cell
from course_utils.notebook.claims import parse_claims
from course_utils.notebook.exercise_source import exercise_of, read_exercises
from course_utils.notebook.facts import lesson_facts
from course_utils.notebook.layout import Layout
from course_utils.notebook.names import names_bound_before
from course_utils.notebook.percent import Source, SourceCell, read_source

__all__ = ["add_arguments", "build_lesson", "main", "write_notebook"]

FORMS = ("learner", "solved")


def build_lesson(source_path: Path, form: str = "learner") -> nbformat.NotebookNode:
    """The notebook of one source, without outputs. Raises UserError (`invalid-notebook`) naming file and cell."""
    if form not in FORMS:
        raise UserError(f"there is no form {form!r}; forms: {', '.join(FORMS)}.")
    source = read_source(source_path)
    layout = Layout.of_source(source_path)
    cells = _cells(source, layout, form)
    known = {path.stem[:2]: path.stem for path in layout.sources()}
    cells[1:1] = [facts_cell(lesson_facts(source, layout), known), bootstrap_cell(layout)]
    _check_ids(source, cells)
    course = {**source.header, "slug": source.slug, "form": form}
    metadata = {"course": course, "kernelspec": KERNELSPEC, "language_info": LANGUAGE_INFO}
    nb = nbformat.v4.new_notebook(cells=cells, metadata=nbformat.from_dict(metadata))
    nb.nbformat_minor = 5
    return nb


def _cells(source: Source, layout: Layout, form: str) -> list[nbformat.NotebookNode]:
    exercises = read_exercises(source.number, layout.root)
    cells: list[nbformat.NotebookNode] = []
    for cell in source.cells:
        if cell.exercise is None:
            _check_claims(source, cell)
            cells.append(plain_cell(cell, exercises))
            continue
        exercise = exercise_of(exercises, cell.exercise, f"{source.path.name}, line {cell.line}")
        made = exercise_cells(cell, exercise, form)
        needed = exercise.needed_names | {"exercise"}
        missing = sorted(needed - names_bound_before([*cells, *made], cell.id))
        if missing:
            raise _unbound(source, cell, missing)
        cells += made
    return cells


def _check_claims(source: Source, cell: SourceCell) -> None:
    """A claim that cannot be read is an error of the source, with its cell."""
    try:
        if cell.kind == "markdown":
            parse_claims(cell.source)
    except UserError as error:
        raise UserError(f"{source.path.name}, line {cell.line}, cell {cell.id!r}: {error}", error.status) from error


def _unbound(source: Source, cell: SourceCell, missing: list[str]) -> UserError:
    names = ", ".join(f"`{name}`" for name in missing)
    return UserError(
        f"{source.path.name}, line {cell.line}: the solution of exercise {cell.exercise} uses {names}, which no cell "
        f"before {cell.id!r} binds. Import or define it in an earlier cell (for `exercise`: "
        "`from course_utils.exercises import exercise`).",
        status="invalid-notebook",
    )


def _check_ids(source: Source, cells: list[nbformat.NotebookNode]) -> None:
    ids = [cell.id for cell in cells]
    twice = sorted({cell_id for cell_id in ids if ids.count(cell_id) > 1})
    if twice:
        message = f"{source.path.name}: cell id {twice[0]!r} is also the id of a generated cell; choose another."
        raise UserError(message, "invalid-notebook")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `course build`."""
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="05, 05_slug or a path; all of them by default")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on anything that build would change")
    parser.add_argument("--execute", action="store_true", help="run lessons without valid outputs, keep the outputs")
    parser.add_argument("--fresh", action="store_true", help="with --execute: run them even if their outputs are valid")
    parser.add_argument("--root", help=argparse.SUPPRESS)


def main(args: argparse.Namespace) -> int:
    """Build, check or execute; 0 fine, 1 something would change or failed to run, 2 a source is wrong."""
    from course_utils.notebook.build_run import check, execute, write

    layout = Layout.here(args.root)
    if args.check and args.execute:
        raise UserError("--check writes nothing and --execute writes outputs: choose one.")
    if args.fresh and not args.execute:
        raise UserError("--fresh says to run a lesson again: it needs --execute.")
    selected = layout.select(args.lessons)
    if args.check:
        return check(layout, selected, everything=not args.lessons)
    if args.execute:
        return execute(layout, selected, fresh=args.fresh)
    return write(layout, selected)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    sys.exit(main(parser.parse_args()))
