"""Reads the exercises of a lesson, `course_utils/exercises/lesson_NN.py`, as text: what build needs to write cells.

The module is parsed, never imported, so building needs no torch and runs no code of a lesson. Checks and wrong answers
are for the exercise framework and not read here.
"""

import ast
import difflib
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import course_utils
from course_utils.errors import UserError
from course_utils.notebook.module_source import Definition, ModuleText, find_module, resolve
from course_utils.notebook.stub import global_names, stub_of

PACKAGE_ROOT = Path(course_utils.__file__).resolve().parent.parent


@dataclass(frozen=True)
class ExerciseSource:
    """What a learner sees of one exercise. `solution` binds `name` when it is executed, and so does `stub`."""

    id: str
    title: str
    name: str
    stub: str
    solution: str
    hints: tuple[str, ...]
    minutes: int
    difficulty: int
    prediction: bool

    @cached_property
    def needed_names(self) -> set[str]:
        """Global names the solution uses: earlier cells of the lesson must bind them."""
        return global_names(self.solution)

    @property
    def heading(self) -> str:
        """`Exercise 05.1 · a masked mean · 10 minutes · difficulty ●●○○○`."""
        dots = "●" * self.difficulty + "○" * (5 - self.difficulty)
        minutes = f"{self.minutes} minute{'' if self.minutes == 1 else 's'}"
        return f"Exercise {self.id} · {self.title} · {minutes} · difficulty {dots}"


def read_exercises(number: str, package_root: Path = PACKAGE_ROOT) -> dict[str, ExerciseSource]:
    """The exercises of lesson `number` ("05") by id, in the order written; empty if the lesson has no module.

    Raises UserError (status `invalid-notebook`) naming the file, the line and what is wrong.
    """
    module = find_module(f"course_utils.exercises.lesson_{number}", package_root)
    if module is None:
        return {}
    calls = [node for node in ast.walk(module.tree) if _is_exercise_call(node)]
    exercises: dict[str, ExerciseSource] = {}
    for call in sorted(calls, key=lambda node: node.lineno):
        exercise = _read_call(module, call, number)
        if exercise.id in exercises:
            raise _problem(module, call, f"exercise {exercise.id} is defined twice")
        exercises[exercise.id] = exercise
    return exercises


def _problem(module: ModuleText, node: ast.AST, message: str) -> UserError:
    return UserError(f"{module.path.name}, line {node.lineno}: {message}.", status="invalid-notebook")


def _is_exercise_call(node: ast.AST) -> bool:
    function = getattr(node, "func", None)
    return isinstance(node, ast.Call) and "Exercise" in (getattr(function, "id", ""), getattr(function, "attr", ""))


def _literal(module: ModuleText, call: ast.Call, keywords: dict[str, ast.expr], name: str, kind: type):
    if name not in keywords:
        raise _problem(module, call, f"this exercise lacks `{name}=`")
    try:
        value = ast.literal_eval(keywords[name])
    except ValueError:
        raise _problem(module, keywords[name], f"`{name}=` must be a plain literal: build reads it as text") from None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _problem(module, keywords[name], f"`{name}={value!r}` should be of type {kind.__name__}")
    return value


def _read_call(module: ModuleText, call: ast.Call, number: str) -> ExerciseSource:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if call.args:
        keywords["id"] = call.args[0]
    exercise_id = _literal(module, call, keywords, "id", str)
    if not exercise_id.startswith(f"{number}."):
        raise _problem(module, call, f"exercise id {exercise_id!r} should begin with {number}.")
    if "solution" not in keywords:
        raise _problem(module, call, "this exercise lacks `solution=`")
    difficulty = _literal(module, call, keywords, "difficulty", int)
    if not 1 <= difficulty <= 5:
        raise _problem(module, call, f"`difficulty={difficulty}` should be 1 to 5")
    given_name = _literal(module, call, keywords, "name", str) if "name" in keywords else None
    name, solution, prediction = _solution(module, keywords["solution"], given_name)
    return ExerciseSource(
        id=exercise_id,
        title=_literal(module, call, keywords, "title", str),
        name=name,
        stub=f"{name} = ...  # your answer" if prediction else stub_of(solution, exercise_id),
        solution=solution,
        hints=tuple(_literal(module, call, keywords, "hints", list)) if "hints" in keywords else (),
        minutes=_literal(module, call, keywords, "minutes", int),
        difficulty=difficulty,
        prediction=prediction,
    )


def _solution(module: ModuleText, node: ast.expr, given_name: str | None) -> tuple[str, str, bool]:
    """(name the learner binds, text that binds it to the reference solution, whether it is a prediction)."""
    where, target = module, node
    if isinstance(node, ast.Name | ast.Attribute):
        where, target = resolve(module, ast.unparse(node))
    if isinstance(target, Definition):
        if given_name not in (None, target.name):
            raise _problem(module, node, f"`name={given_name!r}` but the solution is called `{target.name}`")
        return target.name, textwrap.dedent(where.segment(target)), False
    if isinstance(target, ast.Lambda):
        raise _problem(module, node, "a solution may not be a lambda: learners need a signature and a docstring")
    if given_name is None:
        raise _problem(module, node, "a prediction needs `name=`, the variable that the learner assigns")
    return given_name, f"{given_name} = {ast.get_source_segment(where.text, target)}", True


def exercise_of(exercises: dict[str, ExerciseSource], exercise_id: str, where: str) -> ExerciseSource:
    """Look one up; a UserError names the nearest id."""
    if exercise_id in exercises:
        return exercises[exercise_id]
    near = difflib.get_close_matches(exercise_id, exercises, n=1)
    hint = f"did you mean {near[0]}?" if near else f"define it in course_utils/exercises/lesson_{exercise_id[:2]}.py."
    raise UserError(f"{where}: there is no exercise {exercise_id!r}; {hint}", status="invalid-notebook")
