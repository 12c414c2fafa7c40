"""LoRA: nothing changes at first, thin matrices alone learn, their gradients are the full matrix's, merged is equal."""

import pytest
import torch
from torch import nn

from course_utils.config import TrainConfig
from course_utils.generation import generate
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.gpt_step import PlainLayers
from course_utils.models.language_model import LanguageModelLoss
from course_utils.models.lora import LoraLinear, add_lora, merge_lora, optimizer_bytes, trained_parameters
from course_utils.models.products import Linear
from course_utils.training.loop import train
from course_utils.training.optim import make_adamw

CONFIG = GPTConfig.gpt2(vocab_size=31, d_model=24, num_layers=3, num_heads=4, context_length=16)
IDS = torch.randint(31, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GPT(CONFIG).eval()


def shake(model):
    """Random numbers in every thin matrix."""
    for module in model.modules():
        if isinstance(module, LoraLinear):
            nn.init.normal_(module.A)
            nn.init.normal_(module.B)
    return model


def test_nothing_has_changed_before_the_first_step(model):
    before = model(IDS).detach()
    assert torch.equal(add_lora(model, ("qkv",), 4, 8.0)(IDS), before)


@pytest.mark.parametrize(("names", "per_layer"), [(("qkv",), 24 + 72), (("up", "down"), 2 * (24 + 96))])
def test_only_the_thin_matrices_learn(model, names, per_layer):
    frozen = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    add_lora(model, names, 4, 8.0)
    assert trained_parameters(model) == 3 * 4 * per_layer
    batch = {"input_ids": IDS[:, :-1], "targets": IDS[:, 1:]}
    losses = train(LanguageModelLoss(model), [batch] * 30, TrainConfig(max_lr=0.05), head_names=()).losses
    assert losses[-1] < losses[0] - 0.05
    for name, parameter in model.named_parameters():
        if not name.endswith((".A", ".B")):
            assert torch.equal(parameter, frozen[name.replace(".linear.", ".")]), name


def test_gradients_are_those_of_the_full_matrix_through_the_product():
    torch.manual_seed(1)
    layer = shake(LoraLinear(nn.Linear(5, 7), 3, 12.0)).double()
    full = nn.Linear(5, 7).double()
    full.load_state_dict({"weight": layer.merged().detach(), "bias": layer.linear.bias.detach()})
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    for module in (layer, full):
        module(x).sin().sum().backward()
    torch.testing.assert_close(layer.A.grad, 4.0 * layer.B.mT @ full.weight.grad)
    torch.testing.assert_close(layer.B.grad, 4.0 * full.weight.grad @ layer.A.mT)
    assert layer.linear.weight.grad is None and layer.linear.bias.grad is None


def test_merged_is_equal_and_an_ordinary_model_again(model):
    names = [name for name, _ in model.named_parameters()]
    shake(add_lora(model, ("qkv",), 4, 1.0))
    expected = model(IDS).detach()
    assert PlainLayers.of(model.layers, CONFIG) is None  # changed blocks run as modules
    merge_lora(model)
    torch.testing.assert_close(model(IDS), expected, atol=1e-5, rtol=1e-4)
    assert [name for name, _ in model.named_parameters()] == names
    assert type(model.layers[0].attention.qkv) is Linear and trained_parameters(model) == sum(
        parameter.numel() for parameter in model.parameters()
    )
    assert PlainLayers.of(model.layers, CONFIG) is not None


def test_the_cache_knows_the_update(model):
    shake(add_lora(model, ("qkv",), 2, 0.1))
    texts = [generate(model, IDS[:, :4], 8, use_cache=use_cache) for use_cache in (True, False)]
    assert torch.equal(*texts)


def test_an_optimizer_remembers_two_numbers_for_each_that_learns(model):
    add_lora(model, ("qkv",), 4, 8.0)
    optimizer = make_adamw(model, TrainConfig(), head_names=())
    assert optimizer_bytes(optimizer) == 0
    model(IDS).sum().backward()
    optimizer.step()
    num_tensors = sum(p.requires_grad for p in model.parameters())
    assert optimizer_bytes(optimizer) == 4 * (2 * trained_parameters(model) + num_tensors)  # and a step counter each


@pytest.mark.parametrize(
    ("names", "rank", "message"),
    [
        (("qvk",), 4, r"ends of their names; got \('qvk',\)"),
        (("norm",), 4, "needs linear layers"),
        (("qkv",), 0, "from 1; got 0"),
        (("qkv",), 2.0, "whole number"),
        (("qkv",), 24, "below 24, the smaller side of the matrix; got 24"),
    ],
)
def test_impossible_updates_are_refused_and_change_nothing(model, names, rank, message):
    with pytest.raises(ValueError, match=message):
        add_lora(model, names, rank, 8.0)
    assert all(parameter.requires_grad for parameter in model.parameters())
