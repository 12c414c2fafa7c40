"""GPT's weights on disk: both layouts, there and back through transformers, precision, and what does not fit."""

import dataclasses
import json
import threading

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from course_utils.assets import model_path
from course_utils.errors import EnvironmentProblem, UserError
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.gpt_weights import read_config

SIZES = {"vocab_size": 41, "d_model": 24, "num_layers": 2, "num_heads": 6, "context_length": 13}
GPT2_TINY = GPTConfig.gpt2(**SIZES)
LLAMA_TINY = GPTConfig.llama(**SIZES, num_kv_heads=2, eos_id=7)
IDS = torch.randint(0, 41, (3, 7), generator=torch.Generator().manual_seed(0))


def their_gpt2(**changes):
    sizes = {"vocab_size": 41, "n_embd": 24, "n_layer": 2, "n_head": 6, "n_positions": 13}
    ends = {"eos_token_id": 5, "bos_token_id": 5}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **ends, **changes)).eval()


def their_llama(**changes):
    sizes = {"vocab_size": 41, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6}
    sizes |= {"num_key_value_heads": 2, "intermediate_size": 20, "max_position_embeddings": 13}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **changes)).eval()


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (their_gpt2, {}),
        (their_gpt2, {"n_inner": 10, "tie_word_embeddings": False, "activation_function": "gelu_pytorch_tanh"}),
        (their_llama, {}),
        (their_llama, {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    ],
)
def test_reads_what_transformers_writes(make, changes, tmp_path):
    torch.manual_seed(0)
    theirs = make(**changes)
    theirs.save_pretrained(tmp_path)
    ours = GPT.from_pretrained(tmp_path)
    assert not ours.training and ours.config.num_layers == 2
    torch.testing.assert_close(ours(IDS), theirs(IDS).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("config", [GPT2_TINY, LLAMA_TINY, dataclasses.replace(LLAMA_TINY, is_tied=False)])
def test_weights_survive_a_round_trip(config, tmp_path):
    model = GPT(config)
    model.save_pretrained(tmp_path)
    read = GPT.from_pretrained(tmp_path)
    assert read.config == config
    torch.testing.assert_close(read.state_dict(), model.state_dict(), atol=0, rtol=0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert theirs.num_parameters() == sum(p.numel() for p in model.parameters())
    assert theirs.config.eos_token_id == config.eos_id
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    theirs.save_pretrained(tmp_path / "again")
    torch.testing.assert_close(GPT.from_pretrained(tmp_path / "again").state_dict(), model.state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk_becomes_float32(dtype, tmp_path):
    def halve(tensors):
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})

    model = GPT.from_pretrained(saved_with(halve, tmp_path))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model(IDS).isfinite().all()


def test_names_without_prefix_and_old_buffers_are_read(tmp_path):
    """As in the files that were published with GPT-2."""

    def strip(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 13, 13)
        tensors["h.1.attn.masked_bias"] = torch.tensor(-1e4)
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()

    torch.manual_seed(0)
    expected = GPT(GPT2_TINY).state_dict()
    torch.testing.assert_close(GPT.from_pretrained(saved_with(strip, tmp_path)).state_dict(), expected)


def test_several_files_are_read_through_their_index(tmp_path):
    GPT(LLAMA_TINY).save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "parts", max_shard_size="8KB")
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    whole, parts = GPT.from_pretrained(tmp_path), GPT.from_pretrained(tmp_path / "parts")
    torch.testing.assert_close(parts.state_dict(), whole.state_dict())


def test_training_a_mapped_model_leaves_its_file_alone(tmp_path):
    GPT(LLAMA_TINY).save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = GPT.from_pretrained(tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    model.save_pretrained(tmp_path)  # over the file that it came from
    assert torch.equal(GPT.from_pretrained(tmp_path).head_weight, model.head_weight)


def test_a_reader_never_meets_half_a_file(tmp_path):
    """Models are written beside their target and renamed: whoever reads meanwhile gets one of the two."""
    model = GPT(dataclasses.replace(GPT2_TINY, vocab_size=3000))
    model.save_pretrained(tmp_path)
    stop, failures = threading.Event(), []

    def read_on():
        while not stop.is_set():
            try:
                GPT.from_pretrained(tmp_path)
            except UserError as error:
                failures.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    for _ in range(20):
        model.save_pretrained(tmp_path)
    stop.set()
    reader.join()
    assert not failures


def saved_with(change, folder, config=GPT2_TINY):
    """A folder with a tiny model whose tensors went through `change`."""
    torch.manual_seed(0)
    GPT(config).save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


UP = "h.1.mlp.c_fc.weight"
FULL_UP = f"transformer.{UP}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(FULL_UP), f"missing {UP}"),
        (lambda tensors: tensors.update(surprise=torch.zeros(2)), "unexpected surprise"),
        (lambda tensors: tensors.update({FULL_UP: torch.zeros(96, 24)}), rf"{UP} has shape \(96, 24\) instead of \(24"),
        (lambda tensors: tensors.update({FULL_UP: torch.zeros(24)}), rf"{UP} has shape \(24,\) instead of \(24, 96\)"),
        (lambda tensors: tensors.update({FULL_UP: torch.zeros(24, 96).int()}), f"{UP} holds torch.int32"),
        (lambda tensors: [tensors.pop(name) for name in list(tensors)[:9]], "and 3 more"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        GPT.from_pretrained(saved_with(change, tmp_path))


def test_pieces_of_one_matrix_are_checked_one_by_one(tmp_path):
    key = "layers.0.self_attn.k_proj.weight"

    def swap(tensors):
        tensors[f"model.{key}"] = torch.zeros(24, 24)

    with pytest.raises(UserError, match=rf"{key} has shape \(24, 24\) instead of \(8, 24\)"):
        GPT.from_pretrained(saved_with(swap, tmp_path, LLAMA_TINY))


@pytest.mark.parametrize(
    ("config", "entry", "message"),
    [
        (GPT2_TINY, {"model_type": "opt"}, "model_type = 'gpt2' or 'llama' only; got 'opt'"),
        (GPT2_TINY, {"activation_function": "relu"}, "activation_function = 'gelu_new' or"),
        (GPT2_TINY, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        (GPT2_TINY, {"n_head": 5}, "multiple of num_heads"),
        (GPT2_TINY, {"n_embd": None}, "lacks n_embd"),
        (LLAMA_TINY, {"hidden_act": "gelu"}, "hidden_act = 'silu' only"),
        (LLAMA_TINY, {"head_dim": 8}, "head_dim = 4 only; got 8"),
        (LLAMA_TINY, {"mlp_bias": True}, "mlp_bias = False only; got True"),
        (LLAMA_TINY, {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rope_type = 'default' only"),
        (LLAMA_TINY, {"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "rope_type.*got 'linear'"),
    ],
)
def test_other_models_are_refused(config, entry, message, tmp_path):
    GPT(config).save_pretrained(tmp_path)
    theirs = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(theirs | entry))
    with pytest.raises(ValueError, match=message):
        GPT.from_pretrained(tmp_path)


def test_older_configurations_are_read(tmp_path):
    GPT(LLAMA_TINY).save_pretrained(tmp_path)
    theirs = json.loads((tmp_path / "config.json").read_text())
    del theirs["rope_parameters"], theirs["head_dim"], theirs["mlp_bias"]
    theirs |= {"rope_theta": 5e5, "rope_scaling": None, "eos_token_id": [2, 3]}
    (tmp_path / "config.json").write_text(json.dumps(theirs))
    config, _ = read_config(tmp_path)
    assert config == dataclasses.replace(LLAMA_TINY, rope_theta=5e5, eos_id=None)


def test_broken_and_missing_files(tmp_path):
    with pytest.raises(UserError, match="config.json cannot be read"):
        GPT.from_pretrained(tmp_path)
    GPT(GPT2_TINY).save_pretrained(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        GPT.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no model.safetensors"):
        GPT.from_pretrained(tmp_path)
    with pytest.raises(EnvironmentProblem, match="course fetch"):
        GPT.from_pretrained("gpt-that-nobody-fetched")


@pytest.mark.parametrize("change", [{"norm": "rms"}, {"num_kv_heads": 3}, {"has_bias": False}])
def test_a_mixture_has_no_file_format(change, tmp_path):
    with pytest.raises(UserError, match="no mixture of them"):
        GPT(dataclasses.replace(GPT2_TINY, **change)).save_pretrained(tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_equals_transformers_on_the_real_weights():
    """The embedded chat model: 30 layers, 9 query heads over 3 key/value heads, 135 million parameters."""
    ours = GPT.from_pretrained("smollm2")
    theirs = transformers.LlamaForCausalLM.from_pretrained(model_path("smollm2"), dtype=torch.float32).eval()
    assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters() == 134_515_008
    assert ours.config.eos_id == 2
    ids = torch.tensor([[1, 9690, 198, 2683, 359, 253, 5356], [2, 2, 2, 2, 504, 3575, 282]])
    mask = torch.tensor([[1] * 7, [0] * 4 + [1] * 3])
    with torch.inference_mode():
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        reference = theirs(ids, attention_mask=mask, position_ids=positions).logits[mask == 1]
        torch.testing.assert_close(ours(ids, mask)[mask == 1], reference, atol=1e-3, rtol=1e-4)
        cache = ours.make_cache(2, 7)
        parts = [ours(ids[:, :5], mask[:, :5], cache), ours(ids[:, 5:6], None, cache), ours(ids[:, 6:], None, cache)]
        torch.testing.assert_close(torch.cat(parts, 1)[mask == 1], reference, atol=1e-3, rtol=1e-4)
