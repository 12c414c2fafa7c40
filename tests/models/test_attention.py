"""Attention and its blocks against PyTorch's own, in values and gradients, at shapes where every size differs."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.models import attention
from course_utils.models.attention import (
    DecoderBlock,
    EncoderBlock,
    MultiHeadAttention,
    fused_attention,
    make_mask,
    merge_heads,
    rotate,
    scaled_dot_product_attention,
    sinusoidal_positions,
    split_heads,
)

B, T, S, D, H, D_FF = 3, 5, 7, 12, 4, 20


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def values_and_gradients(function, *tensors, parameters=()):
    """The output and the gradients, of inputs and parameters, of a sum that weighs every entry differently."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = function(*leaves)
    weights = torch.linspace(-1, 2, out.numel()).view(out.shape)
    return [out, *torch.autograd.grad((out * weights).sum(), [*leaves, *parameters])]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.fixture
def qkv():
    return torch.randn(B, H, T, 6), torch.randn(B, H, S, 6), torch.randn(B, H, S, 9)


@pytest.fixture
def mask():
    mask = torch.rand(B, 1, T, S) > 0.4
    mask[..., 0] = True
    return mask


@pytest.mark.parametrize("function", [scaled_dot_product_attention, fused_attention])
@pytest.mark.parametrize("with_mask", [False, True])
def test_attention_equals_a_loop(qkv, mask, function, with_mask):
    q, k, v = (tensor.double() for tensor in qkv)
    expected = torch.zeros(B, H, T, 9, dtype=torch.float64)
    for b, h, t in itertools.product(range(B), range(H), range(T)):
        seen = [s for s in range(S) if not with_mask or mask[b, 0, t, s]]
        weights = torch.tensor([float(q[b, h, t] @ k[b, h, s]) / 6**0.5 for s in seen]).double().exp()
        expected[b, h, t] = sum(w * v[b, h, s] for w, s in zip(weights / weights.sum(), seen, strict=True))
    got = function(q, k, v, mask if with_mask else None)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-6)


def test_written_out_equals_fused_in_gradients(qkv, mask):
    ours = values_and_gradients(lambda *t: scaled_dot_product_attention(*t, mask), *qkv)
    assert_same(ours, values_and_gradients(lambda *t: F.scaled_dot_product_attention(*t, mask), *qkv))


@pytest.mark.parametrize("function", [scaled_dot_product_attention, fused_attention])
def test_a_query_that_sees_nothing_gets_zeros_and_no_nan(qkv, mask, function):
    mask[1, 0, 2] = False
    out, *gradients = values_and_gradients(lambda *t: function(*t, mask), *qkv)
    assert out[1, :, 2].eq(0).all()
    assert all(tensor.isfinite().all() for tensor in [out, *gradients])


def test_make_mask_hides_keys_not_queries():
    is_token = torch.tensor([[True, True, True], [True, True, False]])
    assert make_mask(is_token)[1, 0].tolist() == [[True, True, False]] * 3
    causal = make_mask(is_token, causal=True)
    assert causal[0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert causal[1, 0].tolist() == [[True, False, False], [True, True, False], [True, True, False]]


def test_heads_are_neighbouring_entries_and_merge_undoes_split():
    x = torch.arange(B * T * D).view(B, T, D)
    heads = split_heads(x, H)
    assert heads.shape == (B, H, T, D // H)
    assert torch.equal(heads[2, 1, 3], x[2, 3, 3:6])
    assert torch.equal(merge_heads(heads), x)


def torch_attention(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(D, ours.num_heads, batch_first=True)
    copy_attention(ours, theirs)
    return theirs


def copy_attention(ours, theirs):
    nn.init.normal_(ours.qkv.bias), nn.init.normal_(ours.output.bias)  # zeros would hide a bias in the wrong place
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.output.weight,
            "out_proj.bias": ours.output.bias,
        }
    )


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("num_heads", [1, 3, 12])
def test_multi_head_equals_pytorch(num_heads, fused):
    ours = MultiHeadAttention(D, num_heads, fused=fused)
    theirs = torch_attention(ours)
    x, context = torch.randn(B, T, D), torch.randn(B, S, D)
    hidden = torch.arange(S) >= torch.tensor([7, 4, 1])[:, None]  # (B, S), PyTorch's convention: True is hidden
    mine, other = {"parameters": [*ours.parameters()]}, {"parameters": [*theirs.parameters()]}  # in the same order
    own = values_and_gradients(lambda x: ours(x, make_mask(~hidden[:, :T])), x, **mine)
    reference = values_and_gradients(
        lambda x: theirs(x, x, x, key_padding_mask=hidden[:, :T], need_weights=False)[0], x, **other
    )
    assert_same(own, reference)
    own = values_and_gradients(lambda x, c: ours(x, ~hidden[:, None, None, :], c), x, context, **mine)
    reference = values_and_gradients(lambda x, c: theirs(x, c, c, key_padding_mask=hidden)[0], x, context, **other)
    assert_same(own, reference)


def test_weights_are_what_forward_averages_with():
    layer = MultiHeadAttention(D, H)
    x, mask = torch.randn(B, T, D), make_mask(torch.rand(B, T) > 0.3, causal=True)
    weights = layer.weights(x, mask)
    assert weights.shape == (B, H, T, T)
    value = layer.project(x)[2]
    torch.testing.assert_close(layer.output(merge_heads(weights @ value)), layer(x, mask))


def test_dropout_acts_on_weights_in_both_forms():
    for fused in (True, False):
        layer = MultiHeadAttention(D, H, dropout=0.5, fused=fused)
        x = torch.randn(B, T, D)
        assert not torch.equal(layer(x), layer(x))
        layer.eval()
        assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_block_equals_pytorch(norm_first):
    ours = EncoderBlock(D, H, D_FF, norm_first=norm_first)
    theirs = nn.TransformerEncoderLayer(D, H, D_FF, 0.0, F.gelu, batch_first=True, norm_first=norm_first)
    copy_attention(ours.attention, theirs.self_attn)
    pairs = [("attention_norm", "norm1"), ("feed_forward.up", "linear1"), ("feed_forward.down", "linear2")]
    pairs += [("feed_forward_norm", "norm2")]
    copy_modules(ours, theirs, pairs)
    is_token = torch.arange(T) < torch.tensor([5, 4, 2])[:, None]
    mine, other = paired(ours, theirs, [("attention", "self_attn"), *pairs])
    own = values_and_gradients(lambda x: ours(x, make_mask(is_token)), x := torch.randn(B, T, D), parameters=mine)
    assert_same(own, values_and_gradients(lambda x: theirs(x, src_key_padding_mask=~is_token), x, parameters=other))


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_block_equals_pytorch(norm_first):
    ours = DecoderBlock(D, H, D_FF, norm_first=norm_first)
    theirs = nn.TransformerDecoderLayer(D, H, D_FF, 0.0, F.gelu, batch_first=True, norm_first=norm_first)
    copy_attention(ours.attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    pairs = [("attention_norm", "norm1"), ("cross_norm", "norm2"), ("feed_forward_norm", "norm3")]
    pairs += [("feed_forward.up", "linear1"), ("feed_forward.down", "linear2")]
    copy_modules(ours, theirs, pairs)
    causal, x, c = torch.ones(T, T, dtype=torch.bool).tril(), torch.randn(B, T, D), torch.randn(B, S, D)
    pairs += [("attention", "self_attn"), ("cross_attention", "multihead_attn")]
    mine, other = paired(ours, theirs, pairs)
    own = values_and_gradients(lambda x, c: ours(x, c, causal), x, c, parameters=mine)
    assert_same(own, values_and_gradients(lambda x, c: theirs(x, c, tgt_mask=~causal), x, c, parameters=other))


def copy_modules(ours, theirs, pairs):
    for our_name, their_name in pairs:
        module = ours.get_submodule(our_name)
        for parameter in module.parameters():
            nn.init.normal_(parameter)
        theirs.get_submodule(their_name).load_state_dict(module.state_dict())


def paired(ours, theirs, pairs):
    """All parameters of ours, and of theirs, in one order."""
    mine = [p for our_name, _ in pairs for p in ours.get_submodule(our_name).parameters()]
    other = [p for _, their_name in pairs for p in theirs.get_submodule(their_name).parameters()]
    assert len(mine) == len([*ours.parameters()]) == len(other) == len([*theirs.parameters()])
    return mine, other


def test_sinusoidal_positions_by_the_formula():
    got = sinusoidal_positions(40, 6).double()
    for t, i in itertools.product((0, 1, 39), range(3)):
        angle = torch.tensor(t / 10_000 ** (2 * i / 6)).double()
        torch.testing.assert_close(
            got[t, 2 * i : 2 * i + 2], torch.stack([angle.sin(), angle.cos()]), atol=1e-5, rtol=0
        )


def test_rotated_scores_depend_on_the_distance_only():
    q, k = torch.randn(2, 8)
    positions = torch.arange(20)
    scores = rotate(q.expand(20, 8), positions) @ rotate(k.expand(20, 8), positions).T
    for offset in range(-19, 20):
        diagonal = scores.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand(len(diagonal)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rotate(q[None], torch.tensor([3])).norm(), q.norm())


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(B, 1, 1, T), "boolean.*float32"),
        (torch.ones(B, 1, 1, T, dtype=torch.long), "boolean.*int64"),
        (torch.ones(B, T, dtype=torch.bool), r"broadcast to .*\(3, 4, 5, 5\); got \(3, 5\)"),
        (torch.ones(B, 1, 1, T + 1, dtype=torch.bool), r"got \(3, 1, 1, 6\)"),
    ],
)
def test_masks_that_would_be_misread_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(D, H)(torch.randn(B, T, D), mask)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiple of num_heads; got 12 and 5"):
        MultiHeadAttention(12, 5)


def test_every_public_function_has_a_docstring():
    public = [
        value for name, value in vars(attention).items() if getattr(value, "__module__", "") == attention.__name__
    ]
    assert public and all(value.__doc__ for value in public)
