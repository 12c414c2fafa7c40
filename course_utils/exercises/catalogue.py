"""Which exercises exist: ids and titles read from the source of `lesson_NN.py`, and the one asked for, imported.

Reading instead of importing keeps `course progress` instant: lesson modules import torch or TensorFlow.
"""

import ast
import difflib
import functools
import importlib
import re
from pathlib import Path

from course_utils.errors import UserError

FOLDER = Path(__file__).parent


@functools.cache
def titles(folder: Path = FOLDER) -> dict[str, str]:
    """{exercise id: title} of every lesson, in course order."""
    found = {}
    for path in sorted(folder.glob("lesson_[0-9][0-9].py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Exercise" and node.args:
                title = [k.value.value for k in node.keywords if k.arg == "title" and isinstance(k.value, ast.Constant)]
                found[node.args[0].value] = title[0] if title else ""
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))


def lesson_exercises(number: str) -> list:
    """The `EXERCISES` of one lesson, imported; an empty list for a lesson without any."""
    if not (FOLDER / f"lesson_{number}.py").is_file():
        return []
    return list(importlib.import_module(f"course_utils.exercises.lesson_{number}").EXERCISES)


def find(exercise_id: str):
    """The `Exercise` with this id. Raises UserError naming the nearest one."""
    known = titles()
    if exercise_id not in known:
        raise UserError(f"there is no exercise {exercise_id!r}{suggestion(str(exercise_id), list(known))}")
    return next(item for item in lesson_exercises(exercise_id[:2]) if item.id == exercise_id)


def suggestion(text: str, known: list[str]) -> str:
    """`; did you mean "05.1"?` for the nearest id, reading `5.1` and `5-1` as `05.1`."""
    numbers = re.findall(r"\d+", text)
    guess = f"{int(numbers[0]):02}.{int(numbers[1])}" if len(numbers) == 2 else text
    near = difflib.get_close_matches(guess, known, n=1, cutoff=0.3)
    return f'; did you mean "{near[0]}"?' if near else '. Ids look like "05.1".'
