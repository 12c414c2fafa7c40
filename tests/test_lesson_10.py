"""What lesson 10 shows is what its logged runs used, and the logs have what the lesson reads from them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from course_utils.assets import model_path
from course_utils.chat.template import plain_ids
from course_utils.checkpoints import course_gpt, read_training_log
from course_utils.data.few_shot import draw_examples
from course_utils.data.language_model import END_OF_TEXT
from course_utils.data.sentiment import CLASS_NAMES, Split, Tweet
from course_utils.data.tokenizers import BytePairEncoding
from course_utils.exercises import lesson_10 as solutions
from course_utils.exercises import lesson_10_checks as checks
from course_utils.generation.labels import label_log_probs, label_scores, read_prefix
from course_utils.models import costs
from course_utils.models.gpt import GPT
from course_utils.models.gpt_cache import KeyValueCache
from course_utils.models.gpt_config import GPTConfig
from course_utils.notebook.percent import read_source
from course_utils.runs import in_context, scaling
from course_utils.training import scaling as laws

SOURCE = Path(__file__).resolve().parent.parent / "notebooks" / "src" / "10_scaling_laws.py"
TINY = {"vocab_size": 49_152, "d_model": 12, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "context_length": 512}
TWEETS = [Tweet(f"Text {label}.{i}", label) for label in range(3) for i in range(9)]


@pytest.fixture(scope="module")
def tokenizer():
    """The chat model's tokenizer."""
    return AutoTokenizer.from_pretrained(model_path(in_context.MODEL))


def definitions(cell_id: str, until: str, **names) -> dict:
    """The names that the beginning of a lesson's cell defines, up to the line that starts with `until`."""
    source = next(cell.source for cell in read_source(SOURCE).cells if cell.id == cell_id)
    exec(compile(source[: source.index(f"\n{until}")], cell_id, "exec"), names)
    return names


def test_prompts_of_the_lesson_are_those_of_the_run(tokenizer):
    shown = definitions("prompt", "examples =", split_tweets=lambda *_: Split(TWEETS, [], TWEETS, CLASS_NAMES),
                        load_tweets=lambda: [TWEETS], num_tweets=1, chat_model=in_context.MODEL, model_path=model_path,
                        AutoTokenizer=AutoTokenizer, CLASS_NAMES=CLASS_NAMES,
                        logging=__import__("transformers").utils.logging)  # fmt: skip
    form, examples = in_context.PlainFormat(tokenizer), TWEETS[2::7]
    assert plain_ids(tokenizer, shown["prefix_text"](examples)) == form.prefix(examples)
    assert plain_ids(tokenizer, shown["rest_text"]("Oh no! ")) == form.rest("Oh no! ")


@pytest.mark.parametrize("name", in_context.FORMATS)
def test_a_prompt_in_two_parts_has_the_tokens_of_the_whole(tokenizer, name):
    form, examples = in_context.FORMATS[name](tokenizer), TWEETS[2::7]
    whole = form.prefix([*examples, Tweet("one more", 1)])
    assert whole[: len(form.prefix(examples) + form.rest("one more"))] == form.prefix(examples) + form.rest("one more")
    assert {len(label) for label in form.labels} == {1}


def test_scores_of_the_lesson_are_those_of_the_run(tokenizer):
    torch.manual_seed(0)
    chat = GPT(GPTConfig.llama(**TINY, init_std=0.5)).eval()
    form = in_context.PlainFormat(tokenizer)
    shown = definitions("reuse", "chat =", chat=chat, torch=torch, KeyValueCache=KeyValueCache, plain_ids=plain_ids,
                        chat_tokenizer=tokenizer, rest_text="\n\nTweet: {}\nSentiment:".format,
                        labels=form.labels, label_scores=label_scores)  # fmt: skip
    with torch.inference_mode():
        scores = shown["scores_behind"](shown["read_prefix"](form.prefix(TWEETS[:2])), "What a day")
    cache = read_prefix(chat, form.prefix(TWEETS[:2]), in_context.ROOM)
    expected = label_scores(label_log_probs(chat, cache, form.rest("What a day"), form.labels), form.labels)
    torch.testing.assert_close(scores, expected)


def test_a_run_goes_on_where_it_was_stopped(tokenizer, monkeypatch, tmp_path, capsys):
    split = Split(TWEETS, [], TWEETS[::5], CLASS_NAMES)
    monkeypatch.setattr(in_context.runtime, "scratch", lambda *_: tmp_path)
    monkeypatch.setattr(in_context, "load_tweets", lambda: [TWEETS])
    monkeypatch.setattr(in_context, "split_tweets", lambda *_: split)
    monkeypatch.setattr(in_context.GPT, "from_pretrained", lambda _: GPT(GPTConfig.llama(**TINY)).eval())
    monkeypatch.setattr(in_context, "SHOTS", (0,))
    in_context.main(["--num-tweets", "4", "--folder", str(tmp_path)])
    monkeypatch.setattr(in_context, "SHOTS", (0, 2))
    in_context.main(["--num-tweets", "4", "--folder", str(tmp_path)])
    measured = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    log = read_training_log(tmp_path, "in_context")
    assert len(measured) == len(log["rows"]) == 2 + 2 * in_context.NUM_DRAWS
    assert log["labels"] == in_context.digits(tweet.label for tweet in split.test[:4])
    assert all(len(row[name]) == 4 for row in log["rows"] for name in ("raw", "calibrated"))
    assert log["rows"][2]["prefix_tokens"] > log["rows"][0]["prefix_tokens"]


def test_the_solution_is_the_library_s_formula_for_gpt2():
    config = GPTConfig.gpt2(vocab_size=31, d_model=24, num_layers=3, num_heads=6, d_ff=44, context_length=16)
    assert solutions.training_flops(config, 7) == costs.training_flops(config, 7)


@pytest.mark.parametrize("number", [float, np.int64, np.float64])
def test_right_numbers_of_other_kinds_are_accepted(number):
    checks.check_flops(lambda config, T: number(solutions.training_flops(config, T)))
    checks.check_gigabytes(number(25))
    checks.check_fit(lambda *args: [np.float64(value) for value in laws.fit_power_law(*args)])
    checks.check_budget(lambda *args: [number(value) for value in laws.chinchilla_optimal(*args)])


def test_the_floor_of_the_lesson_is_the_library_s():
    sizes, rng = np.geomspace(2e4, 8e5, 5), np.random.default_rng(0)
    shown = definitions("floor", "made_up =", np=np, scaling=laws, fit_power_law=laws.fit_power_law)
    for floor in (0.0, 3.0):
        losses = laws.PowerLaw(30.0, 0.3, floor).loss(sizes) * np.exp(rng.normal(0, 0.005, 5))
        assert shown["fit_with_floor"](sizes, losses) == pytest.approx(laws.fit_with_floor(sizes, losses))


def test_the_cut_vocabulary_is_the_experiment_s():
    whole, settings = BytePairEncoding.load(course_gpt.FOLDER), scaling.Settings()
    cut = BytePairEncoding(whole.merges[: settings.vocab_size - 257], special_tokens=[END_OF_TEXT])
    assert cut.vocab_size == settings.vocab_size


def test_the_scaling_log_has_every_size_and_its_costs():
    log = read_training_log(course_gpt.FOLDER, scaling.LOG)
    settings = scaling.Settings(**log["settings"])
    found = [(row["d_model"], row["num_layers"], row["seed"]) for row in log["rows"]]
    wanted = [(*size, seed) for seed in settings.seeds for size in scaling.SIZES] + [(*scaling.PREDICTED, 0)]
    assert sorted(found) == sorted(wanted)
    for row in log["rows"]:
        config = settings.model(row["d_model"], row["num_layers"], settings.vocab_size).config
        assert row["num_parameters"] == costs.num_parameters(config)
        assert row["curve"][-1][0] == row["tokens"] and abs(row["curve"][-1][1] - row["loss"]) < 0.1


def test_the_in_context_log_agrees_with_itself():
    log = read_training_log(course_gpt.FOLDER, in_context.LOG)
    for row in log["rows"]:
        hits = [a == b for a, b in zip(row["raw"], log["labels"], strict=True)]
        assert row["accuracy"] == pytest.approx(sum(hits) / len(hits), abs=1e-4)
    assert {(row["format"], row["shots"]) for row in log["rows"]} == {
        (name, shots) for name in in_context.FORMATS for shots in in_context.SHOTS
    }


def test_examples_for_the_prompt_are_never_judged_on():
    split = Split(TWEETS[:15], TWEETS[15:20], TWEETS[20:], CLASS_NAMES[:2])
    assert all(tweet in split.train for tweet in draw_examples(split, 6, 1))
