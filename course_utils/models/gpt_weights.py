"""GPT's weights on disk: the name of each of our tensors in transformers' files; reading and writing.

Two layouts: GPT-2's, whose matrices stand transposed (inputs by outputs), and Llama's, whose queries, keys and values
are three matrices. Every tensor must be there, fit, and have a place: what does not is named.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from course_utils.errors import UserError
from course_utils.models import checkpoints
from course_utils.models.gpt_config import GPT2_STYLE, LLAMA_STYLE, GPTConfig


class Layout(NamedTuple):
    """How one family of models is written down."""

    model_type: str
    architecture: str
    prefix: str  # before every name but the output layer's; some GPT-2 files leave it out
    config_names: dict[str, str]  # ours: theirs
    rules: dict[str, tuple]  # their keys that must have one of these values; the first is also what a missing key means
    modules: dict[str, str]  # ours: theirs
    block: str  # the beginning of a layer's names
    block_modules: dict[str, tuple[str, ...]]
    is_transposed: bool
    ignored: re.Pattern  # buffers of older versions


GPT2 = Layout(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    prefix="transformer.",
    config_names={
        "vocab_size": "vocab_size",
        "d_model": "n_embd",
        "num_layers": "n_layer",
        "num_heads": "n_head",
        "d_ff": "n_inner",
        "context_length": "n_positions",
        "dropout": "resid_pdrop",
        "norm_eps": "layer_norm_epsilon",
        "is_tied": "tie_word_embeddings",
        "eos_id": "eos_token_id",
    },
    rules={
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    modules={"token_embedding": "wte", "position_embedding": "wpe", "norm": "ln_f"},
    block="h",
    block_modules={
        "attention_norm": ("ln_1",),
        "attention.qkv": ("attn.c_attn",),
        "attention.output": ("attn.c_proj",),
        "feed_forward_norm": ("ln_2",),
        "feed_forward.up": ("mlp.c_fc",),
        "feed_forward.down": ("mlp.c_proj",),
    },
    is_transposed=True,
    ignored=re.compile(r"h\.\d+\.attn\.(masked_)?bias"),
)
LLAMA = Layout(
    model_type="llama",
    architecture="LlamaForCausalLM",
    prefix="model.",
    config_names={
        "vocab_size": "vocab_size",
        "d_model": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "num_kv_heads": "num_key_value_heads",
        "d_ff": "intermediate_size",
        "context_length": "max_position_embeddings",
        "dropout": "attention_dropout",
        "norm_eps": "rms_norm_eps",
        "has_bias": "attention_bias",
        "is_tied": "tie_word_embeddings",
        "eos_id": "eos_token_id",
    },
    rules={"hidden_act": ("silu",)},
    modules={"token_embedding": "embed_tokens", "norm": "norm"},
    block="layers",
    block_modules={
        "attention_norm": ("input_layernorm",),
        "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention.output": ("self_attn.o_proj",),
        "feed_forward_norm": ("post_attention_layernorm",),
        "feed_forward.gate": ("mlp.gate_proj",),
        "feed_forward.up": ("mlp.up_proj",),
        "feed_forward.down": ("mlp.down_proj",),
    },
    is_transposed=False,
    ignored=re.compile(r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq"),
)
LAYOUTS = {layout.model_type: layout for layout in (GPT2, LLAMA)}
NEEDED = ("vocab_size", "d_model", "num_layers", "num_heads", "context_length")


def load(model_class: type[nn.Module], folder: Path) -> nn.Module:
    """A model of `model_class` with the configuration and the weights of `folder`; float32, `eval` mode.

    Tensors that lie on disk as we need them are used where they lie, mapped into memory.
    """
    config, layout = read_config(folder)
    with torch.device("meta"):  # shapes only: no time for random numbers that are replaced at once
        model = model_class(config)
    file = {name.removeprefix(layout.prefix): tensor for name, tensor in checkpoints.read_tensors(folder).items()}
    model.load_state_dict(fitting_tensors(model, layout, file, folder), assign=True)
    return model.eval()


def read_config(folder: Path) -> tuple[GPTConfig, Layout]:
    """config.json in our words. Raises UserError for a file that is missing, broken, or of another kind of model."""
    path = folder / checkpoints.CONFIG
    theirs = checkpoints.read_json(path)
    layout = LAYOUTS.get(theirs.get("model_type"))
    if layout is None:
        raise refused(path, "model_type", tuple(LAYOUTS), theirs.get("model_type"))
    for key, allowed in layout.rules.items():
        if theirs.get(key, allowed[0]) not in allowed:
            raise refused(path, key, allowed, theirs[key])
    found = {ours: theirs[name] for ours, name in layout.config_names.items() if theirs.get(name) is not None}
    missing = [layout.config_names[ours] for ours in NEEDED if ours not in found]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}. Copy the file that belongs to the weights.")
    if not isinstance(found.get("eos_id"), int):  # some models end with any of several tokens
        found.pop("eos_id", None)
    if layout is LLAMA:
        found = LLAMA_STYLE | {"is_tied": False, "rope_theta": rope_theta(theirs, path)} | found
        refuse_other_llamas(theirs, found, path)
    return GPTConfig(**found), layout


def rope_theta(theirs: dict, path: Path) -> float:
    """The base of the rotary angles, in the newer or the older form; UserError for stretched positions."""
    rope = theirs.get("rope_parameters") or theirs.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise refused(path, "rope_type", ("default",), kind)
    return float(rope.get("rope_theta", theirs.get("rope_theta", 10_000.0)))


def refuse_other_llamas(theirs: dict, found: dict, path: Path) -> None:
    """Raise UserError for what Llama's configuration can say and ours cannot."""
    d_head = found["d_model"] // found["num_heads"]
    if theirs.get("head_dim") not in (None, d_head):
        raise refused(path, "head_dim", (d_head,), theirs["head_dim"])
    if theirs.get("mlp_bias", False) != found["has_bias"]:
        raise refused(path, "mlp_bias", (found["has_bias"],), theirs.get("mlp_bias", False))


def refused(path: Path, key: str, allowed: tuple, got: object) -> UserError:
    """The error for a configuration that this GPT cannot follow."""
    values = " or ".join(repr(value) for value in allowed)
    return UserError(f"{path}: this GPT has {key} = {values} only; got {got!r}. Choose another model.")


def their_names(our_name: str, layout: Layout) -> tuple[str, ...]:
    """The names in the file of one of our tensors, without prefix: three for Llama's `qkv`, else one.

    `layers.0.attention.output.weight` is ("h.0.attn.c_proj.weight",) in GPT-2.
    """
    module, _, ending = our_name.rpartition(".")
    if module == "head":
        return ("lm_head.weight",)
    if not module.startswith("layers."):
        return (f"{layout.modules[module]}.{ending}",)
    _, number, part = module.split(".", 2)
    return tuple(f"{layout.block}.{number}.{theirs}.{ending}" for theirs in layout.block_modules[part])


def is_transposed(our_name: str, layout: Layout) -> bool:
    """Whether the file holds this matrix as inputs by outputs: those of GPT-2's layers, but no embedding."""
    return (
        layout.is_transposed
        and our_name.startswith("layers.")
        and our_name.endswith("weight")
        and ("norm" not in our_name)
    )


def rows_of(names: tuple[str, ...], total: int, config: GPTConfig) -> list[int]:
    """How many of our tensor's rows each piece of the file holds."""
    if len(names) == 1:
        return [total]
    return [heads * config.d_head for heads in (config.num_heads, config.num_kv_heads, config.num_kv_heads)]


def fitting_tensors(
    model: nn.Module, layout: Layout, file: dict[str, torch.Tensor], folder: Path
) -> dict[str, torch.Tensor]:
    """A value for every parameter of `model`, in float32; UserError listing what is missing, misshaped or unknown."""
    state, problems, used = {}, [], set()
    for our_name, parameter in model.state_dict().items():
        names = their_names(our_name, layout)
        used.update(names)
        found = [file[name] for name in names if name in file]
        shapes = [(rows, *parameter.shape[1:]) for rows in rows_of(names, parameter.shape[0], model.config)]
        is_turned = is_transposed(our_name, layout)
        if is_turned:
            shapes = [shape[::-1] for shape in shapes]
        wrong = [f"missing {name}" for name in names if name not in file]
        if not wrong:
            wrong = [
                f"{name} has shape {tuple(piece.shape)} instead of {shape}"
                if piece.is_floating_point()
                else f"{name} holds {piece.dtype} instead of floating-point numbers"
                for name, piece, shape in zip(names, found, shapes, strict=True)
                if tuple(piece.shape) != shape or not piece.is_floating_point()
            ]
        problems += wrong
        state[our_name] = torch.empty(0) if wrong else joined(found, is_turned)
    problems += [f"unexpected {name}" for name in file if not (name in used or is_ignored(name, model, layout))]
    checkpoints.refuse_misfits(problems, folder)
    return state


def is_ignored(name: str, model: nn.Module, layout: Layout) -> bool:
    """Not a weight, or a second copy of one: the output layer where it is tied to the embedding."""
    return bool(layout.ignored.fullmatch(name)) or (name == "lm_head.weight" and model.head is None)


def joined(pieces: Iterable[torch.Tensor], is_turned: bool) -> torch.Tensor:
    """The pieces below each other in float32; a single one that is float32 already stays where it lies on disk."""
    pieces = [piece.t() if is_turned else piece for piece in pieces]
    whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return whole.to(torch.float32).contiguous()


def save(model: nn.Module, folder: str | Path) -> None:
    """Write config.json and model.safetensors, also for transformers; each appears whole or not at all."""
    layout = layout_of(model.config)
    tensors = {}
    for our_name, tensor in model.state_dict().items():
        names = their_names(our_name, layout)
        pieces = tensor.detach().cpu().split(rows_of(names, tensor.shape[0], model.config))
        for name, piece in zip(names, pieces, strict=True):
            piece = piece.t() if is_transposed(our_name, layout) else piece
            prefix = "" if our_name.startswith("head.") else layout.prefix
            # Pieces of one tensor share its memory, which safetensors takes for an oversight.
            tensors[prefix + name] = piece.clone() if len(names) > 1 else piece.contiguous()
    checkpoints.write_model(folder, tensors, their_config(model.config, layout))


def layout_of(config: GPTConfig) -> Layout:
    """The family that a model of this configuration belongs to; UserError for a mixture."""
    style = {name: getattr(config, name) for name in GPT2_STYLE}
    if style == GPT2_STYLE and config.num_kv_heads == config.num_heads:
        return GPT2
    if style | {"has_bias": False} == LLAMA_STYLE:
        return LLAMA
    raise UserError(
        f"transformers knows GPT-2 and Llama, no mixture of them; got {style} with {config.num_kv_heads} key/value "
        "heads. Save this model with `course_utils.training.checkpoint.save_model`."
    )


def their_config(config: GPTConfig, layout: Layout) -> dict:
    """config.json, for transformers and for `read_config`."""
    theirs = {"architectures": [layout.architecture], "model_type": layout.model_type, "dtype": "float32"}
    theirs |= {name: getattr(config, ours) for ours, name in layout.config_names.items()}
    theirs |= {key: allowed[0] for key, allowed in layout.rules.items()}
    theirs |= {"initializer_range": config.init_std, "bos_token_id": None}  # not GPT-2's, which may be out of range
    if layout is GPT2:
        return theirs | {"attn_pdrop": config.dropout, "embd_pdrop": config.dropout}
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    return theirs | {"head_dim": config.d_head, "rope_parameters": rope, "mlp_bias": config.has_bias}
