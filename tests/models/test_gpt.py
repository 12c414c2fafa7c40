"""Our GPT is transformers' GPT-2 and Llama: logits and gradients, padding, the cache; its sizes and its errors."""

import dataclasses
import math

import pytest
import torch
import transformers

from course_utils.models.attention import sinusoidal_positions
from course_utils.models.gpt import GPT
from course_utils.models.gpt_cache import KeyValueCache
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.gpt_layers import rotary_table, rotate
from course_utils.models.gpt_weights import GPT2, LLAMA, is_transposed, their_names

SIZES = {"vocab_size": 41, "d_model": 24, "num_layers": 3, "num_heads": 6, "context_length": 13}
GPT2_TINY = GPTConfig.gpt2(**SIZES)
LLAMA_TINY = GPTConfig.llama(**SIZES, num_kv_heads=2)
CONFIGS = {
    "gpt2": GPT2_TINY,
    "gpt2-odd": GPTConfig.gpt2(vocab_size=17, d_model=35, num_layers=1, num_heads=7, d_ff=11, context_length=13),
    "gpt2-untied": dataclasses.replace(GPT2_TINY, is_tied=False),
    "llama": LLAMA_TINY,
    "llama-one-kv-head": dataclasses.replace(LLAMA_TINY, num_kv_heads=1, is_tied=False, rope_theta=500.0),
    "llama-biases": dataclasses.replace(LLAMA_TINY, num_kv_heads=6, has_bias=True, norm_eps=1e-3),
}
CLASSES = {"learned": transformers.GPT2LMHeadModel, "rotary": transformers.LlamaForCausalLM}


def shaken(config, dtype=torch.float32):
    """A model in which every parameter has a value of its own: zero biases and unit norms would hide mistakes."""
    torch.manual_seed(1)
    model = GPT(config).to(dtype).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model


def pair(config, folder, kernel="eager"):
    """Our model and transformers' with the same weights, through a folder that both read."""
    ours = shaken(config)
    ours.save_pretrained(folder)
    theirs = CLASSES[config.positions].from_pretrained(folder, attn_implementation=kernel)
    return ours, theirs.eval()


def ids_for(config, B=3, T=7):
    return torch.randint(0, config.vocab_size, (B, T), generator=torch.Generator().manual_seed(0))


def left_padding(B=3, T=7):
    """A mask with padding on the left of two rows; the last has one token only."""
    return (torch.arange(T) >= torch.tensor([0, 3, T - 1])[:B, None]).long()


def assert_same_gradients(ours, theirs, config):
    layout = GPT2 if config.positions == "learned" else LLAMA
    reference = {name.removeprefix(layout.prefix): p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        pieces = [reference[theirs_name] for theirs_name in their_names(name, layout)]
        expected = torch.cat([piece.t() if is_transposed(name, layout) else piece for piece in pieces])
        torch.testing.assert_close(parameter.grad, expected, atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shape", [(3, 7), (1, 1), (2, 13)])
def test_equals_transformers_in_logits_and_gradients(name, shape, tmp_path):
    config = CONFIGS[name]
    ours, theirs = pair(config, tmp_path)
    ids = ids_for(config, *shape)
    own, reference = ours(ids), theirs(ids).logits
    assert own.shape == (*shape, config.vocab_size)
    torch.testing.assert_close(own, reference, atol=1e-4, rtol=1e-4)
    for logits in (own, reference):
        logits.sin().sum().backward()
    assert_same_gradients(ours, theirs, config)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_equals_transformers_with_left_padding(name, kernel, tmp_path):
    config = CONFIGS[name]
    ours, theirs = pair(config, tmp_path, kernel)
    ids, mask = ids_for(config), left_padding()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    own, reference = ours(ids, mask), theirs(ids, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(own[mask == 1], reference[mask == 1], atol=1e-4, rtol=1e-4)
    for logits in (own, reference):
        logits[mask == 1].sin().sum().backward()
    assert_same_gradients(ours, theirs, config)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(name, side):
    model, ids = shaken(CONFIGS[name], torch.float64), ids_for(CONFIGS[name], 2, 7)
    padding, ones = torch.full((2, 4), 5), torch.ones(2, 7, dtype=torch.bool)
    parts, masks = [padding, ids], [padding < 0, ones]
    where = slice(4, 11)
    if side == "right":
        parts, masks, where = parts[::-1], masks[::-1], slice(0, 7)
    padded = model(torch.cat(parts, 1), torch.cat(masks, 1))
    torch.testing.assert_close(padded[:, where], model(ids), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_row_without_tokens_gives_no_nan(name):
    model, mask = shaken(CONFIGS[name]), torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
    ids = ids_for(CONFIGS[name], 2, 5)
    logits = model(ids, mask)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model(ids, mask, model.make_cache(2, 5)).isfinite().all()


CHUNKS = [[7, 5, 1], [1] * 13, [13], [5, 1, 1, 6]]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_the_cache_changes_nothing(name, is_padded, dtype, atol):
    model, ids = shaken(CONFIGS[name], dtype), ids_for(CONFIGS[name], 3, 13)
    mask = left_padding(3, 13) if is_padded else torch.ones(3, 13, dtype=torch.long)
    mask[2, 10:] = 1
    expected = model(ids, mask)
    for lengths in CHUNKS:
        cache, found, start = model.make_cache(3, 13), [], 0
        for length in lengths:
            part = slice(start, start + length)
            # Behind the last padding no mask is needed: the cache remembers.
            part_mask = mask[:, part] if start < 11 else None
            found.append(model(ids[:, part], part_mask, cache))
            start += length
            assert cache.length == start
        found = torch.cat(found, 1)
        torch.testing.assert_close(found[mask == 1], expected[mask == 1], atol=atol, rtol=0)


def test_the_last_position_alone():
    model, ids = shaken(LLAMA_TINY), ids_for(LLAMA_TINY)
    torch.testing.assert_close(model.next_logits(ids), model(ids)[:, -1])
    cache = model.make_cache(3)
    assert cache.max_length == LLAMA_TINY.context_length
    model.next_logits(ids[:, :4], cache=cache)
    torch.testing.assert_close(model.next_logits(ids[:, 4:], cache=cache), model(ids)[:, -1])


@pytest.mark.parametrize("is_padded", [False, True])
def test_rows_of_a_cache_can_be_cropped_repeated_and_reordered(is_padded):
    model, ids = shaken(LLAMA_TINY, torch.float64), ids_for(LLAMA_TINY, 2, 9)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, :2] = not is_padded
    cache = model.make_cache(2, 6)
    model(ids[:, :6], mask[:, :6], cache)
    cache.crop(4)
    wide = cache.repeat_rows(3, 9)
    assert (wide.batch_size, wide.max_length, wide.length) == (6, 9, 4)
    rows = torch.tensor([2, 0, 1, 5, 5, 3])  # of 3 copies of row 0 and 3 of row 1
    tails = torch.randint(0, 41, (6, 5), generator=torch.Generator().manual_seed(3))
    model(tails[:, :2], cache=wide)
    wide.reorder_rows(rows, start=4)
    found = model(tails[:, 2:], cache=wide)
    prompts = ids[:, :4].repeat_interleave(3, 0)
    full = torch.cat([prompts, tails[rows, :2], tails[:, 2:]], 1)
    full_mask = torch.cat([mask[:, :4].repeat_interleave(3, 0), torch.ones(6, 5, dtype=torch.bool)], 1)
    torch.testing.assert_close(found, model(full, full_mask)[:, 6:], atol=1e-9, rtol=0)


def test_an_interrupted_pass_leaves_the_cache_as_it_was(monkeypatch):
    model, ids = shaken(GPT2_TINY), ids_for(GPT2_TINY)
    cache = model.make_cache(3, 7)
    model(ids[:, :3], cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(model.layers[2], "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(ids[:, 4:], torch.zeros(3, 3, dtype=torch.bool), cache=cache)
    assert cache.length == 3
    torch.testing.assert_close(model(ids[:, 3:], cache=cache), model(ids)[:, 3:])


def test_a_cache_keeps_no_gradients_and_counts_its_bytes():
    model = shaken(LLAMA_TINY)
    cache = model.make_cache(3, 8)
    assert not model.hidden_states(ids_for(LLAMA_TINY), cache=cache).requires_grad
    assert cache.num_bytes == 2 * 3 * 3 * 2 * 8 * 4 * 4  # keys and values, layers, B, G, positions, K, bytes


def test_the_head_is_the_embedding_only_where_they_are_tied():
    tied, untied = GPT(GPT2_TINY), GPT(CONFIGS["gpt2-untied"])
    assert tied.head_weight is tied.token_embedding.weight
    assert untied.head_weight is not untied.token_embedding.weight
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == 41 * 24


def test_sizes_of_the_published_models():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in GPT(config).parameters()) for config in (GPTConfig(), GPTConfig.llama())]
    assert counts == [124_439_808, 134_515_008]
    assert GPTConfig() == GPTConfig.gpt2()
    assert GPTConfig.llama(num_heads=12).num_kv_heads == 12


def test_residual_branches_start_smaller_with_depth():
    torch.manual_seed(0)
    model = GPT(GPTConfig.gpt2(vocab_size=50, d_model=96, num_heads=4, num_layers=8, context_length=8))
    for layer in model.layers:
        for name, scale in (("attention.qkv", 1), ("attention.output", 4), ("feed_forward.down", 4)):
            linear = layer.get_submodule(name)
            assert linear.weight.std().item() == pytest.approx(0.02 / scale, rel=0.06), name
            assert not linear.bias.any()


def test_dropout_acts_in_training_only():
    model, ids = shaken(dataclasses.replace(GPT2_TINY, dropout=0.3)), ids_for(GPT2_TINY)
    torch.testing.assert_close(model(ids), model(ids))
    model.train()
    assert not torch.allclose(model(ids), model(ids))


def test_rotation_depends_on_distance_only_and_keeps_lengths():
    turn = rotary_table(8, 100.0, 20, torch.float64, torch.device("cpu"))
    q, k = torch.randn(2, 8, dtype=torch.float64)
    turned_q, turned_k = rotate(q.expand(20, 8), turn), rotate(k.expand(20, 8), turn)
    scores = turned_q @ turned_k.T  # (query position, key position)
    torch.testing.assert_close(scores[3, 1], scores[17, 15], atol=1e-6, rtol=0)
    assert not math.isclose(scores[3, 1], scores[3, 2], abs_tol=1e-3)
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(20), atol=1e-6, rtol=0)
    angles = sinusoidal_positions(20, 8)[:, 1::2]  # the same frequencies, at base 10,000
    cos = rotary_table(8, 10_000.0, 20, torch.float32, torch.device("cpu"))[0]
    torch.testing.assert_close(cos[:, :4], angles, atol=1e-5, rtol=0)


def test_a_table_made_while_generating_can_be_trained_with():
    config = dataclasses.replace(LLAMA_TINY, rope_theta=77.0)  # a table of its own
    model, ids = shaken(config), ids_for(config)
    with torch.inference_mode():
        model(ids)
    model(ids).sum().backward()


IDS = torch.ones(2, 5, dtype=torch.long)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input_ids": torch.tensor([[1, 2], [3, 41]])}, r"input_ids must be from 0 to 40; got 41 at \(1, 1\)"),
        ({"input_ids": IDS.float()}, "whole numbers.*float32"),
        ({"input_ids": IDS[0]}, r"shape \(B, T\).*got \(5,\)"),
        ({"input_ids": IDS[:, :0]}, "at least one token"),
        ({"input_ids": torch.ones(1, 14, dtype=torch.long)}, "context ends at 13 tokens; got 14"),
        ({"input_ids": IDS, "attention_mask": IDS[:, :4]}, r"attention_mask must have shape \(2, 5\); got \(2, 4\)"),
        ({"input_ids": IDS, "attention_mask": IDS * 2}, "attention_mask must be from 0 to 1; got 2"),
        ({"input_ids": IDS, "cache": KeyValueCache(GPT2_TINY, 3, 5)}, "batch of 3; got input_ids of 2"),
        ({"input_ids": IDS, "cache": KeyValueCache(GPT2_TINY, 2, 4)}, "too small: it holds 0 of 4 positions; got 5"),
    ],
)
def test_bad_input_is_a_clear_error(inputs, message):
    with pytest.raises(ValueError, match=message):
        GPT(GPT2_TINY)(**inputs)


def test_a_full_context_is_noticed_behind_the_cache():
    model = GPT(GPT2_TINY)
    cache = model.make_cache(1)
    model(torch.zeros(1, 13, dtype=torch.long), cache=cache)
    with pytest.raises(ValueError, match="got 1 behind 13 in the cache"):
        model(torch.zeros(1, 1, dtype=torch.long), cache=cache)
    with pytest.raises(ValueError, match="crop keeps from 0 to the 13"):
        cache.crop(14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": 0}, "GPTConfig.num_layers is a whole number from 1; got 0"),
        ({"d_model": 25}, r"multiple of num_heads; got \(25, 6\)"),
        ({"num_kv_heads": 4}, r"multiple of num_kv_heads; got \(6, 4\)"),
        ({"positions": "rotary", "d_model": 18}, "must be even; got 3"),
        ({"positions": "sinus"}, r"positions must be one of \('learned', 'rotary'\); got 'sinus'"),
        ({"norm": "batch"}, "norm must be one of"),
        ({"feed_forward": "relu"}, "feed_forward must be one of"),
        ({"dropout": 1.0}, "dropout"),
        ({"eos_id": 41}, "eos_id must be a token"),
        ({"norm_eps": 0}, "norm_eps must be above 0"),
        ({"rope_theta": -1.0}, "rope_theta must be above 0"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(GPT2_TINY, **change)


@pytest.mark.parametrize(("sizes", "message"), [((0, 5), "batch_size"), ((1, 0), "max_length"), ((1, 14), "of 13")])
def test_impossible_caches_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        KeyValueCache(GPT2_TINY, *sizes)
