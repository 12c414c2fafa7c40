"""Write a trained model as one that the course ships: weights in float16, vocabulary, log, and the hash of each file.

Only the commands of `course_utils.runs` use it.
"""

import copy
import json
from pathlib import Path
from typing import Protocol

from torch import nn

from course_utils.assets import HASHES, sha256
from course_utils.atomic import replacing
from course_utils.checkpoints import LOG

MOST_BYTES = 10_000_000


class Saves(Protocol):
    """A tokenizer, or anything else that writes itself into a folder."""

    def save(self, folder: Path) -> None: ...


def export(folder: Path, model: nn.Module, tokenizer: Saves, log: dict) -> None:
    """Fill `folder`; `hashes.json` comes last, so that a half-written folder is no shipped model.

    Raises ValueError if the weights take more than 10 MB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HASHES).unlink(missing_ok=True)
    copy.deepcopy(model).half().save_pretrained(folder)
    size = (folder / "model.safetensors").stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"a shipped model has at most {MOST_BYTES:,} bytes; this one has {size:,}. Make it smaller.")
    tokenizer.save(folder)
    write_json(folder / LOG, log)
    files = sorted(file for file in folder.iterdir() if file.suffix in (".safetensors", ".json", ".txt"))
    write_json(folder / HASHES, {file.name: sha256(file) for file in files})


def write_json(path: Path, content: dict) -> None:
    """A JSON file with one line for each entry of `rows`, written whole or not at all."""
    rows = content.get("rows")
    text = json.dumps({**content, "rows": []} if rows else content, indent=1)
    if rows:
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        text = text.replace('"rows": []', f'"rows": [\n{lines}\n ]')
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
