"""Turn the embedded chat model's GGUF file (4-bit weights) into a folder that `from_pretrained` opens in 0.1 s.

Reads with the `gguf` library and writes safetensors, JSON and the chat template; nothing is downloaded or unpickled.
Handles the Llama architecture with a byte-level BPE vocabulary, which is what the course's asset is; no others.

Sizes: D model width, H query heads, G key/value heads, K width of a head.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils import assets
from course_utils.errors import EnvironmentProblem

if TYPE_CHECKING:
    import numpy as np

CONTROL_TOKEN = 3  # the GGUF token type of special tokens
TOP_LEVEL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",  # absent when the head shares the embedding's weights, as here
}
BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
PREPARED_FILES = (
    "model.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


def prepare_gguf_model(source: Path, folder: Path) -> None:
    """Write the model, tokenizer and chat template of a GGUF file into `folder`, which exists and is empty.

    Raises EnvironmentProblem for a file that is not such a model; OSError where the folder cannot take it.
    """
    reader = open_gguf(source)
    config = model_config(reader)
    write_safetensors(folder / "model.safetensors", *model_tensors(reader, config))
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {name: config[name] for name in _TOKEN_IDS if name in config})
    (folder / "tokenizer.json").write_text(_tokenizer(reader).to_str(), encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", tokenizer_config(reader))
    (folder / "chat_template.jinja").write_text(_field(reader, "tokenizer.chat_template"), encoding="utf-8")


def write_manifest(folder: Path, source: dict[str, str]) -> None:
    """Record length and hash of each file of a prepared folder, and what it was made from, for `assets.verify`."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": assets.sha256(folder / name)}
        for name in PREPARED_FILES
    }
    _write_json(folder / assets.MANIFEST, {"format": assets.PREPARED_FORMAT, "source": source, "files": files})


def open_gguf(source: Path) -> Any:
    """A `gguf.GGUFReader` of the file.

    Raises EnvironmentProblem if the `gguf` library is missing or the file is not GGUF.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise EnvironmentProblem(
            "preparing the chat model needs the package `gguf`. Install it with `pip install gguf`."
        ) from error
    try:
        return GGUFReader(source)
    except ValueError as error:
        raise EnvironmentProblem(f"{source} is not a readable GGUF file ({error}).") from error


def model_config(reader: Any) -> dict[str, Any]:
    """The contents of `config.json`, from the file's metadata."""
    if (kind := _field(reader, "general.architecture")) != "llama":
        raise EnvironmentProblem(f"the course prepares GGUF models of architecture 'llama'; this one is {kind!r}.")
    names = {tensor.name for tensor in reader.tensors}
    heads = _field(reader, "llama.attention.head_count")
    width = _field(reader, "llama.embedding_length")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_size": width,
        "intermediate_size": _field(reader, "llama.feed_forward_length"),
        "num_hidden_layers": _field(reader, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _field(reader, "llama.attention.head_count_kv"),
        "head_dim": width // heads,
        "hidden_act": "silu",
        "max_position_embeddings": _field(reader, "llama.context_length"),
        "rms_norm_eps": _shortest(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        "rope_parameters": {"rope_type": "default", "rope_theta": _shortest(_field(reader, "llama.rope.freq_base"))},
        "tie_word_embeddings": "output.weight" not in names,
        "vocab_size": _field(reader, "llama.vocab_size"),
    }
    return config | _token_ids(reader)


def model_tensors(reader: Any, config: dict[str, Any]) -> tuple[dict[str, tuple[int, ...]], Callable]:
    """Names with shapes as transformers has them, and a function that dequantises one of them to float32.

    Only one tensor is held at a time: the whole model is six times the file.
    """
    from gguf import dequantize

    sources = {tensor_name(tensor.name): tensor for tensor in reader.tensors if tensor.name != "rope_freqs.weight"}
    num_heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}

    def values(name: str) -> "np.ndarray":
        tensor = sources[name]
        weight = dequantize(tensor.data, tensor.tensor_type)
        heads = num_heads.get(name.split(".")[-2])
        return weight if heads is None else undo_rotary_layout(weight, heads)

    # GGUF lists dimensions fastest first, arrays the other way round
    return {name: tuple(int(n) for n in reversed(tensor.shape)) for name, tensor in sources.items()}, values


def tensor_name(name: str) -> str:
    """The name transformers gives a tensor of a llama GGUF file: `blk.3.attn_q.weight` is `model.layers.3....`."""
    if name in TOP_LEVEL_NAMES:
        return TOP_LEVEL_NAMES[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
    if match is None or match[2] not in BLOCK_NAMES:
        raise EnvironmentProblem(f"the GGUF file has a tensor the course does not know: {name!r}.")
    return f"model.layers.{match[1]}.{BLOCK_NAMES[match[2]]}.{match[3]}"


def undo_rotary_layout(weight: "np.ndarray", num_heads: int) -> "np.ndarray":
    """Rows of a query or key projection, (num_heads * K, D), in the order transformers' rotary embedding expects.

    llama.cpp rotates neighbours (rows 0 and 1, 2 and 3, ...), transformers the two halves of a head (rows 0 and K/2, 1
    and K/2 + 1, ...); the GGUF converter reorders rows for the former, and this puts them back.
    """
    pairs = weight.reshape(num_heads, -1, 2, weight.shape[-1])  # (H, K/2, 2, D)
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], values: Callable[[str], "np.ndarray"]) -> None:
    """Write float32 tensors one at a time: the safetensors library would hold the whole model in memory first.

    The format: header length (8 bytes, little-endian), JSON header padded with blanks to 8 bytes, then the data.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * _product(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            array = values(name)
            assert array.shape == shape, (name, array.shape, shape)
            file.write(array.astype("<f4", copy=False).tobytes())


def tokenizer_config(reader: Any) -> dict[str, Any]:
    """The contents of `tokenizer_config.json`: which tokens begin, end and pad."""
    tokens = _field(reader, "tokenizer.ggml.tokens")
    special = {name.replace("_id", ""): tokens[i] for name, i in _token_ids(reader).items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _field(reader, "llama.context_length"),
        "clean_up_tokenization_spaces": False,
        **special,
    }


def _tokenizer(reader: Any) -> Any:
    """A `tokenizers.Tokenizer`: byte-level BPE that never joins digits, which is what the vocabulary `smollm` means."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens, kinds = _field(reader, "tokenizer.ggml.tokens"), _field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if (rule := _field(reader, "tokenizer.ggml.pre")) != "smollm":
        raise EnvironmentProblem(f"the course knows the pre-tokenizer 'smollm'; this GGUF file asks for {rule!r}.")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


_TOKEN_IDS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
    "unk_token_id": "tokenizer.ggml.unknown_token_id",
}


def _token_ids(reader: Any) -> dict[str, int]:
    return {name: _field(reader, key) for name, key in _TOKEN_IDS.items()}


def _field(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    if field is None:
        raise EnvironmentProblem(f"the GGUF file lacks the metadata {key!r}, which the course needs.")
    return field.contents()


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32: metadata stores 0.00001 as 9.99999974e-06."""
    import numpy as np

    return float(str(np.float32(value)))


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
