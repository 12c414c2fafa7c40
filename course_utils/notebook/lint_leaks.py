"""Finds solutions outside their folded cell: by normalised lines in shingles of three, and whole functions by shape.

Layout, comments, docstrings and quotes do not hide a copy; other names hide a part of one, not a whole function.
"""

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from course_utils.notebook.findings import cell_name, tags_of

FENCED = re.compile(r"^(`{3,})[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
SHINGLE = 3  # lines
SHARE = 0.5  # of the solution's shingles in one cell
MIN_CHARACTERS = 12  # of a line that tells anything
MIN_STATEMENTS = 3  # of a function whose shape alone tells anything
MIN_DIGITS = 4  # of a predicted number that does not turn up by chance


def leaked_solutions(nb: NotebookNode) -> Iterator[tuple[str, str]]:
    """(cell, exercise) for every cell that holds the solution of an exercise; solutions are the cells tagged so."""
    named = [(cell_name(cell, index), cell) for index, cell in enumerate(nb.cells)]
    for position, (solution_name, solution) in enumerate(named):
        match = FENCED.search(solution.source) if "solution" in tags_of(solution) else None
        if match is None:
            continue
        exercise = solution.metadata.get("exercise", solution_name)
        prediction = predicted_text(match[2])
        # A prediction may be confirmed afterwards: only what comes before gives it away.
        others = named[:position] if prediction else named
        for name, cell in others:
            if cell is not solution and _gives_away(cell, match[2], prediction):
                yield name, exercise


def _gives_away(cell: NotebookNode, solution: str, prediction: str | None) -> bool:
    if prediction is not None:
        digits = re.sub(r"(?<=\d)[,_\u202f\u2009](?=\d{3})", "", cell.source)
        return bool(prediction) and re.search(rf"(?<![\w.]){re.escape(prediction)}(?![\w.]\d|\d)", digits) is not None
    code = _code_of(cell)
    return contains_solution(cell_lines(cell), solution_lines(solution)) or bool(shapes(solution) & shapes(code))


def _code_of(cell: NotebookNode) -> str:
    """The Python of a cell without magics; of markdown, what its fenced blocks hold."""
    source = cell.source
    if cell.cell_type == "markdown":
        source = "\n".join(match[2] for match in FENCED.finditer(source))
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())


def shapes(code: str) -> set[str]:
    """The body of each function with its own variables numbered in order of appearance."""
    try:
        functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
    except SyntaxError:
        return set()
    return {_shape(node) for node in functions if sum(isinstance(n, ast.stmt) for n in ast.walk(node)) > MIN_STATEMENTS}


def _shape(function: ast.FunctionDef) -> str:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    arguments = [node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)]
    names = [n.id for node in body for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    numbers = {name: f"v{index}" for index, name in enumerate(dict.fromkeys([*arguments, *names]))}
    text = "\n".join(ast.unparse(node) for node in body)
    return re.sub(r"(?<![\w.])[A-Za-z_]\w*", lambda match: numbers.get(match[0], match[0]), text)


def predicted_text(solution: str) -> str | None:
    """The predicted value as text for `name = value`; "" if it is too common to look for; None for a definition."""
    try:
        (node,) = ast.parse(solution).body
        text = str(ast.literal_eval(node.value)) if isinstance(node, ast.Assign) else None
    except (SyntaxError, ValueError):
        return None
    if text is None:
        return None
    return text if len(re.sub(r"\W", "", text)) >= MIN_DIGITS and text not in ("True", "False", "None") else ""


def contains_solution(lines: list[str], solution: list[str]) -> bool:
    """Whether at least half of the solution's shingles (all of a short one) stand in `lines`."""
    if not solution:
        return False
    if len(solution) == 1:
        core = solution[0].removeprefix("return")
        return len(core) >= MIN_CHARACTERS and core in "".join(lines)
    size = min(SHINGLE, len(solution))
    wanted = shingles(solution, size)
    return len(wanted & shingles(lines, size)) >= SHARE * len(wanted)


def shingles(lines: list[str], size: int) -> set[tuple[str, ...]]:
    """Every run of `size` lines."""
    return {tuple(lines[start : start + size]) for start in range(len(lines) - size + 1)}


def solution_lines(solution: str) -> list[str]:
    """The lines that a learner has to find: bodies without signatures and docstrings."""
    try:
        tree = ast.parse(solution)
    except SyntaxError:
        return _condense(solution)
    lines: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines += _condense("\n".join(ast.unparse(statement) for statement in body))
    return lines or _condense(solution)


def cell_lines(cell: NotebookNode) -> list[str]:
    """The lines of a cell in the same form; of markdown, its text and the code in it."""
    lines = _code_lines(_code_of(cell))
    if cell.cell_type == "markdown":
        lines += _condense(FENCED.sub("", cell.source).replace("`", ""))
    return lines


def _code_lines(source: str) -> list[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return _condense(source)
    for node in ast.walk(tree):
        has_docstring = isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None
        if has_docstring and len(node.body) > 1:
            node.body = node.body[1:]
    return _condense(ast.unparse(tree))


def _condense(text: str) -> list[str]:
    """Lines without white space; lines that any code has are dropped."""
    lines = (re.sub(r"\s", "", line) for line in text.splitlines())
    return [line for line in lines if len(line) > len("return0") and not line.startswith("raiseNotImplemented")]
