"""Finds out what went wrong: the learner's own line that raised, a stub left untouched, a misconception we know.

Reads exceptions and tracebacks; prints nothing.
"""

import inspect
import re
import traceback
from typing import Any

import numpy as np

from course_utils.exercises.describe import array_kind, as_array, describe, shorten
from course_utils.exercises.expect import Failure

TODO = re.compile(r"\bexercise (\d\d\.\d+)")
CELL_FILES = ("ipykernel_", "<ipython-input", "<stdin>")
MOST_LINES = 14  # of an exception's message: a failing rank's traceback is part of it


def is_todo(error: BaseException) -> bool:
    """Whether a stub's `NotImplementedError("exercise NN.k")` is the cause, raised in this process or in a rank."""
    while error is not None:
        if isinstance(error, NotImplementedError) and TODO.match(str(error)):
            return True
        if re.search(r"NotImplementedError: exercise \d\d\.\d+", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def code_files(answer: Any) -> set[str]:
    """The files that hold the answer's own code: one for a function, one for each method of a class."""
    answer = inspect.unwrap(answer) if callable(answer) else answer
    functions = vars(answer).values() if inspect.isclass(answer) else [answer]
    codes = [getattr(inspect.unwrap(f) if callable(f) else f, "__code__", None) for f in functions]
    return {code.co_filename for code in codes if code is not None}


def learner_frame(error: BaseException, answer: Any) -> traceback.FrameSummary | None:
    """The deepest frame of the traceback in the learner's own code, or None if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    guards = [i for i, f in enumerate(frames) if f.name == "__call__" and f.filename.endswith("exercises/guard.py")]
    entered = min(guards, default=-1)
    if entered < 0 and not inspect.isclass(answer):  # not guarded: begin where the answer itself was called
        code = getattr(answer, "__code__", None)
        called = [i for i, f in enumerate(frames) if code and (f.filename, f.name) == (code.co_filename, code.co_name)]
        if not called:
            return None
        entered = called[0] - 1
    files = code_files(answer)
    own = [f for f in frames[entered + 1 :] if f.filename in files or any(part in f.filename for part in CELL_FILES)]
    own = [f for f in own if not f.name.startswith("check_")]
    return own[-1] if own else None


def show_frame(frame: traceback.FrameSummary) -> str:
    """`line 3 of your code:` and the line, with the failing part underlined where Python knows it."""
    if not frame.line:
        return f"in line {frame.lineno} of your code"
    shown = f"line {frame.lineno}:  {frame.line}"
    if frame.colno is None or frame.end_lineno != frame.lineno:
        return shown
    indent = len(frame._original_line) - len(frame._original_line.lstrip()) if hasattr(frame, "_original_line") else 0
    start, length = frame.colno - indent, frame.end_colno - frame.colno
    if start < 0 or length >= len(frame.line):
        return shown
    return f"{shown}\n{' ' * (len(shown) - len(frame.line) + start)}{'^' * length}"


def show_error(error: BaseException) -> str:
    """Type and message of an exception, shortened."""
    lines = f"{type(error).__name__}: {error}".rstrip(": ").splitlines()
    kept = lines if len(lines) <= MOST_LINES else [lines[0], "...", *lines[-MOST_LINES + 2 :]]
    return "\n".join(shorten(line, 300) for line in kept)


def explain_error(error: BaseException, answer: Any, returned: Any, num_calls: int) -> Failure:
    """A learner's exception with the line that raised it; or why the check could not use what was returned."""
    frame = learner_frame(error, answer)
    if frame is not None or (num_calls and error.__traceback__ is None):
        what, *more = show_error(error).splitlines()
        return Failure(f"Your code raised {what}", detail="\n".join([*more, show_frame(frame)]))
    if num_calls and returned is None:
        return Failure("Your function returned None.", "Did you forget `return`?")
    what, *more = show_error(error).splitlines()
    if num_calls:
        return Failure(
            f"Your function returned {describe(returned)}, which the check could not use: {what}",
            detail="\n".join(more),
        )
    return Failure(f"The check raised {what}", detail="\n".join(more))


def same_failure(a: Failure, b: Failure) -> bool:
    """Whether two answers fail in the same way: equal words, or (nearly) equal values got."""
    if (a.headline, a.detail) == (b.headline, b.detail):
        return True
    if a.got is None or b.got is None:
        return False
    if not all(array_kind(g) or isinstance(g, int | float) for g in (a.got, b.got)):
        return False
    mine, theirs = as_array(a.got), as_array(b.got)
    if mine.shape != theirs.shape or not {mine.dtype.kind, theirs.dtype.kind} <= set("fiu"):
        return False
    return bool(np.allclose(mine, theirs, rtol=1e-3, atol=1e-6, equal_nan=True))
