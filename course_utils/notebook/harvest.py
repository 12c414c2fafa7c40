"""Outputs of a committed notebook: taken from an execution (cleaned), carried over a rebuild by cell id.

Kept is what code printed and showed. Dropped is what depends on the machine or the moment: stderr (progress bars, logs
and warnings), widget state, timing metadata; memory addresses become zeros. A path of this machine is an error.
"""

import re

import nbformat

from course_utils.errors import UserError
from course_utils.notebook.machine_traces import find_absolute_path, find_secret

DROPPED_TYPES = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
NO_ADDRESS = "at 0x000000000000"
WIDGET_REPR = re.compile(r"^[A-Z]\w*\((?:children|value|description|layout)=.*\)$", re.DOTALL)


def runs(cell: nbformat.NotebookNode) -> bool:
    """Whether a kernel executes this cell: code with something in it."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def clean_outputs(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs without what is machine-dependent, neighbouring pieces of stdout joined."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            _add_stream(kept, output)
        elif output.output_type in ("display_data", "execute_result"):
            data = _clean_data(output.data)
            if data:
                extra = {"execution_count": None} if output.output_type == "execute_result" else {}
                metadata = {kind: value for kind, value in output.get("metadata", {}).items() if kind in data}
                kept.append(nbformat.v4.new_output(output.output_type, data=data, metadata=metadata, **extra))
    return kept


def _add_stream(kept: list, output: nbformat.NotebookNode) -> None:
    if output.name != "stdout":
        return
    text = ADDRESS.sub(NO_ADDRESS, output.text)
    if kept and kept[-1].output_type == "stream":
        kept[-1].text += text
    elif text:
        kept.append(nbformat.v4.new_output("stream", name="stdout", text=text))


def _clean_data(data: dict) -> dict:
    has_widget = any(kind in data for kind in DROPPED_TYPES)
    clean = {}
    for kind, value in data.items():
        if kind in DROPPED_TYPES or (has_widget and kind == "text/plain" and WIDGET_REPR.match(value)):
            continue
        clean[kind] = ADDRESS.sub(NO_ADDRESS, value) if isinstance(value, str) else value
    return clean


def harvest(built: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`built` with the cleaned outputs of `executed` (matched by cell id) and execution counts 1..N.

    Raises UserError naming the cell: `not-run` for one that did not run, `error`, `absolute-path`, `secret`.
    """
    ran = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    count = 0
    for cell in built.cells:
        if not runs(cell):
            continue
        count += 1
        if cell.id not in ran or ran[cell.id].execution_count is None:
            raise UserError(f"cell {cell.id!r} did not run, so there are no outputs to keep.", "not-run")
        if any(output.output_type == "error" for output in ran[cell.id].outputs):
            raise UserError(f"cell {cell.id!r} ended with an error; a lesson catches the errors it shows.", "error")
        _set_outputs(cell, clean_outputs(ran[cell.id].outputs), count)
        _refuse_traces(cell)
    return built


def _set_outputs(cell: nbformat.NotebookNode, outputs: list, count: int) -> None:
    cell.outputs = outputs
    cell.execution_count = count
    for output in outputs:
        if output.output_type == "execute_result":
            output.execution_count = count


def _refuse_traces(cell: nbformat.NotebookNode) -> None:
    for text in output_texts(cell):
        if path := find_absolute_path(text, this_machine=True):
            message = f"cell {cell.id!r} prints the path {path!r} of this machine; print its name or a relative path."
            raise UserError(message, "absolute-path")
        if secret := find_secret(text):
            raise UserError(f"cell {cell.id!r} prints what looks like a secret ({secret}).", "secret")


def output_texts(cell: nbformat.NotebookNode) -> list[str]:
    """Every text a cell shows: streams, tracebacks, and the textual data of displays."""
    texts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            texts.append(output.text)
        elif output.output_type == "error":
            texts.append("\n".join(output.traceback))
        else:
            texts += [v for kind, v in output.data.items() if isinstance(v, str) and not kind.startswith("image/png")]
    return texts


def carry_over(built: nbformat.NotebookNode, committed: nbformat.NotebookNode | None, key: str | None) -> bool:
    """Copy outputs of `committed` into `built` if its stored key is `key`; returns whether every code cell has run."""
    if committed is None or key is None or committed.metadata.get("course", {}).get("key") != key:
        return False
    old = {cell.id: cell for cell in committed.cells if cell.cell_type == "code"}
    cells = [cell for cell in built.cells if runs(cell)]
    if any(cell.id not in old or old[cell.id].execution_count is None for cell in cells):
        return False
    for count, cell in enumerate(cells, start=1):
        _set_outputs(cell, old[cell.id].outputs, count)
    built.metadata.course["key"] = key
    return True
