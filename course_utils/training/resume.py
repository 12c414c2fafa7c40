"""The state of a training run on disk, so that it goes on as if it had never stopped: the same curve to the last digit.

One safetensors file holds weights, AdamW's moments and torch's random state as tensors, step and configuration as text
in its header. Nothing is pickled. The position in the data is the step: batches must be a function of seed and step.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from course_utils.atomic import replacing
from course_utils.errors import UserError

STATE = "training_state.safetensors"
RANDOM = "random_state"


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, config: dict) -> Path:
    """Write the state after `step` steps, whole or not at all; returns the file. `config`: what must be equal to go on.

    Random state is that of the CPU, where dropout draws in the course's own runs.
    """
    tensors = {f"model.{name}": tensor for name, tensor in _own_tensors(model).items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in values.items()}
    tensors[RANDOM] = torch.get_rng_state()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"step": str(step), "config": json.dumps(config, sort_keys=True)}
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / STATE) as temporary:
        save_file(tensors, temporary, header)
    return folder / STATE


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, config: dict) -> int:
    """Put model, optimizer and torch's random state back to where they were; returns the number of steps done.

    0 if nothing was saved. Raises UserError, and changes nothing, if the file is damaged or belongs to another
    configuration; the differing values are named.
    """
    path = folder / STATE
    if not path.is_file():
        return 0
    header, tensors = _read(path)
    _check_config(path, json.loads(header["config"]), json.loads(json.dumps(config)))
    own = _own_tensors(model)
    saved = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    misfits = [name for name in own.keys() | saved.keys() if name not in own or name not in saved]
    misfits += [name for name in own.keys() & saved.keys() if own[name].shape != saved[name].shape]
    if misfits:
        raise UserError(f"{path} holds another model: {len(misfits)} tensors do not fit, such as {min(misfits)!r}.")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _optimizer_state(tensors)})
    torch.set_rng_state(tensors[RANDOM])
    return int(header["step"])


def _own_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers, a tensor that two modules share once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _optimizer_state(tensors: dict[str, torch.Tensor]) -> dict[int, dict[str, torch.Tensor]]:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for full_name, tensor in tensors.items():
        if full_name.startswith("optimizer."):
            _, number, name = full_name.split(".")
            state.setdefault(int(number), {})[name] = tensor
    return state


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if not {"step", "config"} <= header.keys():
                raise UserError(f"{path} is no state of a training run. Name the folder that `save_state` wrote to.")
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged or cut off ({error}). Delete it to start again, or copy it back from a backup."
        ) from error


def _check_config(path: Path, saved: dict, wanted: dict) -> None:
    differing = [name for name in {**saved, **wanted} if saved.get(name) != wanted.get(name)]
    if differing:
        listed = ", ".join(f"{name} was {saved.get(name)!r}, now {wanted.get(name)!r}" for name in differing[:4])
        raise UserError(
            f"{path} belongs to a run with other settings: {listed}. Go on with those, or name another folder."
        )
