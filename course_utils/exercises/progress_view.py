"""How progress looks: a summary per lesson as data, as text for a terminal, and as HTML for lesson 00."""

import html

from course_utils import paths
from course_utils.exercises import catalogue, progress

BAR_WIDTH = 20
GREEN, GREY = "rgb(40, 150, 90)", "rgba(128, 128, 128, 0.25)"


def summary(entries: dict[str, dict]) -> dict:
    """{"lessons": [{"lesson", "file", "solved", "exercises", "attempts"}], "next": {...} | None}, in course order."""
    files, lessons = notebook_files(), {}
    for exercise_id in catalogue.titles():
        number = exercise_id[:2]
        fresh = {"lesson": number, "file": files.get(number, ""), "solved": 0, "exercises": 0, "attempts": 0}
        lesson = lessons.setdefault(number, fresh)
        lesson["exercises"] += 1
        lesson["solved"] += entries.get(exercise_id, {}).get("status") == "pass"
        lesson["attempts"] += entries.get(exercise_id, {}).get("attempts", 0)
    return {"lessons": list(lessons.values()), "next": next_exercise(entries, files)}


def next_exercise(entries: dict[str, dict], files: dict[str, str]) -> dict | None:
    """The first exercise, in course order, that is not solved; None when all are."""
    for exercise_id, title in catalogue.titles().items():
        if entries.get(exercise_id, {}).get("status") != "pass":
            return {"id": exercise_id, "title": title, "file": files.get(exercise_id[:2], "")}
    return None


def notebook_files() -> dict[str, str]:
    """{lesson number: notebook path relative to the checkout}; empty for an installed copy of the package."""
    root = paths.checkout()
    if root is None:
        return {}
    sources = [*(root / "notebooks" / "src").glob("[0-9][0-9]_*.py"), *(root / "notebooks").glob("[0-9][0-9]_*.ipynb")]
    return {path.name[:2]: f"notebooks/{path.stem}.ipynb" for path in sources}


def as_text(found: dict) -> str:
    """One line per lesson with a bar, then the next exercise and its file."""
    lines = []
    for lesson in found["lessons"]:
        full = round(BAR_WIDTH * lesson["solved"] / lesson["exercises"])
        name = lesson_name(lesson)
        lines.append(f"{name:<28} {'█' * full}{'░' * (BAR_WIDTH - full)} {lesson['solved']} of {lesson['exercises']}")
    solved, total = totals(found)
    return "\n".join([*lines, "", f"{solved} of {total} exercises solved. {next_line(found)}"])


def lesson_name(lesson: dict) -> str:
    """`05_bert_fine_tuning`, or `lesson 05` where there is no notebook."""
    return lesson["file"].removeprefix("notebooks/").removesuffix(".ipynb") or f"lesson {lesson['lesson']}"


def totals(found: dict) -> tuple[int, int]:
    return sum(x["solved"] for x in found["lessons"]), sum(x["exercises"] for x in found["lessons"])


def next_line(found: dict) -> str:
    if found["next"] is None:
        return "All solved."
    where = f" ({found['next']['file']})" if found["next"]["file"] else ""
    return f"Next: {found['next']['id']}, {found['next']['title']}{where}."


def as_html(found: dict) -> str:
    """The same as a table; readable in light and dark themes, no script."""
    cell = "padding: 2px 12px 2px 0; text-align: left"
    rows = []
    for lesson in found["lessons"]:
        share = round(100 * lesson["solved"] / lesson["exercises"])
        bar = (
            f'<div style="width: 160px; height: 9px; background: {GREY}; border-radius: 5px">'
            f'<div style="width: {share}%; height: 9px; background: {GREEN}; border-radius: 5px"></div></div>'
        )
        cells = [html.escape(lesson_name(lesson)), bar, f"{lesson['solved']} of {lesson['exercises']}"]
        rows.append("<tr>" + "".join(f'<td style="{cell}">{c}</td>' for c in cells) + "</tr>")
    solved, total = totals(found)
    words = html.escape(f"{solved} of {total} exercises solved. {next_line(found)}")
    return f'<table style="border-collapse: collapse">{"".join(rows)}</table><p style="margin: 6px 0">{words}</p>'


def show() -> None:
    """Display the progress in a notebook, or print it anywhere else."""
    from IPython import get_ipython
    from IPython.display import display

    found = summary(progress.load())
    if get_ipython() is None:
        print(as_text(found))
        return
    display({"text/plain": as_text(found), "text/html": as_html(found)}, raw=True)
