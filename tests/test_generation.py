"""Writing equals transformers' `generate`, token for token; the cache changes nothing; what cannot work is refused."""

import pytest
import torch
import transformers

from course_utils.generation import (
    generate,
    largest_token,
    left_pad,
    repetition_logits,
    sample_token,
    stream,
    temperature_logits,
    top_k_filter,
    top_p_filter,
)
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig

SIZES = {"vocab_size": 31, "d_model": 24, "num_layers": 2, "num_heads": 6, "context_length": 32}
CONFIGS = {"gpt2": GPTConfig.gpt2(**SIZES), "llama": GPTConfig.llama(**SIZES, num_kv_heads=2, is_tied=False)}
PROMPTS = [[1, 2, 3, 4, 5], [7, 8], [9, 10, 11]]
END = 3


def shaken(config, seed=0):
    torch.manual_seed(seed)
    model = GPT(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request, tmp_path_factory):
    """Our model and transformers', the same weights."""
    folder = tmp_path_factory.mktemp("model")
    ours = shaken(CONFIGS[request.param])
    ours.save_pretrained(folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    theirs.generation_config = transformers.GenerationConfig(pad_token_id=END)
    return ours, theirs


def both(pair, ours, theirs, prompts=PROMPTS, num_new=14, eos_id=None):
    """What our model writes with and without the cache, and what transformers' writes, from the same seed."""
    ids, mask = left_pad(prompts)
    found = []
    for use_cache in (True, False):
        torch.manual_seed(5)
        options = {"attention_mask": mask, "eos_id": eos_id, "pad_id": END, "use_cache": use_cache}
        found.append(generate(pair[0], ids, num_new, **options, **ours))
    torch.manual_seed(5)
    options = {"attention_mask": mask.long(), "eos_token_id": eos_id, "max_new_tokens": num_new}
    return *found, pair[1].generate(ids, **options, **theirs)


GREEDY = {"do_sample": False}
SAMPLE = {"do_sample": True, "top_k": 0}
SETTINGS = {
    "greedy": ({}, GREEDY),
    "temperature": ({"temperature": 0.7}, SAMPLE | {"temperature": 0.7}),
    "filters": (
        {"temperature": 1.3, "top_k": 9, "top_p": 0.8, "num_samples": 2},
        SAMPLE | {"temperature": 1.3, "top_k": 9, "top_p": 0.8, "num_return_sequences": 2},
    ),
    "beams": ({"num_beams": 3}, GREEDY | {"num_beams": 3}),
    "best beams": ({"num_beams": 4, "num_samples": 4}, GREEDY | {"num_beams": 4, "num_return_sequences": 4}),
    "long beams": ({"num_beams": 4, "length_penalty": 2.5}, GREEDY | {"num_beams": 4, "length_penalty": 2.5}),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("eos_id", [None, END])
def test_equals_transformers_token_for_token(pair, setting, eos_id):
    ours, without_cache, theirs = both(pair, *SETTINGS[setting], eos_id=eos_id)
    assert ours.tolist() == theirs.tolist()
    assert ours.tolist() == without_cache.tolist()


@pytest.mark.parametrize("beams", [1, 3])
def test_repetition_penalty_equals_transformers(pair, beams):
    settings = {"num_beams": beams, "repetition_penalty": 1.7}
    ours, without_cache, theirs = both(pair, settings, GREEDY | settings, PROMPTS[:1])
    assert ours.tolist() == theirs.tolist() == without_cache.tolist()
    plain = generate(pair[0], PROMPTS[:1], 14, num_beams=beams)
    assert plain.tolist() != ours.tolist()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("eos_id", [None, 7])
def test_beams_equal_transformers_for_many_models(seed, eos_id, tmp_path):
    ours = shaken(CONFIGS["gpt2"], seed)
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    theirs.generation_config = transformers.GenerationConfig(pad_token_id=END)
    settings = ({"num_beams": 2, "num_samples": 2}, GREEDY | {"num_beams": 2, "num_return_sequences": 2})
    found, _, expected = both((ours, theirs), *settings, eos_id=eos_id)
    assert found.tolist() == expected.tolist()


def test_beams_find_the_best_text_where_greedy_does_not():
    """The likely first token leads nowhere: 0.6 * 0.3 against 0.4 * 0.9."""
    table = torch.full((4, 4), 1e-9)
    table[0, 1], table[0, 2] = 0.6, 0.4  # after 0
    table[1] = torch.tensor([0.3, 0.2, 0.2, 0.3])
    table[2, 3] = 0.9

    def model(ids):
        return table.log()[ids]

    start = torch.tensor([[0]])
    assert generate(model, start, 2).tolist()[0][:2] == [0, 1]
    assert generate(model, start, 2, num_beams=2).tolist() == [[0, 2, 3]]


@pytest.mark.parametrize("top_k", [1, 4, 31])
def test_top_k_equals_transformers(top_k):
    logits = torch.randn(3, 31).round(decimals=1)  # with ties
    reference = transformers.TopKLogitsWarper(top_k)(None, logits)
    assert torch.equal(top_k_filter(logits, top_k), reference)


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 1.0])
def test_top_p_equals_transformers(top_p):
    logits = torch.randn(3, 31) * 3
    before = logits.clone()
    reference = transformers.TopPLogitsWarper(top_p)(None, logits) if top_p < 1 else logits
    kept = top_p_filter(logits, top_p)
    assert torch.equal(kept, reference) and torch.equal(logits, before)
    assert (kept.isfinite().sum(-1) >= 1).all()


def test_temperature_and_repetition_equal_transformers():
    logits, ids = torch.randn(3, 31), torch.randint(0, 31, (3, 9))
    assert torch.equal(temperature_logits(logits, 0.7), transformers.TemperatureLogitsWarper(0.7)(None, logits))
    reference = transformers.RepetitionPenaltyLogitsProcessor(1.4)(ids, logits)
    torch.testing.assert_close(repetition_logits(logits, ids, 1.4), reference)


def test_padding_is_no_repetition():
    logits, ids = torch.ones(1, 5), torch.tensor([[0, 0, 3, 0]])
    is_token = torch.tensor([[False, False, True, False]])
    assert repetition_logits(logits, ids, 2.0, is_token).tolist() == [[1.0, 1.0, 1.0, 0.5, 1.0]]
    is_token[0, 3] = True  # the padding's id is also used as a token
    assert repetition_logits(logits, ids, 2.0, is_token).tolist() == [[0.5, 1.0, 1.0, 0.5, 1.0]]


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"repetition_penalty": 1.5}])
def test_a_padded_batch_writes_what_each_prompt_alone_does(options):
    model = shaken(CONFIGS["llama"])
    ids, mask = left_pad(PROMPTS)
    together = generate(model, ids, 9, attention_mask=mask, **options)
    for prompt, row in zip(PROMPTS, together, strict=True):
        alone = generate(model, [prompt], 9, **options)[0]
        assert row[5 - len(prompt) :].tolist() == alone.tolist()


def test_samples_follow_the_probabilities():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(4000, 3)
    shares = sample_token(logits, torch.Generator().manual_seed(0)).bincount(minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.03, rtol=0)


def test_a_generator_makes_samples_repeatable_and_leaves_the_global_one_alone():
    model = shaken(CONFIGS["gpt2"])
    state = torch.random.get_rng_state()
    runs = [
        generate(model, PROMPTS[:1], 9, temperature=1.0, num_samples=3, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert runs[0].shape == (3, 14) and torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_streaming_gives_the_same_tokens_as_they_come():
    model, seen = shaken(CONFIGS["gpt2"]), []
    ids, mask = left_pad(PROMPTS)
    full = generate(model, ids, 9, attention_mask=mask, eos_id=END, on_token=seen.append)
    tokens = stream(model, ids, 9, attention_mask=mask, eos_id=END)
    assert next(tokens).tolist() == full[:, 5].tolist()
    assert torch.equal(torch.stack([full[:, 5], *tokens], 1), full[:, 5:])
    assert torch.equal(torch.stack(seen, 1), full[:, 5:])


def test_a_text_that_ended_is_filled_up_and_all_ends_when_all_have():
    def model(ids):  # counts upwards from the last id
        return torch.nn.functional.one_hot(ids + 1, 20).float()

    start = torch.tensor([[1], [3]])
    assert generate(model, start, 9, eos_id=5).tolist() == [[1, 2, 3, 4, 5], [3, 4, 5, 5, 5]]
    assert generate(model, start, 9, eos_id=5, pad_id=0).tolist() == [[1, 2, 3, 4, 5], [3, 4, 5, 0, 0]]


def test_the_model_and_autograd_are_as_before():
    model = shaken(CONFIGS["gpt2"]).train()
    tokens = stream(model, PROMPTS[:1], 3)
    next(tokens)
    assert model.training and torch.is_grad_enabled()
    for options in ({}, {"num_beams": 2}, {"temperature": 1.0}):
        ids = generate(model, PROMPTS[:1], 4, **options)
        assert model.training
        model(ids).sum().backward()  # ids made in inference mode would be refused here


IDS = torch.tensor(PROMPTS[:1])
RIGHT = torch.tensor([[1, 1, 1, 0, 0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_ids": PROMPTS}, r"unequal lengths need padding and a mask; got lengths from 2 to 5.*left_pad"),
        ({"input_ids": torch.zeros(1, 0, dtype=torch.long)}, "at least one token each"),
        ({"input_ids": [[]]}, "at least one token each"),
        ({"input_ids": IDS[0]}, r"got \(5,\)"),
        ({"input_ids": IDS.float()}, "whole numbers"),
        ({"input_ids": IDS + 30}, "input_ids must be from 0 to 30; got 31"),
        ({"input_ids": torch.zeros(1, 33, dtype=torch.long)}, r"context of 32; got 33 \+ 4"),
        ({"max_new_tokens": 28}, r"context of 32; got 5 \+ 28"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number from 1; got 0"),
        ({"attention_mask": RIGHT}, "padding must stand on the left.*row 0"),
        ({"attention_mask": RIGHT * 0}, "row 0 is only padding"),
        ({"attention_mask": RIGHT[:, :3]}, r"shape \(1, 5\), like input_ids; got \(1, 3\)"),
        ({"attention_mask": RIGHT * 2}, "1 or True at tokens"),
        ({"temperature": 0}, "above 0 .for greedy decoding leave it out.*got 0"),
        ({"temperature": -1.0}, "got -1.0"),
        ({"top_k": 0}, "top_k is a whole number from 1, or None to keep all; got 0"),
        ({"top_k": 32}, "top_k must be from 1 to the vocabulary's 31.*got 32"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.5}, "got 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0"),
        ({"num_beams": 0}, "num_beams is a whole number from 1; got 0"),
        ({"num_beams": 2, "temperature": 1.0}, "beam search is deterministic"),
        ({"num_beams": 2, "on_token": print}, "beam search is deterministic"),
        ({"num_beams": 2, "num_samples": 3}, r"at most num_beams; got \(3, 2\)"),
        ({"num_samples": 2}, "greedy samples are all the same"),
        ({"eos_id": 31}, "eos_id must be a token of the vocabulary, 0 to 30; got 31"),
        ({"pad_id": -1}, "pad_id must be a token"),
    ],
)
def test_what_cannot_work_is_a_clear_error(options, message):
    options = {"input_ids": IDS, "max_new_tokens": 4} | options
    with pytest.raises(ValueError, match=message):
        generate(shaken(CONFIGS["gpt2"]), **options)


def test_streams_are_checked_when_they_are_made():
    with pytest.raises(ValueError, match="unequal lengths"):
        stream(shaken(CONFIGS["gpt2"]), PROMPTS, 3)


@pytest.mark.parametrize("value", [float("-inf"), float("nan")])
def test_nothing_to_choose_from_is_a_clear_error(value):
    logits = torch.randn(2, 5)
    logits[1] = value
    for choose in (sample_token, largest_token):
        with pytest.raises(ValueError, match="every row of logits needs a finite largest entry"):
            choose(logits)
    with pytest.raises(ValueError, match="NaN"):
        generate(lambda ids: torch.full((*ids.shape, 5), float("nan")), [[1]], 3, num_beams=2)


def test_prompts_without_tokens_cannot_be_padded():
    with pytest.raises(ValueError, match=r"at least one token; got lengths \[1, 0\]"):
        left_pad([[1], []])
