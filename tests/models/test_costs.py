"""Costs by formula against what torch counts and keeps, on models of every variant, at odd sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_utils.models import costs
from course_utils.models.gpt import GPT
from course_utils.models.gpt_cache import KeyValueCache
from course_utils.models.gpt_config import GPTConfig

SIZES = {"vocab_size": 31, "d_model": 24, "num_layers": 3, "num_heads": 6, "d_ff": 44, "context_length": 16}
VARIANTS = {
    "gpt2": GPTConfig.gpt2(**SIZES),
    "llama": GPTConfig.llama(**SIZES, num_kv_heads=2),
    "untied": GPTConfig.gpt2(**SIZES, is_tied=False),
    "no bias": GPTConfig.gpt2(**SIZES, has_bias=False),
    "swiglu with bias": GPTConfig.gpt2(**SIZES, feed_forward="swiglu", norm="rms", num_kv_heads=3),
}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_parameters_are_those_of_the_model(config):
    assert costs.num_parameters(config) == sum(parameter.numel() for parameter in GPT(config).parameters())


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize(("B", "T"), [(1, 5), (3, 16)])
def test_flops_are_those_that_torch_counts(config, B, T):
    model, ids = GPT(config), torch.zeros(B, T, dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
        assert counter.get_total_flops() == B * T * costs.forward_flops(config, T)
        loss.backward()
    assert counter.get_total_flops() == B * T * costs.training_flops(config, T)


def test_a_text_longer_than_the_context_has_no_cost():
    with pytest.raises(ValueError, match="from 1 to 16 tokens here; got 17"):
        costs.training_flops(VARIANTS["gpt2"], 17)


def test_state_is_what_adamw_keeps():
    model = GPT(VARIANTS["gpt2"])
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.zeros(1, 5, dtype=torch.long)
    model(ids).sum().backward()
    optimizer.step()
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    kept = [*model.parameters(), *(parameter.grad for parameter in model.parameters()), *moments]
    assert sum(tensor.nbytes for tensor in kept) == costs.training_state_bytes(costs.num_parameters(model.config))


@pytest.mark.parametrize(("B", "T"), [(1, 16), (3, 7)])
def test_activations_are_what_autograd_keeps(B, T):
    model, kept = GPT(VARIANTS["gpt2"]), {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def put_aside(tensor):
        memory = tensor.untyped_storage()
        if tensor.is_floating_point() and memory.data_ptr() not in weights:
            kept[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(put_aside, lambda tensor: tensor):
        hidden = model.hidden_states(torch.zeros(B, T, dtype=torch.long))
    assert hidden.requires_grad
    assert sum(kept.values()) == costs.activation_bytes(model.config, B, T)


def test_activations_of_other_variants_are_refused():
    with pytest.raises(ValueError, match="GPT-2's variant without dropout"):
        costs.activation_bytes(VARIANTS["llama"], 1, 4)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_cache_is_what_the_cache_takes(config):
    assert costs.cache_bytes(config, 2, 9) == KeyValueCache(config, 2, 9).num_bytes
