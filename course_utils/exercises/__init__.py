"""Exercises that answer back: `exercise(id, answer)` in a lesson, `Exercise(...)` in `lesson_NN.py`.

The functions that checks call (`expect_close` and friends) live in `course_utils.exercises.expect`.
"""

from course_utils.exercises.framework import Exercise, exercise

__all__ = ["Exercise", "exercise"]
