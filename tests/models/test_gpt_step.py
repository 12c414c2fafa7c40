"""The fast ways of generation compute what the modules compute, and stand back where somebody changed these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.models import products
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.products import Linear, product

SIZES = {"vocab_size": 64, "d_model": 24, "num_layers": 2, "num_heads": 6, "context_length": 13}
CONFIGS = {
    "gpt2": GPTConfig.gpt2(**SIZES),
    "llama": GPTConfig.llama(**SIZES, num_kv_heads=2),
    "llama-biases": GPTConfig.llama(**SIZES, has_bias=True),
    "mixture": GPTConfig(**SIZES, norm="rms", has_bias=False),
}


@pytest.mark.parametrize("rows", [1, 3, 4, 8, 15, 16])
@pytest.mark.parametrize("outputs", [64, 192, 70])
@pytest.mark.parametrize("has_bias", [True, False])
def test_products_in_blocks_equal_linear(rows, outputs, has_bias, monkeypatch):
    monkeypatch.setattr(products, "MANY_WEIGHTS", 1)
    monkeypatch.setattr(products, "MANY_INPUTS", 1)
    x, weight = torch.randn(rows, 1, 9), torch.randn(outputs, 9)
    bias = torch.randn(outputs) if has_bias else None
    calls = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *args: calls.append(1) or bmm(*args))
    with torch.no_grad():
        found = product(x, weight, bias)
        torch.testing.assert_close(found, F.linear(x, weight, bias))
        torch.testing.assert_close(product(x[:, 0], weight.double().float()), F.linear(x[:, 0], weight))
    in_blocks = 4 <= rows < 16 and outputs % 64 == 0 and torch.backends.mkl.is_available()
    assert bool(calls) == in_blocks


def test_products_that_train_or_are_small_are_plain(monkeypatch):
    monkeypatch.setattr(torch, "bmm", lambda *_: 1 / 0)
    layer, x = Linear(600, 1024), torch.randn(8, 600)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        Linear(24, 64)(torch.randn(8, 24))
        layer.double()(x.double())


def filled(model, ids):
    cache = model.make_cache(len(ids), 9)
    model(ids[:, :4], cache=cache)
    return cache


def one_by_one(model, cache, ids):
    return torch.cat([model(ids[:, i : i + 1], cache=cache) for i in range(4, 9)], 1)


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_without_modules_equal_the_modules(name):
    torch.manual_seed(0)
    model = GPT(CONFIGS[name]).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    ids = torch.randint(0, 64, (3, 9))
    plain, modules = filled(model, ids), filled(model, ids)
    assert plain.plain_layers is not None
    modules.plain_layers = None
    torch.testing.assert_close(one_by_one(model, plain, ids), one_by_one(model, modules, ids), atol=0, rtol=0)
    assert plain.repeat_rows(2, 12).plain_layers is plain.plain_layers


class Doubled(nn.Module):
    """A module around another, as adapters are."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 2 * self.inner(x)


def test_changed_blocks_run_as_they_are():
    torch.manual_seed(0)
    model = GPT(CONFIGS["gpt2"]).eval()
    ids = torch.randint(0, 64, (3, 9))
    before = model(ids)
    model.layers[1].feed_forward.up = Doubled(model.layers[1].feed_forward.up)
    cache = filled(model, ids)
    assert cache.plain_layers is None
    changed = model(ids)
    assert not torch.allclose(changed, before)
    torch.testing.assert_close(one_by_one(model, cache, ids), changed[:, 4:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_are_called_for_every_token(register):
    model, calls = GPT(CONFIGS["gpt2"]).eval(), []
    getattr(model.layers[0].attention.output, register)(lambda *_: calls.append(1))
    ids = torch.randint(0, 64, (3, 9))
    one_by_one(model, filled(model, ids), ids)
    assert len(calls) == 6


def test_dropout_needs_the_modules():
    model = GPT(GPTConfig.gpt2(**SIZES, dropout=0.5)).train()
    ids = torch.randint(0, 64, (3, 9))
    assert not torch.allclose(one_by_one(model, filled(model, ids), ids), one_by_one(model, filled(model, ids), ids))
