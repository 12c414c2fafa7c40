"""Models on disk as transformers lays them out, config.json and safetensors: read strictly, written atomically.

Knows no model. Which of our tensors has which name in a file is said by `bert_weights` and `gpt_weights`. Reads
safetensors only, never pickles.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from course_utils.atomic import replacing
from course_utils.errors import UserError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"


def read_json(path: Path) -> dict:
    """A configuration file. Raises UserError for one that is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as JSON ({error}). Point to a folder made by `save_pretrained`."
        ) from error


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a model by its name in the file, as it lies on disk.

    The memory is the file's, mapped: nothing is read before it is used, and processes share it. The mapping is private,
    so a tensor written to gets pages of its own and the file stays as it is.
    Raises UserError for files that are missing or damaged.
    """
    tensors = {}
    for path in weight_files(folder):
        if not path.is_file():
            raise UserError(
                f"{folder} holds no {path.name}; the course reads no other format. Convert it, or choose another."
            )
        try:
            with safe_open(path, "pt") as file:
                tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except SafetensorError as error:
            raise UserError(f"{path} is damaged ({error}). Fetch or copy it again.") from error
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: one, or those that its index names."""
    if not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    return [folder / name for name in sorted(set(read_json(folder / INDEX)["weight_map"].values()))]


def refuse_misfits(problems: list[str], folder: Path) -> None:
    """Raise UserError naming the tensors that are missing, misshaped or unexpected, if there are any."""
    if problems:
        raise UserError(
            f"the weights in {folder} do not fit their config.json: {listed(problems)}. "
            "Take weights and configuration of the same model, with the heads that this class needs."
        )


def listed(problems: list[str], most: int = 6) -> str:
    """The problems in one line, the first few of them by name."""
    more = f", and {len(problems) - most} more" if len(problems) > most else ""
    return ", ".join(problems[:most]) + more


def write_model(folder: str | Path, tensors: dict[str, torch.Tensor], config: dict) -> None:
    """Write config.json and model.safetensors, also for transformers; each appears whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, {"format": "pt"})
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
