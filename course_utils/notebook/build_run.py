"""The three things `course build` does with a plan: write it, check it, or execute lessons first.

Prints one line for each file that changes or would change.
"""

import sys
from pathlib import Path

from course_utils.errors import UserError
from course_utils.notebook.build_diff import file_differences
from course_utils.notebook.build_plan import Plan, make_plan
from course_utils.notebook.layout import Layout
from course_utils.notebook.results import write_atomic

MAX_LINES = 12


def write(layout: Layout, selected: list[Path]) -> int:
    """Write every file of the plan that differs; 0, or 2 if a source is wrong (the others are written)."""
    plan = make_plan(layout, selected)
    changed = [path for path, data in plan.files.items() if not (path.is_file() and path.read_bytes() == data)]
    for path in changed:
        write_atomic(path, plan.files[path])
        print(f"wrote {layout.show(path)}")
    _report_errors(plan)
    if plan.unexecuted:
        numbers = " ".join(slug[:2] for slug in plan.unexecuted)
        print(f"without outputs: {', '.join(plan.unexecuted)}; to make them: course build --execute {numbers}")
    print(f"{len(selected) - len(plan.errors)} lessons built, {len(changed)} files changed")
    return 2 if plan.errors else 0


def _report_errors(plan: Plan) -> None:
    for error in plan.errors.values():
        print(f"course build: {error}", file=sys.stderr)


def check(layout: Layout, selected: list[Path], everything: bool) -> int:
    """Print what build would change; 0 if nothing, 1 if something, 2 if a source is wrong."""
    plan = make_plan(layout, selected)
    _report_errors(plan)
    lines = []
    for path, data in plan.files.items():
        if layout.root / "build" not in path.parents:
            found = file_differences(path, data, layout.show(path))
            lines += found[:MAX_LINES] + [f"... and {len(found) - MAX_LINES} more"] * (len(found) > MAX_LINES)
    if lines:
        lines.append("run: course build")
    lines += [
        f"{slug}: outputs missing or older than its code; run: course build --execute {slug[:2]}"
        for slug in plan.unexecuted
    ]
    lines += _orphans(layout) if everything else []
    print("\n".join(lines) or f"{len(selected)} lessons are as build would write them")
    return 2 if plan.errors else 1 if lines else 0


def _orphans(layout: Layout) -> list[str]:
    known = {source.stem for source in layout.sources()}
    paths = [path for path in sorted(layout.notebooks.glob("*.ipynb")) if path.stem not in known]
    return [f"{layout.show(path)}: has no source in notebooks/src; delete it or write its source" for path in paths]


def execute(layout: Layout, selected: list[Path], fresh: bool) -> int:
    """Run the lessons that have no valid outputs (all selected ones with `fresh`), keep their outputs, then write."""
    from course_utils.notebook.build_execute import execute_lesson

    plan = make_plan(layout, selected)
    _report_errors(plan)
    wanted = [s for s in selected if s not in plan.errors and (fresh or s.stem in plan.unexecuted)]
    failed = 0
    for source in wanted:
        try:
            execute_lesson(layout, source)
        except UserError as error:
            failed += 1
            print(f"{source.stem} · {error.status} · {error}\n  its committed notebook is unchanged.", file=sys.stderr)
    code = write(layout, [source for source in selected if source not in plan.errors] if not failed else [])
    return 2 if plan.errors else 1 if failed else code
