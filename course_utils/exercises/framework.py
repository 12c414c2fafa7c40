"""Exercises: what one is, and `exercise(id, answer)`, which checks an answer and returns what the lesson goes on with.

A verdict is one of four: `todo`, `wrong`, `error`, `pass`. How it looks is up to `display`.
"""

import inspect
import numbers
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from course_utils.exercises import catalogue, diagnose, display, handed_out, progress
from course_utils.exercises.describe import array_kind, describe
from course_utils.exercises.expect import Failure
from course_utils.exercises.guard import Guarded, TimeLimit, captured_output, preserved_random_state, time_limit

LIMIT_S = 10.0
_wrong_verdicts: dict[str, tuple] = {}


@dataclass(frozen=True)
class Exercise:
    """One exercise; see docs/architecture.md, "Exercises".

    `solution`: a function, a class, or (for a prediction) a value. `check(answer)` returns None or raises through
    `expect`. `wrong`: functions whose docstring's first line is the misconception, or pairs (answer, misconception).
    `limit_s`: seconds before the check is stopped. `guard`: whether the function under test is wrapped; off for
    functions that TensorFlow traces or that change their arguments on purpose.
    """

    id: str
    title: str
    solution: Any
    check: Callable[[Any], None]
    wrong: Sequence[Any]
    hints: Sequence[str] = ()
    minutes: int = 10
    difficulty: int = 2
    name: str = ""
    limit_s: float = LIMIT_S
    guard: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d\d\.\d{1,2}", self.id):
            raise ValueError(f"an exercise id is like '05.2' (two digits, a dot, a number); got {self.id!r}")
        if not self.name:
            if not hasattr(self.solution, "__name__"):
                raise ValueError(f"exercise {self.id}: a prediction needs name=, the variable to fill in")
            object.__setattr__(self, "name", self.solution.__name__)
        if len(self.wrong) < 2:
            raise ValueError(f"exercise {self.id}: list two or more wrong answers; got {len(self.wrong)}")
        for answer, misconception in self.wrong_answers():
            if not misconception:
                raise ValueError(f"exercise {self.id}: wrong answer {describe(answer)} names no misconception")

    @property
    def is_prediction(self) -> bool:
        return not callable(self.solution)

    def wrong_answers(self) -> list[tuple[Any, str]]:
        """Pairs (answer, misconception)."""
        return [w if isinstance(w, tuple) else (w, first_line(w)) for w in self.wrong]


@dataclass(frozen=True)
class Verdict:
    """What a check found. `status`: todo, wrong, error or pass; the rest is for display."""

    id: str
    status: str
    headline: str
    name: str = ""
    misconception: str = ""
    question: str = ""
    detail: str = ""
    tried: str = ""
    printed: str = ""
    got: Any = field(default=None, repr=False, compare=False)

    @property
    def message(self) -> str:
        return " ".join(part for part in (self.headline, self.misconception, self.question) if part)


def first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0].strip()


def exercise(exercise_id: str, answer: Any) -> Any:
    """Check an answer and say how it went; returns the answer if it passes, the course's solution otherwise.

    Raises UserError for an id that no lesson has.
    """
    item = catalogue.find(exercise_id)
    if handed_out.is_ours(item.id, item.name, answer, item.solution):
        again = f"`{item.name}` still holds the course's version. Run the cell with your answer first, then this one."
        verdict = Verdict(item.id, "todo", again, item.name)
    else:
        verdict = evaluate(item, answer)
    if verdict.status != "pass":
        handed_out.remember(item.id)
    standing = progress.record(item.id, verdict.status)
    display.show(verdict, standing)
    return answer if verdict.status == "pass" else item.solution


def evaluate(item: Exercise, answer: Any) -> Verdict:
    """The verdict on an answer, misconception included; shows and records nothing."""
    verdict = run_check(item, answer)
    if verdict.status in ("wrong", "error") and not verdict.misconception:
        verdict = replace(verdict, misconception=name_misconception(item, verdict))
    return verdict


def run_check(item: Exercise, answer: Any) -> Verdict:
    """Run the check once, guarded."""
    if answer is ... or (item.is_prediction and answer is None):
        return Verdict(
            item.id, "todo", f"Replace the dots behind `{item.name} =` by your answer, then run both cells.", item.name
        )
    if problem := wrong_kind(item, answer):
        return Verdict(item.id, "wrong", problem, item.name)
    wrap = item.guard and inspect.isroutine(answer)
    target = Guarded(answer) if wrap else answer
    with preserved_random_state(), captured_output() as printed:
        status, failure = attempt(item, target, answer)
    tried = failure.tried or (target.tried if wrap else "")
    words = failure.headline, item.name, "", failure.question, failure.detail, tried
    return Verdict(item.id, status, *words, printed=printed.getvalue().rstrip(), got=failure.got)


def attempt(item: Exercise, target: Any, answer: Any) -> tuple[str, Failure]:
    """(status, what to say): every way in which a check can end."""
    try:
        with time_limit(item.limit_s):
            item.check(target)
        return "pass", Failure(first_line(item.check))
    except Failure as failure:
        return "wrong", failure
    except TimeLimit:
        return "error", too_slow(item, answer, target)
    except (Exception, SystemExit) as error:
        if diagnose.is_todo(error):
            return "todo", Failure(f"Write `{item.name}` in the cell above, then run both cells.")
        num_calls, returned = getattr(target, "num_calls", 0), getattr(target, "returned", None)
        failure = diagnose.explain_error(error, answer, returned, num_calls)
        return ("error" if failure.headline.startswith(("Your code raised", "The check")) else "wrong"), failure


def too_slow(item: Exercise, answer: Any, target: Any) -> Failure:
    frame = diagnose.learner_frame(sys.exception(), answer)
    where = diagnose.show_frame(frame) if frame is not None else ""
    headline = f"Stopped after {item.limit_s:g} seconds; this should take well under one."
    return Failure(headline, "Is there a loop that never ends?", detail=where)


def wrong_kind(item: Exercise, answer: Any) -> str:
    """What to say when the answer is not the kind of thing the exercise asks for, else ''."""
    got = describe(answer)
    if inspect.isclass(item.solution):
        return "" if inspect.isclass(answer) else f"This exercise asks for the class `{item.name}` itself, got {got}."
    if callable(item.solution):
        wanted = f'the function itself, as in `exercise("{item.id}", {item.name})`'
        return "" if callable(answer) else f"This exercise asks for {wanted}; got {got}."
    if callable(answer):
        return f"This exercise asks for a value, got {got}. Did you forget to call it?"
    if isinstance(item.solution, numbers.Number) and not isinstance(answer, numbers.Number) and not array_kind(answer):
        advice = " Write it without quotes." if isinstance(answer, str) else ""
        advice = " A comma makes a pair: write 1000000 or 1_000_000." if isinstance(answer, tuple) else advice
        return f"This exercise asks for a number, got {got}.{advice}"
    return ""


def name_misconception(item: Exercise, verdict: Verdict) -> str:
    """The misconception of the listed wrong answer that fails exactly as this one did, else ''."""
    mine = as_failure(verdict)
    for misconception, theirs in wrong_verdicts(item):
        if theirs.status == verdict.status and diagnose.same_failure(mine, as_failure(theirs)):
            return misconception
    return ""


def as_failure(verdict: Verdict) -> Failure:
    detail = "" if verdict.status == "error" else verdict.detail  # the detail of an error is the learner's own line
    return Failure(verdict.headline, detail=detail, tried=verdict.tried.partition("(")[2], got=verdict.got)


def wrong_verdicts(item: Exercise) -> list[tuple[str, Verdict]]:
    """(misconception, verdict) of every listed wrong answer; run once per kernel."""
    if item.id not in _wrong_verdicts or _wrong_verdicts[item.id][0] is not item:
        found = [(misconception, run_check(item, answer)) for answer, misconception in item.wrong_answers()]
        _wrong_verdicts[item.id] = item, found
    return _wrong_verdicts[item.id][1]
