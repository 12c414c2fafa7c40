"""Turns a reference solution into what the learner starts from: its signature and docstring, and a body that raises.

Works on text, so that signatures, annotations and docstrings stay exactly as written. Knows nothing about notebooks.
"""

import ast
import builtins
import io
import symtable
import textwrap
import tokenize

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def stub_of(solution: str, exercise_id: str) -> str:
    """The stub of one function or class, given as text with its decorators."""
    node = ast.parse(solution).body[0]
    lines = solution.splitlines()
    return "\n".join(_stub_lines(lines, node, f'raise NotImplementedError("exercise {exercise_id}")'))


def _first_line(node: ast.AST) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def _header(lines: list[str], node: ast.AST) -> list[str]:
    """Decorators and signature, up to and with the colon that opens the body; a comment behind the colon is cut."""
    first = _first_line(node)
    block = lines[first - 1 : node.end_lineno]
    row, column = _colon(block, node.lineno - first)
    return [*block[:row], block[row][: column + 1]]


def _colon(block: list[str], skip: int) -> tuple[int, int]:
    """Row and column, in `block`, of the first colon outside brackets after `skip` lines of decorators."""
    depth = 0
    text = textwrap.dedent("\n".join(block[skip:])) + "\n"
    indent = len(block[skip]) - len(block[skip].lstrip())
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
            if token.string == ":" and depth == 0:
                return skip + token.start[0] - 1, token.start[1] + indent
    raise AssertionError("a definition without a colon")


def _docstring_lines(lines: list[str], node: ast.AST, indent: str) -> list[str]:
    if ast.get_docstring(node, clean=False) is None:
        return []
    doc = node.body[0]
    if doc.lineno > node.lineno and lines[doc.lineno - 1][: doc.col_offset].strip() == "":
        return lines[doc.lineno - 1 : doc.end_lineno]
    return [f"{indent}{ast.unparse(doc)}"]  # a one-line definition: `def f(x): "doc"; return x`


def _stub_lines(lines: list[str], node: ast.AST, body: str) -> list[str]:
    header = _header(lines, node)
    indent = " " * (node.col_offset + 4)
    doc = _docstring_lines(lines, node, indent)
    if isinstance(node, FUNCTIONS):
        return [*header, *doc, indent + body]
    members: list[str] = []
    for member in node.body:
        if isinstance(member, (*FUNCTIONS, ast.ClassDef)):
            members += ["", *_stub_lines(lines, member, body)]
        elif isinstance(member, ast.AnnAssign):  # a field: part of the interface
            members += lines[member.lineno - 1 : member.end_lineno]
    if not any(isinstance(member, FUNCTIONS) for member in node.body):
        members += [indent + body]  # nothing to fill in but the class itself
    return [*header, *doc, *(members if doc else members[members[:1] == [""] :])]


def global_names(code: str) -> set[str]:
    """Names the code reads from the notebook's namespace (builtins and names it binds itself excluded)."""
    table = symtable.symtable(code, "solution", "exec")
    bound = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    bound |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_namespace()}
    return {name for name in _global_reads(table) if name not in bound and not hasattr(builtins, name)}


def _global_reads(table: symtable.SymbolTable) -> set[str]:
    top = table.get_type() == "module"
    names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return names.union(*(_global_reads(child) for child in table.get_children()))
