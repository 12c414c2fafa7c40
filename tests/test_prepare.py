"""The chat model prepared from its GGUF file equals what transformers reads there, and real text keeps its tokens."""

import json

import numpy as np
import pytest

from course_utils import assets, prepare
from course_utils.errors import EnvironmentProblem


@pytest.fixture(scope="module")
def folder():
    """The prepared model of this machine's cache."""
    return assets.asset_path("smollm2")


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def texts(count: int) -> list[str]:
    """Real messages of the embedded conversations."""
    conversations = json.loads(assets.asset_path("chitchat").read_text(encoding="utf-8"))
    groups = (group for talk in conversations.values() for group in talk["messages"])
    messages = (message["text"] for group in groups for message in group)
    return [text for text, _ in zip(messages, range(count), strict=False)]


def test_the_rotary_layout_is_undone():
    """llama.cpp's reordering, written as loops: row 2j + s of a head in the file is row s * K/2 + j of the model."""
    heads, width, columns = 2, 6, 3
    model = np.arange(heads * width * columns, dtype=np.float32).reshape(heads * width, columns)
    in_file = np.empty_like(model)
    for head in range(heads):
        for half in range(2):
            for j in range(width // 2):
                in_file[head * width + 2 * j + half] = model[head * width + half * (width // 2) + j]
    assert not np.array_equal(in_file, model)
    assert np.array_equal(prepare.undo_rotary_layout(in_file, heads), model)


def test_tensor_names():
    assert prepare.tensor_name("blk.12.attn_k.weight") == "model.layers.12.self_attn.k_proj.weight"
    assert prepare.tensor_name("token_embd.weight") == "model.embed_tokens.weight"
    with pytest.raises(EnvironmentProblem, match=r"blk\.0\.ssm_in\.weight"):
        prepare.tensor_name("blk.0.ssm_in.weight")


def test_written_safetensors_are_read_by_the_library(tmp_path):
    from safetensors.numpy import load_file

    wanted = {"b.weight": np.random.rand(3, 5).astype(np.float32), "a": np.arange(4, dtype=np.float32)}
    shapes = {name: array.shape for name, array in wanted.items()}
    prepare.write_safetensors(tmp_path / "x.safetensors", shapes, wanted.__getitem__)
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_not_a_gguf_file(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"not a model, but long enough to be read as one")
    with pytest.raises(EnvironmentProblem, match="not a readable GGUF file"):
        prepare.open_gguf(tmp_path / "x.gguf")


def test_chat_template_and_special_tokens(tokenizer):
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True, tokenize=False
    )
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert tokenizer("<|im_start|>user").input_ids[0] == 1


def test_digits_are_never_joined_and_text_survives(tokenizer):
    assert tokenizer.tokenize("In  2026") == ["In", "ĠĠ", "2", "0", "2", "6"]
    for text in [*texts(300), "ünïcödé 🙂\n\n\tx = 10", ""]:
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_model_opens_as_float32_and_is_tied(folder):
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"], config["vocab_size"]) == (30, 576, 49152)
    assert config["tie_word_embeddings"] is True
    assert (folder / "model.safetensors").stat().st_size == pytest.approx(4 * 134_515_008, rel=1e-3)


def test_the_weights_are_those_proven_equal_to_transformers_reading(folder):
    """`make bench ARGS=chat_model` compares each weight with transformers' own slow reading; here, a fingerprint."""
    wanted = "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd"
    assert assets.sha256(folder / "model.safetensors") == wanted
