"""The lessons as a table: title, time, memory, needs. From `course_utils/lessons.json`, which `course build` generates.

Works in an installed copy without the development tools (lesson 00 on Colab). Measures nothing itself.
"""

import json
from pathlib import Path

FACTS_FILE = Path(__file__).resolve().parent.parent / "lessons.json"
BEGIN, END = "<!-- lessons:begin -->", "<!-- lessons:end -->"


def lessons(path: Path = FACTS_FILE) -> list[dict]:
    """Facts of every lesson in order: number, slug, title, question, minutes, needs, prerequisites, exercises, colab,
    seconds and peak_mb (both None until measured)."""
    return json.loads(path.read_text(encoding="utf-8"))["lessons"] if path.is_file() else []


def run_time(seconds: float | None) -> str:
    """`45 s`, `1 min 30 s`, or `-` when it was never measured."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return " ".join(
        part for part in (f"{minutes} min" * bool(minutes), f"{rest} s" * bool(rest or not minutes)) if part
    )


def memory(peak_mb: float | None) -> str:
    """`0.6 GB`, or `-` when it was never measured."""
    return "-" if peak_mb is None else f"{peak_mb / 1024:.1f} GB"


def badge(address: str) -> str:
    """Markdown of the badge that opens a notebook in Colab."""
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"


def as_markdown(rows: list[dict] | None = None, folder: str = "", badges: bool = True) -> str:
    """The table as Markdown. `folder` is where the notebooks lie seen from the page ("notebooks/" for the README)."""
    head = ["no", "lesson", "the question it answers", "your time", "exercises", "runs in", "memory", "needs"]
    lines = [head + ["Colab"] * badges, ["---"] * (len(head) + badges)]
    lines += [_row(lesson, folder, badges) for lesson in (lessons() if rows is None else rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(lesson: dict, folder: str, badges: bool) -> list[str]:
    link = f"[{lesson['title']}]({folder}{lesson['slug']}.ipynb)"
    cells = [lesson["number"], link, lesson["question"], f"{lesson['minutes']} min", str(lesson["exercises"])]
    cells += [run_time(lesson["seconds"]), memory(lesson["peak_mb"]), lesson["needs"]]
    return [cell.replace("|", "\\|") for cell in cells] + [badge(lesson["colab"])] * badges


def fill_markers(text: str, table: str) -> str:
    """The text with everything between the two `lessons:` comments replaced by the table; unchanged without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n\n{table}\n\n{end}{after}" if begin and end else text
