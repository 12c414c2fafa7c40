"""The example of docs/contributing.md builds as it stands: a document that rots is worse than none."""

import re
import textwrap
from pathlib import Path

from lessons import make_checkout

from course_utils.notebook.build import build_lesson

PAGE = Path(__file__).resolve().parents[2] / "docs" / "contributing.md"


def test_the_lesson_of_the_page_builds(tmp_path):
    section = PAGE.read_text(encoding="utf-8").split("## Add a lesson in ten minutes")[1].split("\n## ")[0]
    source, exercises = (
        textwrap.dedent(block) for block in re.findall(r"    ```python\n(.*?)    ```", section, re.S)[:2]
    )
    heading = '\n# %% [markdown] id="intro"\n# ### Exercise 11.1\n\n# %% id="ex1" exercise="11.1"\n'
    layout = make_checkout(tmp_path, "", exercises, name="11_collectives")
    layout.source("11_collectives").write_text(source + heading, encoding="utf-8")
    learner, solved = (build_lesson(layout.source("11_collectives"), form) for form in ("learner", "solved"))
    assert 'raise NotImplementedError("exercise 11.1")' in learner.cells[-4].source
    namespace = {}
    exec(next(cell.source for cell in solved.cells if cell.id == "ex1"), namespace)
    assert namespace["ring_neighbour"](1, 2) == 0
