"""Files of a tokenizer: read with a clear message, written whole or not at all. Knows nothing of what they hold."""

import json
from pathlib import Path
from typing import Any

from course_utils.atomic import replacing
from course_utils.errors import UserError


def find(path: str | Path, *names: str) -> Path:
    """The file itself, or the first of `names` in a folder. Raises UserError if there is none."""
    path = Path(path)
    candidates = [path / name for name in names] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(f"no tokenizer at {path}: looked for {', '.join(map(str, candidates))}. Give a folder or a file.")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not readable JSON ({error}). Save the tokenizer again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object; got {type(content).__name__}. Save the tokenizer again.")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A JSON file, readable by people."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """UTF-8 text, through a temporary file beside it: whoever interrupts finds the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
