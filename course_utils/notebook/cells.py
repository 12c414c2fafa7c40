"""Makes notebook cells from source cells: plain ones, and the four cells that one exercise becomes.

Pure: text in, cells out. Which cells a lesson has and in what order is `build`'s business.
"""

import re

import nbformat

from course_utils.notebook.exercise_source import ExerciseSource
from course_utils.notebook.percent import SourceCell

EXERCISE_HEADING = re.compile(r"^### Exercise (\d\d\.\d+)[ \t]*$", re.MULTILINE)
FENCE = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)


def code_cell(cell_id: str, source: str, tags: tuple[str, ...] = (), **metadata) -> nbformat.NotebookNode:
    """A code cell that has not run."""
    return nbformat.v4.new_code_cell(source, id=cell_id, metadata=_metadata(tags, metadata))


def markdown_cell(cell_id: str, source: str, tags: tuple[str, ...] = (), **metadata) -> nbformat.NotebookNode:
    """A markdown cell."""
    return nbformat.v4.new_markdown_cell(source, id=cell_id, metadata=_metadata(tags, metadata))


def _metadata(tags: tuple[str, ...], metadata: dict) -> dict:
    return {**metadata, **({"tags": list(tags)} if tags else {})}


def plain_cell(cell: SourceCell, exercises: dict[str, ExerciseSource]) -> nbformat.NotebookNode:
    """A source cell as it stands; in markdown, exercise headings get title, minutes and difficulty."""
    if cell.kind == "code":
        return code_cell(cell.id, cell.source, cell.tags, **cell.metadata)
    return markdown_cell(cell.id, expand_headings(cell.source, exercises), cell.tags, **cell.metadata)


def expand_headings(text: str, exercises: dict[str, ExerciseSource]) -> str:
    """`### Exercise 05.1` becomes `### Exercise 05.1 · a masked mean · 10 minutes · difficulty ●●○○○`."""

    def heading(match: re.Match) -> str:
        return f"### {exercises[match[1]].heading}" if match[1] in exercises else match[0]

    return EXERCISE_HEADING.sub(heading, text)


def exercise_cells(cell: SourceCell, exercise: ExerciseSource, form: str) -> list[nbformat.NotebookNode]:
    """Stub (or solution, in the solved form), check, hints, and in the learner form the folded solution."""
    facts = {"exercise": exercise.id}
    code = exercise.stub if form == "learner" else exercise.solution
    check = f'{exercise.name} = exercise("{exercise.id}", {exercise.name})'
    tags = tuple(dict.fromkeys(("exercise", *cell.tags)))
    cells = [code_cell(cell.id, code, tags, **cell.metadata, **facts)]
    cells.append(code_cell(f"{cell.id}-check", check, ("check",), **facts))
    if exercise.hints:
        cells.append(markdown_cell(f"{cell.id}-hints", hints_markdown(exercise), ("hints",), **facts))
    if form == "learner":
        cells.append(markdown_cell(f"{cell.id}-solution", solution_markdown(exercise), ("solution",), **facts))
    return cells


def details(summary: str, content: str) -> str:
    """A folded block. The blank lines let JupyterLab, Colab and GitHub render Markdown inside it."""
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def hints_markdown(exercise: ExerciseSource) -> str:
    """Each hint folded on its own."""
    hints = enumerate(exercise.hints, start=1)
    return "\n\n".join(details(f"Hint {number} for {exercise.id}", hint.strip()) for number, hint in hints)


def solution_markdown(exercise: ExerciseSource) -> str:
    """The solution, folded. The fence is longer than any inside the code."""
    longest = max((len(match[1]) for match in FENCE.finditer(exercise.solution)), default=2)
    fence = "`" * max(3, longest + 1)
    return details(f"Solution of {exercise.id}", f"{fence}python\n{exercise.solution}\n{fence}")
