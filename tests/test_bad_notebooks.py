"""The pipeline tests itself: every way a notebook can be broken is caught, under its own name, by a real command.

Rows are in tests/fixtures/notebooks/bad/index.yaml. A status without a row, or a notebook that no row uses, fails.
"""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from course_utils.notebook.results import EARLY_STATUSES

ROOT = Path(__file__).resolve().parent.parent
BAD = ROOT / "tests" / "fixtures" / "notebooks" / "bad"
ROWS = yaml.safe_load((BAD / "index.yaml").read_text(encoding="utf-8"))
COMMANDS = ("run", "check", "lint")
LIMIT_S = 60.0  # for each notebook, far below any cell timeout: whoever waits for one fails
# Not about a notebook: where the proof is, and what must stand there.
PROVEN_ELSEWHERE = {
    "vacuous-check": ("tests/exercises/bad_exercises.py", '"vacuous-check"'),
    "weak-check": ("tests/exercises/bad_exercises.py", '"weak-check"'),
    "code": ("tests/notebook/test_lint.py", "ruff_findings(layout"),
}
NO_FAILURE = {"ok", "skipped"}


def statuses_of_the_architecture() -> set[str]:
    """Every status that docs/architecture.md names in backquotes in its chapter on statuses."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    chapter = re.search(r"^## Statuses\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    named = " ".join(re.findall(r"`([^`]+)`", chapter))
    return {word for word in named.split() if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)} - {"course", "check"}


def row_name(row: dict) -> str:
    words = [row["status"], Path(row.get("file") or "none").stem, row["command"], *row.get("args", [])]
    return "-".join(words)


@dataclass
class Outcome:
    """What became of one row: the exit code of its command, what was printed about it, and its JSON result if any."""

    exit_code: int
    said: str
    errors: str
    result: dict | None


def runs_alone(row: dict) -> bool:
    """Options, and input refused before anything runs, concern the whole command."""
    return bool(row.get("args")) or (row["command"] == "run" and row["status"] in EARLY_STATUSES)


def batches(rows: list[dict]) -> list[list[dict]]:
    """Rows that one command can take together: starting `course` forty times would take longer than the proof."""
    alone = [[row] for row in rows if runs_alone(row)]
    together = [[row for row in rows if row["command"] == name and not runs_alone(row)] for name in COMMANDS]
    return [batch for batch in [*together, *alone] if batch]


def run_course(rows: list[dict], folder: Path) -> dict[str, Outcome]:
    """The command as a person types it, in a process of its own; the outcome of each row by its name."""
    report, command = folder / "report.json", rows[0]["command"]
    targets = [str(BAD / row["file"]) for row in rows if row.get("file")]
    options = ["--json", str(report)] + (["--output", str(folder)] if command in ("run", "check") else [])
    arguments = [command, *targets, *rows[0].get("args", []), *options, *(["--jobs", "2"] if command == "run" else [])]
    done = subprocess.run(
        [sys.executable, "-m", "course_utils.cli", *arguments],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=LIMIT_S * len(rows),
    )  # fmt: skip
    results = json.loads(report.read_text(encoding="utf-8"))["notebooks"] if report.exists() else [None] * len(rows)
    assert len(results) == len(rows), done.stdout + done.stderr
    if command != "lint" and len(rows) > 1:
        assert done.stdout.splitlines()[-1] == f"0 passed, {len(rows)} failed"
    said, outcomes = done.stdout + done.stderr, {}
    for row, result in zip(rows, results, strict=True):
        part = said if len(rows) == 1 else about(row, result, said)
        outcomes[row_name(row)] = Outcome(done.returncode, part, done.stderr, result)
    return outcomes


def about(row: dict, result: dict | None, said: str) -> str:
    """Of what a command said about several notebooks, the part that concerns this one."""
    if row["command"] == "lint":
        return "\n".join(line for line in said.splitlines() if row["file"] in line)
    assert Path(row["file"]).stem in result["path"], "results in the order of the arguments"
    assert result["message"].splitlines()[0] in said, "the terminal says what the report says"
    return "\n".join(result[part] for part in ("message", "traceback", "output"))


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """What became of every row that this session asks for: two commands at a time."""
    asked = [item.callspec.params["row"] for item in request.session.items if "outcomes" in item.fixturenames]
    with ThreadPoolExecutor(max_workers=2) as pool:
        running = {}
        for batch in batches(asked):
            future = pool.submit(run_course, batch, tmp_path_factory.mktemp("bad"))
            running |= {row_name(row): future for row in batch}
        yield running


@pytest.mark.multiprocess
@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_bad_notebook_is_caught_under_its_name(row, outcomes):
    outcome = outcomes[row_name(row)].result()[row_name(row)]
    said, result = outcome.said, outcome.result
    assert outcome.exit_code in (1, 2), said
    assert "Traceback" not in outcome.errors, said  # the command's own: a cell's stands in its report
    for words in row.get("says", []):
        assert words in said
    if row["command"] == "lint" or result is None:  # one line names the status and the cell
        where = f"{row['cell']} · " if "cell" in row else ""
        assert f"{where}{row['status']}:" in said
        return
    assert result["status"] == row["status"], said
    assert result["cell"] == row.get("cell", result["cell"]), said
    assert result["seconds"] < LIMIT_S


def test_every_status_is_proven():
    proven = {row["status"] for row in ROWS} | NO_FAILURE | PROVEN_ELSEWHERE.keys()
    assert statuses_of_the_architecture() - proven == set()


def test_no_row_invents_a_status():
    assert {row["status"] for row in ROWS} - statuses_of_the_architecture() == set()


def test_every_bad_notebook_is_in_a_row():
    assert {path.name for path in BAD.glob("*.ipynb")} == {row["file"] for row in ROWS if row.get("file")}


@pytest.mark.parametrize("status", PROVEN_ELSEWHERE)
def test_what_is_proven_elsewhere_is(status):
    path, words = PROVEN_ELSEWHERE[status]
    assert words in (ROOT / path).read_text(encoding="utf-8")
