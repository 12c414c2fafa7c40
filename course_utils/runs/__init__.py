"""Runs that take longer than a lesson may: each a command whose log is committed beside it and shown by a lesson.

`python -m course_utils.runs.sentiment` repeats one. A log holds what was measured and on which machine; nothing here is
needed to run a lesson, only to show what more time buys.
"""

import json
from pathlib import Path

from course_utils.errors import UserError

FOLDER = Path(__file__).parent


def read_log(name: str) -> dict:
    """A committed log: `{"command", "machine", "rows": [...]}`. Raises UserError for a name without a log."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in FOLDER.glob("*.json")))
        raise UserError(f"there is no logged run {name!r}. Known: {known}.")
    return json.loads(path.read_text(encoding="utf-8"))
