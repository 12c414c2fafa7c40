"""Small lessons for tests: a checkout in a temporary folder, and the pieces to write sources and exercises with."""

import textwrap
from pathlib import Path

from course_utils.notebook.layout import Layout

HEADER = """\
# ---
# jupyter:
#   course:
#     title: A small lesson
#     question: Does it build?
#     minutes: 30
#     needs: CPU
#     prerequisites: ["00"]
# ---

"""
BODY = """\
# %% [markdown] id="title"
# # 05 · A small lesson
#
# Words.

# %% id="imports"
import math

from course_utils.exercises import exercise

# %% [markdown] id="parameters-intro"
# The sizes.

# %% id="parameters" tags=["parameters"]
num_items = 3

# %% [markdown] id="intro"
# ### Exercise 05.1
# Write it.

# %% id="ex1" exercise="05.1"

# %% [markdown] id="result-intro"
# Look.

# %% id="result"
print(f"{num_items} items")
"""
EXERCISES = '''\
"""Exercises of lesson 05."""

from course_utils.exercises.framework import Exercise


def root_sum(values: list[float]) -> float:
    """The sum of square roots."""
    total = 0.0
    for value in values:
        total += math.sqrt(value)
    return total


EXERCISES = [
    Exercise("05.1", title="a sum of roots", solution=root_sum, check=None, minutes=10, difficulty=2,
             hints=["One root each.", "`math.sqrt` is bound."]),
]
'''


def make_checkout(root: Path, body: str = BODY, exercises: str = EXERCISES, name: str = "05_small") -> Layout:
    """A checkout with one lesson."""
    (root / "notebooks" / "src").mkdir(parents=True, exist_ok=True)
    (root / "course_utils" / "exercises").mkdir(parents=True, exist_ok=True)
    (root / "notebooks" / "profiles").mkdir(exist_ok=True)
    for profile in ("smoke", "gpu"):
        if not (file := root / "notebooks" / "profiles" / f"{profile}.yaml").exists():
            file.touch()
    (root / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/someone/course"\n')
    (root / "course_utils" / "exercises" / f"lesson_{name[:2]}.py").write_text(textwrap.dedent(exercises))
    (root / "notebooks" / "src" / f"{name}.py").write_text(HEADER + body, encoding="utf-8")
    return Layout(root)
