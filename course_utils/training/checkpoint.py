"""A trained model on disk: weights as safetensors, facts as JSON. Nothing is pickled, so loading runs no foreign code.

Weights only: what a later step needs to go on training (optimizer, position in the data) is not kept.
"""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from course_utils.atomic import replacing
from course_utils.errors import UserError

WEIGHTS, FACTS = "model.safetensors", "facts.json"


def save_model(folder: Path, model: nn.Module, facts: dict) -> Path:
    """Write the weights and `facts`, anything JSON can hold, into `folder`; each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        save_file(weights, temporary)
    with replacing(folder / FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return folder


def read_facts(folder: Path) -> dict:
    """The facts of a saved model. Raises UserError if there is none in `folder`."""
    try:
        return json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"there is no saved model in {folder}. Save one with `save_model` first.") from error


def load_weights(folder: Path, model: nn.Module) -> None:
    """Fill `model` with the saved weights. Raises UserError naming what does not fit."""
    weights = load_file(folder / WEIGHTS)
    own = model.state_dict()
    misfits = list(own.keys() ^ weights.keys())
    misfits += [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if misfits:
        raise UserError(
            f"the weights in {folder} are for another model: {len(misfits)} tensors do not fit, such as "
            f"{min(misfits)!r}. Build the model with the sizes it was saved with (see {FACTS})."
        )
    model.load_state_dict(weights)
