"""The pipeline tests itself: every way a notebook can be broken is caught, under its own name, by a real command.

Rows are in tests/fixtures/notebooks/bad/index.yaml. A status without a row, or a notebook that no row uses, fails.
"""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BAD = ROOT / "tests" / "fixtures" / "notebooks" / "bad"
ROWS = yaml.safe_load((BAD / "index.yaml").read_text(encoding="utf-8"))
LIMIT_S = 60.0  # far below any cell timeout: whoever waits for one is killed and fails
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


def run_course(row: dict, folder: Path) -> tuple[subprocess.CompletedProcess, Path]:
    """The command as a person types it, in a process of its own, and where its JSON report would be."""
    report = folder / "report.json"
    target = [str(BAD / row["file"])] if row.get("file") else []
    options = ["--json", str(report)] + (["--output", str(folder)] if row["command"] in ("run", "check") else [])
    arguments = [row["command"], *target, *row.get("args", []), *options]
    command = [sys.executable, "-m", "course_utils.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=LIMIT_S)
    return done, report


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """What became of every row that this session asks for: each a process of its own, two at a time."""
    asked = [item.callspec.params["row"] for item in request.session.items if "outcomes" in item.fixturenames]
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {row_name(row): pool.submit(run_course, row, tmp_path_factory.mktemp("bad")) for row in asked}


@pytest.mark.multiprocess
@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_bad_notebook_is_caught_under_its_name(row, outcomes):
    done, report = outcomes[row_name(row)].result()
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), said
    assert "Traceback" not in done.stderr, said  # the command's own: a cell's stands in its report
    for words in row.get("says", []):
        assert words in said
    if row["command"] == "lint" or not report.exists():  # one line names the status and the cell
        where = f"{row['cell']} · " if "cell" in row else ""
        assert f"{where}{row['status']}:" in said
        return
    (result,) = json.loads(report.read_text(encoding="utf-8"))["notebooks"]
    assert result["status"] == row["status"], said
    assert result["cell"] == row.get("cell", result["cell"]), said


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
