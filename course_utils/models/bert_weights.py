"""BERT's weights on disk: the name of each of our tensors in transformers' files, written out; reading and writing.

Reads safetensors only, never pickles. Every tensor must be there, fit, and have a place: what does not is named.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from course_utils.errors import UserError
from course_utils.models import checkpoints
from course_utils.models.bert_config import BertConfig

CONFIG_NAMES = {  # ours: theirs
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "d_ff": "intermediate_size",
    "context_length": "max_position_embeddings",
    "num_token_types": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "norm_eps": "layer_norm_eps",
    "pad_id": "pad_token_id",
}
# A module of ours and where its weight and bias stand in the file; `qkv` is three matrices on top of each other.
EMBEDDINGS = {
    "embeddings.token": ("embeddings.word_embeddings",),
    "embeddings.position": ("embeddings.position_embeddings",),
    "embeddings.token_type": ("embeddings.token_type_embeddings",),
    "embeddings.norm": ("embeddings.LayerNorm",),
}
LAYER = {
    "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "feed_forward.up": ("intermediate.dense",),
    "feed_forward.down": ("output.dense",),
    "feed_forward_norm": ("output.LayerNorm",),
}
HEADS = {
    "transform": ("cls.predictions.transform.dense",),
    "transform_norm": ("cls.predictions.transform.LayerNorm",),
    "vocab_bias": ("cls.predictions.bias",),
    "next_sentence": ("cls.seq_relationship",),
    "classifier": ("classifier",),
}
OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}  # LayerNorm in files converted from TensorFlow
# Not weights, or a second copy of one: the vocabulary matrix of the MLM head is the token embedding.
IGNORED = ("embeddings.position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias")


def their_names(our_name: str) -> tuple[str, ...]:
    """The names in the file of one of our tensors: three for `qkv`, else one; without the prefix `bert.`.

    `layers.0.attention.output.weight` is ("encoder.layer.0.attention.output.dense.weight",).
    """
    name = our_name.removeprefix("bert.")
    module, _, ending = name.rpartition(".")
    if name in HEADS:  # a parameter that belongs to no module
        return HEADS[name]
    if module == "pooler":
        return (f"pooler.dense.{ending}",)
    if module.startswith("layers."):
        _, number, part = module.split(".", 2)
        return tuple(f"encoder.layer.{number}.{theirs}.{ending}" for theirs in LAYER[part])
    return tuple(f"{theirs}.{ending}" for theirs in (EMBEDDINGS | HEADS)[module])


class Pretrained:
    """What the BERT classes share: weights from and to disk. `may_start_from_noise`: name beginnings of new heads."""

    may_start_from_noise: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(cls, name: str | Path, **options):
        """A model with trained weights in float32 on the CPU, in `eval` mode; options as for the class.

        `name`: an embedded asset ("minilm"), a folder, or a hub model that was fetched. Heads that the class does not
        have are left out. Raises UserError naming the missing, extra and misshaped tensors, EnvironmentProblem with
        the command that fetches a missing model.
        """
        from course_utils.assets import model_path

        folder = model_path(name)
        config = read_config(folder)
        with torch.device("meta"):  # shapes only: no time for random numbers that are replaced at once
            model = cls(config, **options)
        state = fitting_tensors(model, read_tensors(folder), folder)
        model.load_state_dict(state, assign=True)
        return model.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, under the names that transformers reads."""
        save(self, self.config, folder)


def fitting_tensors(model: nn.Module, file: dict[str, torch.Tensor], folder: Path) -> dict[str, torch.Tensor]:
    """A value for every parameter of `model`, in float32; UserError listing what is missing, misshaped or unknown."""
    state, problems, used = {}, [], set()
    for our_name, parameter in model.state_dict().items():
        names = their_names(our_name)
        used.update(names)
        missing = [f"missing {theirs}" for theirs in names if theirs not in file]
        if missing and any(our_name.startswith(head) for head in model.may_start_from_noise):
            state[our_name] = noise(our_name, parameter.shape)
        elif missing:
            problems += missing
        else:
            pieces = {theirs: file[theirs] for theirs in names}
            problems += misshaped(pieces, parameter)
            state[our_name] = joined(pieces.values())
    problems += extra(file, used)
    checkpoints.refuse_misfits(problems, folder)
    return state


def joined(pieces: Iterable[torch.Tensor]) -> torch.Tensor:
    """The pieces below each other, as a float32 copy (files are mapped into memory; training must not write there)."""
    pieces = list(pieces)
    if any(piece.dim() == 0 or piece.shape[1:] != pieces[0].shape[1:] for piece in pieces):
        return torch.empty(0)  # already reported as misshaped
    return torch.cat(pieces).to(torch.float32, copy=True)


def noise(our_name: str, shape: torch.Size) -> torch.Tensor:
    """A fresh head, as `init_weights` makes it."""
    return torch.zeros(shape) if our_name.endswith("bias") else torch.randn(shape) * 0.02


def misshaped(pieces: dict[str, torch.Tensor], parameter: torch.Tensor) -> list[str]:
    """What to say about tensors whose shape is not the model's; several pieces share the first dimension evenly."""
    expected = (parameter.shape[0] // len(pieces), *parameter.shape[1:])
    return [
        f"{theirs} has shape {tuple(piece.shape)} instead of {expected}"
        for theirs, piece in pieces.items()
        if tuple(piece.shape) != expected
    ]


def extra(file: dict[str, torch.Tensor], used: set[str]) -> list[str]:
    """Tensors that have no place in the model; heads that this model does not have are no mistake."""
    heads = tuple(theirs for names in HEADS.values() for theirs in names)
    return [f"unexpected {name}" for name in file if name not in used and not name.startswith((*IGNORED, *heads))]


def read_config(folder: Path) -> BertConfig:
    """config.json in our words. Raises UserError for a file that is missing, broken, or of another kind of model."""
    path = folder / checkpoints.CONFIG
    theirs = checkpoints.read_json(path)
    rules = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
    for key, only in rules.items():
        if theirs.get(key, only) != only:
            raise UserError(f"{path}: this BERT has {key} = {only!r} only; got {theirs[key]!r}. Choose another model.")
    found = {ours: theirs[name] for ours, name in CONFIG_NAMES.items() if theirs.get(name) is not None}
    return BertConfig(**found)


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of model.safetensors under transformers' newest names, without the prefix `bert.`."""
    tensors = {}
    for name, tensor in checkpoints.read_tensors(folder).items():
        short = name.removeprefix("bert.")
        for old, new in OLD_ENDINGS.items():
            short = short.removesuffix(old) + new if short.endswith(old) else short
        tensors[short] = tensor
    return tensors


def save(model: nn.Module, config: BertConfig, folder: str | Path) -> None:
    """Write config.json and model.safetensors, also for transformers; each appears whole or not at all."""
    theirs = {name: getattr(config, ours) for ours, name in CONFIG_NAMES.items()}
    theirs |= {"model_type": "bert", "hidden_act": "gelu", "attention_probs_dropout_prob": config.dropout}
    checkpoints.write_model(folder, their_tensors(model.state_dict()), theirs)


def their_tensors(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our tensors under transformers' names; models with heads get the prefix `bert.` on the encoder's."""
    found = {}
    for our_name, tensor in state.items():
        prefix = "bert." if our_name.startswith("bert.") else ""
        names = their_names(our_name)
        parts: Iterable[torch.Tensor] = tensor.chunk(len(names))
        found |= {
            prefix + name: part.detach().cpu().contiguous().clone() for name, part in zip(names, parts, strict=True)
        }
    return found
