"""The one form in which we write notebooks: same content, same bytes.

Nothing machine-dependent survives: metadata is what architecture.md ("Notebook metadata") lists.
"""

import json
from pathlib import Path

import nbformat

from course_utils.errors import UserError
from course_utils.notebook.results import write_atomic

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {"name": "python"}


def notebook_bytes(nb: nbformat.NotebookNode) -> bytes:
    """Canonical bytes of a notebook: sorted keys, one space of indent, UTF-8, final newline."""
    return (nbformat.writes(nb, version=4).rstrip("\n") + "\n").encode("utf-8")


def json_bytes(data) -> bytes:
    """Canonical bytes of generated JSON; keys stay in the order given."""
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode("utf-8")


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read and validate a notebook. Raises UserError (status `invalid-notebook`) that names the file."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        nb = nbformat.from_dict(data)
        _check_ids(path, nb)
        nbformat.validate(nb)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path.name} is not a readable notebook: {error}.", "invalid-notebook") from error
    except (nbformat.ValidationError, AttributeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path.name} is not a valid notebook: {reason}.", "invalid-notebook") from error
    return _joined(nb)


def _check_ids(path: Path, nb: nbformat.NotebookNode) -> None:
    """Since format 4.5 every cell has an id, and no two the same; nbformat would invent new ones with a warning."""
    seen: set[str] = set()
    for index, cell in enumerate(nb.cells if (nb.nbformat, nb.nbformat_minor) >= (4, 5) else []):
        if "id" not in cell:
            raise UserError(f"{path.name}: cell {index + 1} has no id.", "invalid-notebook")
        if cell.id in seen:
            raise UserError(f"{path.name}: cell id {cell.id!r} is used twice.", "invalid-notebook")
        seen.add(cell.id)


def _joined(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Sources and texts as one string each, as nbformat's own reader does."""
    if nb.get("nbformat") != 4:
        raise UserError(f"the notebook has format {nb.get('nbformat')}; only format 4 is read.", "invalid-notebook")
    return nbformat.v4.rwbase.rejoin_lines(nb)


def write_notebook(nb: nbformat.NotebookNode, path: Path) -> None:
    """Write canonical bytes atomically; folders are made as needed."""
    write_atomic(Path(path), notebook_bytes(nb))
