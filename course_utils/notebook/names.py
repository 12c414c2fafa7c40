"""Which names the code cells of a notebook bind, by reading them: magics are blanked, nothing is executed."""

import ast
import re
import symtable

import nbformat

MAGIC_LINE = re.compile(r"^\s*(?:[%!?]|[\w.]+\s*=\s*[%!]|.*\?\??\s*$)")


def python_of(source: str) -> str:
    """The cell as plain Python of the same number of lines: magic and shell lines become `pass` or an assignment.

    A `%%module` cell, and any cell magic that hands its text to another language, gives only blank lines.
    """
    lines = source.splitlines()
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is not None and lines[first].lstrip().startswith("%%"):
        runs_here = lines[first].split()[0] in ("%%time", "%%timeit", "%%capture")
        lines = [""] * (first + 1) + (lines[first + 1 :] if runs_here else [""] * (len(lines) - first - 1))
    return "\n".join(_plain(line) for line in lines)


def _plain(line: str) -> str:
    if not MAGIC_LINE.match(line) or line.lstrip().startswith("#"):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    target, equals, _ = line.strip().partition("=")
    return f"{indent}{target}= None" if equals and not line.lstrip().startswith(("%", "!", "?")) else f"{indent}pass"


def bound_names(source: str) -> set[str]:
    """Names a cell binds at top level; empty if it is not Python."""
    try:
        table = symtable.symtable(python_of(source), "cell", "exec")
    except SyntaxError:
        return set()
    symbols = table.get_symbols()
    names = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return names | {name for child in table.get_children() for name in _declared_global(child)}


def _declared_global(table: symtable.SymbolTable) -> set[str]:
    """Names that a function assigns after `global name`."""
    own = {s.get_name() for s in table.get_symbols() if s.is_declared_global() and s.is_assigned()}
    return own.union(*(_declared_global(child) for child in table.get_children()))


def names_bound_before(cells: list[nbformat.NotebookNode], cell_id: str) -> set[str]:
    """Names bound by the code cells before `cell_id`; the bootstrap cell does not count (it acts on Colab only)."""
    names: set[str] = set()
    for cell in cells:
        if cell.id == cell_id:
            break
        if cell.cell_type == "code" and "bootstrap" not in cell.metadata.get("tags", []):
            names |= bound_names(cell.source)
    return names


def is_import_cell(source: str) -> bool:
    """Whether a cell only imports (`os.environ`, log levels, magics and `warnings` filters may go along)."""
    try:
        body = ast.parse(python_of(source)).body
    except SyntaxError:
        return False
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return bool(imports) and all(node in imports or isinstance(node, ast.Pass) or _setting(node) for node in body)


def _setting(node: ast.stmt) -> bool:
    text = ast.unparse(node)
    if text.startswith(("os.environ", "warnings.")) or ".setLevel(" in text:
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
