"""Says what differs between a file and what build would write: cell by cell for a notebook, and of which kind."""

import difflib
import json
from pathlib import Path

import nbformat


def differences(old: bytes | None, new: bytes, name: str) -> list[str]:
    """One line for each difference: file, cell id, kind (prose, code, outputs, metadata, order). Empty if equal."""
    if old == new:
        return []
    if old is None:
        return [f"{name}: missing"]
    if not name.endswith(".ipynb"):
        return [f"{name}: line {_first_difference(old, new)} differs"]
    try:
        before = nbformat.from_dict(json.loads(old))
        found = _cell_differences(_by_id(before), _by_id(nbformat.from_dict(json.loads(new))))
    except (ValueError, AttributeError, KeyError, TypeError):
        return [f"{name}: not a readable notebook"]
    if before.get("metadata") != json.loads(new)["metadata"]:
        found.append("notebook metadata")
    return [f"{name} · {text}" for text in found] or [f"{name}: same content, other bytes (formatting)"]


def _first_difference(old: bytes, new: bytes) -> int:
    lines = zip(old.splitlines(), new.splitlines(), strict=False)
    return next((n for n, (a, b) in enumerate(lines, 1) if a != b), min(old.count(b"\n"), new.count(b"\n")) + 1)


def _by_id(nb: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    return {cell.get("id", f"cell {index}"): cell for index, cell in enumerate(nb.cells)}


def _cell_differences(old: dict, new: dict) -> list[str]:
    found = [f"{cell_id} · {_kind(old[cell_id], cell)}" for cell_id, cell in new.items() if cell_id in old]
    found = [text for text in found if not text.endswith("· ")]
    found += [f"{cell_id} · {_noun(cell)} added" for cell_id, cell in new.items() if cell_id not in old]
    found += [f"{cell_id} · {_noun(cell)} removed" for cell_id, cell in old.items() if cell_id not in new]
    if not found and list(old) != list(new):
        found.append(f"order of cells: {_moved(list(old), list(new))}")
    return found


def _noun(cell: nbformat.NotebookNode) -> str:
    return "code" if cell.cell_type == "code" else "prose"


def _kind(old: nbformat.NotebookNode, new: nbformat.NotebookNode) -> str:
    kinds = [_noun(new)] if _text(old) != _text(new) or old.cell_type != new.cell_type else []
    if old.get("outputs") != new.get("outputs") or old.get("execution_count") != new.get("execution_count"):
        kinds.append("outputs")
    if old.get("metadata") != new.get("metadata"):
        kinds.append("metadata")
    return ", ".join(kinds)


def _text(cell: nbformat.NotebookNode) -> str:
    return cell.source if isinstance(cell.source, str) else "".join(cell.source)


def _moved(old: list[str], new: list[str]) -> str:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return ", ".join(word for op, _, _, a, b in matcher.get_opcodes() if op != "equal" for word in new[a:b])


def file_differences(path: Path, new: bytes, name: str) -> list[str]:
    """`differences` against what is on disk."""
    return differences(path.read_bytes() if path.is_file() else None, new, name)
