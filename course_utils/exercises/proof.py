"""Proves an exercise in three directions: solution passes, stub is `todo`, each wrong answer is rejected as itself.

A check that lets the stub pass is `vacuous-check`, one that lets a wrong answer pass, or cannot tell two apart, is
`weak-check`. `python -m course_utils.exercises.proof 05` proves a lesson while you write it; the tests prove all.
"""

import functools
import inspect
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_utils.exercises import catalogue
from course_utils.exercises.framework import Exercise, Verdict, run_check
from course_utils.exercises.guard import same, snapshot, tensorflow_variables

SLOWEST_CHECK_S = 5.0


@dataclass(frozen=True)
class Problem:
    """What is wrong with an exercise. `status`: vacuous-check, weak-check, or error for anything else."""

    id: str
    status: str
    message: str


def prove(item: Exercise, stub: Any = None) -> list[Problem]:
    """Every problem of one exercise; an empty list is the proof. `stub`: what the notebook shows, if not made here."""
    problems = prove_solution(item)
    problems += prove_stub(item, make_stub(item) if stub is None else stub)
    return problems + prove_wrong_answers(item)


def prove_solution(item: Exercise) -> list[Problem]:
    """The solution passes, in time, and leaves the random state as it was."""
    before, start = random_state(), time.perf_counter()
    verdict = run_check(item, item.solution)
    seconds = time.perf_counter() - start
    problems = []
    if verdict.status != "pass":
        problems.append(f"the solution does not pass: {verdict.status}: {words(verdict)}")
    elif not verdict.headline:
        problems.append("the check has no docstring: its first line tells the learner what was verified")
    if seconds > SLOWEST_CHECK_S:
        problems.append(f"the check takes {seconds:.1f} s; at most {SLOWEST_CHECK_S:g} s, as a rule 0.5 s")
    if not same(before, random_state()):
        problems.append("the check leaves another random state behind")
    if run_check(item, item.solution).status != verdict.status:
        problems.append("the check gives another verdict the second time: does it change its own inputs?")
    return [Problem(item.id, "error", message) for message in problems]


def prove_stub(item: Exercise, stub: Any) -> list[Problem]:
    """The untouched stub is `todo`, nothing else."""
    verdict = run_check(item, stub)
    if verdict.status == "todo":
        return []
    if verdict.status == "pass":
        return [Problem(item.id, "vacuous-check", "the check passes on the untouched stub")]
    return [Problem(item.id, "error", f"the untouched stub is {verdict.status} instead of todo: {words(verdict)}")]


def prove_wrong_answers(item: Exercise) -> list[Problem]:
    """Each wrong answer is rejected, with words that no other wrong answer gets."""
    problems, seen = [], {}
    for answer, misconception in item.wrong_answers():
        verdict = run_check(item, answer)
        if verdict.status not in ("wrong", "error"):
            problems.append(f"the check accepts ({verdict.status}) an answer that {misconception}")
            continue
        key = verdict.headline, verdict.detail if verdict.status == "wrong" else ""
        if key in seen:
            problems.append(f"the check cannot tell {misconception!r} from {seen[key]!r}: {words(verdict)}")
        seen.setdefault(key, misconception)
    return [Problem(item.id, "weak-check", message) for message in problems]


def words(verdict: Verdict) -> str:
    return " ".join(part for part in (verdict.headline, verdict.detail) if part)


def make_stub(item: Exercise) -> Any:
    """What an untouched notebook hands in: `...` for a prediction, else a function or class that is not implemented."""
    if item.is_prediction:
        return ...
    if inspect.isclass(item.solution):
        own = {name: not_implemented(item, f) for name, f in vars(item.solution).items() if inspect.isfunction(f)}
        return type(item.name, item.solution.__bases__, own)
    return not_implemented(item, item.solution)


def not_implemented(item: Exercise, function: Callable) -> Callable:
    @functools.wraps(function)
    def stub(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"exercise {item.id}")

    del stub.__wrapped__
    return stub


def random_state() -> dict[str, Any]:
    """Every random state that a check must leave alone."""
    kind, keys, position, *_ = np.random.get_state()
    state = {"python": list(random.getstate()[1]), "numpy": keys.copy(), "numpy position": [kind, position]}
    if torch := sys.modules.get("torch"):
        state["torch"] = torch.get_rng_state()
    if "tensorflow" in sys.modules:
        state["tensorflow"] = [variable.numpy() for variable in tensorflow_variables()]
    return {key: snapshot(value) for key, value in state.items()}


def main(arguments: list[str]) -> int:
    """Prove the lessons named (all without names); returns 0 if nothing is wrong, 2 if there was nothing to prove."""
    numbers = arguments or sorted({exercise_id[:2] for exercise_id in catalogue.titles()})
    items = [item for number in numbers for item in catalogue.lesson_exercises(number)]
    num_problems = 0
    for item in items:
        problems = prove(item)
        num_problems += len(problems)
        print(f"{item.id} {'proven' if not problems else 'NOT PROVEN'}: {item.title}, {len(item.wrong)} wrong answers")
        for problem in problems:
            print(f"      {problem.status}: {problem.message}")
        for answer, misconception in item.wrong_answers() if not problems else []:
            print(f"      {misconception}\n        -> {words(run_check(item, answer))}")
    if not items:
        print(f"no exercises in lesson {', '.join(numbers)}")
        return 2
    return 1 if num_problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
