"""The two generated cells at the top of a lesson: its facts, and the cell that installs the course on Colab.

What the Colab cell does after installing the package is `course_utils.colab`; here it is only written.
"""

from course_utils.notebook.cells import code_cell, markdown_cell
from course_utils.notebook.layout import Layout
from course_utils.notebook.lesson_table import badge, memory, run_time

FACTS_ID, BOOTSTRAP_ID = "lesson-facts", "bootstrap"
BOOTSTRAP = """\
# @title Colab: this cell installs the course. Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    import importlib
    import subprocess

    package = "course-utils @ {archive}"
    if subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", package]):
        raise RuntimeError("The course could not be installed. Is this runtime online? Then run this cell again.")
    importlib.invalidate_caches()
    importlib.import_module("course_utils.colab").set_up()
"""


def bootstrap_cell(layout: Layout):
    """The code cell tagged `bootstrap`: installs the release that this notebook belongs to, on Colab only."""
    archive = f"{layout.repository}/archive/refs/tags/{layout.release_tag}.zip"
    source = BOOTSTRAP.format(archive=archive).rstrip("\n")
    # Folded in JupyterLab and in Colab: it is not part of the lesson.
    return code_cell(BOOTSTRAP_ID, source, ("bootstrap",), cellView="form", jupyter={"source_hidden": True})


def facts_cell(facts: dict, known: dict[str, str]):
    """The markdown cell with badge, time, needs and prerequisites. `known` gives the slug of each lesson number."""
    lines = [
        badge(facts["colab"]),
        "",
        "| your time | exercises | needs | this notebook runs in | memory | do first |",
        "|---|---|---|---|---|---|",
        f"| {_duration(facts['minutes'])} | {facts['exercises']} | {facts['needs']} | {_measured_time(facts)} "
        f"| {_measured_memory(facts)} | {_prerequisites(facts, known)} |",
    ]
    return markdown_cell(FACTS_ID, "\n".join(lines))


def _duration(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest))


def _measured_time(facts: dict) -> str:
    return "not measured yet" if facts["seconds"] is None else f"{run_time(facts['seconds'])} on two CPU cores"


def _measured_memory(facts: dict) -> str:
    return "not measured yet" if facts["peak_mb"] is None else memory(facts["peak_mb"])


def _prerequisites(facts: dict, known: dict[str, str]) -> str:
    links = [f"[{number}]({known[number]}.ipynb)" if number in known else number for number in facts["prerequisites"]]
    return ", ".join(links) or "nothing"
