"""Write a trained model as one that the course ships: weights in float16, vocabulary, log, and the hash of each file.

Only the commands of `course_utils.runs` use it.
"""

import copy
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
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

    Raises ValueError, and changes nothing, if the weights take more than 10 MB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as name:  # what lies there already, such as other logs, is not ours
        staging = Path(name)
        copy.deepcopy(model).half().save_pretrained(staging)
        size = (staging / "model.safetensors").stat().st_size
        if size > MOST_BYTES:
            raise ValueError(
                f"a shipped model has at most {MOST_BYTES:,} bytes; this one has {size:,}. Make it smaller."
            )
        tokenizer.save(staging)
        write_json(staging / LOG, log)
        files = sorted(file.name for file in staging.iterdir())
        (folder / HASHES).unlink(missing_ok=True)
        for file in files:
            os.replace(staging / file, folder / file)
    write_json(folder / HASHES, {file: sha256(folder / file) for file in files})


def write_json(path: Path, content: dict) -> None:
    """A JSON file with one line for each entry of `rows`, written whole or not at all."""
    rows = content.get("rows")
    text = json.dumps({**content, "rows": []} if rows else content, indent=1)
    if rows:
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        text = text.replace('"rows": []', f'"rows": [\n{lines}\n ]')
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
