"""Notices the course's own version coming back: after a wrong answer, the learner's name holds it.

Without this, running the check a second time would record a pass that nobody earned. Judges no answers.
"""

import re
from typing import Any

_handed_out: dict[str, int] = {}


def remember(exercise_id: str) -> None:
    """The course's version was handed to the learner's name, now."""
    _handed_out[exercise_id] = len(inputs())


def is_ours(exercise_id: str, name: str, answer: Any, solution: Any) -> bool:
    """Whether the answer is the course's own object. Equal numbers may be one object: there, what was typed decides."""
    if answer is not solution:
        return False
    if callable(solution):
        return True
    return exercise_id in _handed_out and bool(inputs()) and not typed_since(name, _handed_out[exercise_id])


def inputs() -> list[str]:
    """The cells run so far in this kernel, the current one last; empty outside IPython."""
    from IPython import get_ipython

    shell = get_ipython()
    return list(shell.user_ns.get("In", [])) if shell is not None else []


def typed_since(name: str, count: int) -> bool:
    """Whether a cell run after the first `count`, or the current one, binds the name outside the checking line."""
    binds = re.compile(rf"^\s*{re.escape(name)}\b[^=\n]*=(?!=)|\b(?:def|class|import|as)\s+{re.escape(name)}\b")
    lines = (line for cell in inputs()[count:] for line in cell.splitlines() if "exercise(" not in line)
    return any(binds.search(line) for line in lines)
