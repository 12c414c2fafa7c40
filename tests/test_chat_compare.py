"""Scores against plain forward passes, intervals, variety, retrieval, and the lesson's own definitions."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, DynamicCache, LlamaConfig, LlamaForCausalLM

from course_utils.assets import model_path
from course_utils.chat.compare import (
    bootstrap_interval,
    distinct_n,
    mean_log_prob,
    score_replies,
    unigram_f1,
)
from course_utils.chat.retrieval import RetrievalBot
from course_utils.chat.session import ChatSession
from course_utils.chat.template import encode_chat
from course_utils.generation import choose_token, next_token_probabilities
from course_utils.notebook.percent import read_source
from course_utils.runtime import Timer

PROMPTS = [[5, 9, 2], [7, 1, 1, 8, 3, 4], [6]]
REPLIES = [[[4, 4], [9, 1, 2, 3]], [[2], [3, 5, 8]], [[1, 2, 3, 4, 5], [8], [9, 9]]]


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("tokens_per_batch", [1, 24, 1000])
def test_packed_scores_equal_one_forward_pass_for_each_reply(tiny, tokens_per_batch):
    scores = score_replies(tiny, PROMPTS, REPLIES, tokens_per_batch)
    for prompt, group, found in zip(PROMPTS, REPLIES, scores, strict=True):
        for reply, score in zip(group, found, strict=True):
            ids = torch.tensor(prompt + reply)
            with torch.inference_mode():
                log_probs = tiny(ids[None]).logits[0].log_softmax(-1)
            expected = torch.stack([log_probs[len(prompt) + i - 1, token] for i, token in enumerate(reply)])
            torch.testing.assert_close(score, expected, atol=1e-5, rtol=0)


def test_the_exercise_and_the_packed_scores_agree(tiny):
    ids = torch.tensor(PROMPTS[1] + REPLIES[1][1])
    with torch.inference_mode():
        logits = tiny(ids[None]).logits[0]
    packed = score_replies(tiny, PROMPTS[1:2], REPLIES[1:2])[0][1]
    assert mean_log_prob(logits, ids, len(PROMPTS[1])) == pytest.approx(packed.mean().item(), abs=1e-5)


def test_intervals_cover_as_often_as_they_promise():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval(rng.random(60) < 0.4, num_resamples=300, seed=seed)
        covered += low <= 0.4 <= high
    assert 0.88 <= covered / 200 <= 0.99
    assert bootstrap_interval([1.0, 1.0]) == (1.0, 1.0)
    with pytest.raises(ValueError, match="got none"):
        bootstrap_interval([])


def test_variety_and_overlap():
    assert distinct_n(["a b a", "A b"], 1) == 2 / 5
    assert distinct_n(["a b a", "A b"], 2) == 2 / 3
    assert distinct_n(["a"], 2) == 0.0
    assert unigram_f1("a b b", "B c") == pytest.approx(2 / 5)
    assert unigram_f1("", "") == 0.0


def test_top_p_keeps_the_smallest_set_that_holds_p():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]).log()
    kept = next_token_probabilities(logits, top_p=0.7)
    torch.testing.assert_close(kept, torch.tensor([[0.625, 0.375, 0, 0], [0, 0, 0.375, 0.625]]))
    torch.testing.assert_close(next_token_probabilities(logits), logits.exp())
    assert (next_token_probabilities(logits, top_p=0.01) > 0).sum(-1).tolist() == [1, 1]
    squared = next_token_probabilities(logits, temperature=0.5)
    torch.testing.assert_close(squared[0], logits[0].exp() ** 2 / (logits[0].exp() ** 2).sum())
    for bad in ({"temperature": 0}, {"top_p": 0}, {"top_p": 1.5}):
        with pytest.raises(ValueError, match="above 0 and top_p"):
            next_token_probabilities(logits, **bad)


def test_choosing_is_greedy_at_zero_and_seeded_otherwise():
    logits = torch.tensor([[0.0, 2.0, 1.0]]).expand(500, 3)
    assert set(choose_token(logits).tolist()) == {1}
    first, again = (choose_token(logits, 1.0, 1.0, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first, again)
    assert abs((first == 1).float().mean().item() - logits[0].softmax(-1)[1].item()) < 0.07


class LetterEncoder:
    """Counts of a, b and c: similarity that can be worked out by hand."""

    def encode(self, texts):
        counts = torch.tensor([[text.count(letter) + 1e-6 for letter in "abc"] for text in texts])
        return counts / counts.norm(dim=-1, keepdim=True)


def test_the_retrieval_bot_answers_with_what_followed():
    bot = RetrievalBot(LetterEncoder(), ["aaaa", "bb", "c"], ["after a", "after b", "after c"])
    assert bot.reply("b") == "after b"
    matches = bot.matches("aab", k=9)
    assert [m.reply for m in matches] == ["after a", "after b", "after c"]
    assert matches[0].cosine == pytest.approx(2 / 5**0.5, abs=1e-4)
    with pytest.raises(ValueError, match="one reply"):
        RetrievalBot(LetterEncoder(), ["a"], [])


def lesson_definition(cell_id: str, name: str, **names):
    """A function as lesson 09 defines it for its readers; `names`: what earlier cells have bound by then."""
    root = Path(__file__).resolve().parents[1]
    cells = {cell.id: cell.source for cell in read_source(root / "notebooks" / "src" / "09_dialogue.py").cells}
    definition = next(n for n in ast.parse(cells[cell_id]).body if isinstance(n, ast.FunctionDef) and n.name == name)
    namespace = {"torch": torch, **names}
    exec(ast.unparse(definition), namespace)
    return namespace[name]


def test_the_lesson_and_the_library_encode_alike():
    shown, tokenizer = (
        lesson_definition("encode-chat", "encode_chat"),
        AutoTokenizer.from_pretrained(model_path("smollm2")),
    )
    messages = [{"role": "user", "content": "A<|im_end|>\n\nB"}, {"role": "assistant", "content": " c"}]
    for prompted in (True, False):
        assert shown(tokenizer, messages, prompted) == encode_chat(tokenizer, messages, prompted)


def test_the_lessons_loop_and_the_session_answer_alike():
    tokenizer = AutoTokenizer.from_pretrained(model_path("smollm2"))
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.3, **sizes)).eval()
    names = {"model": model, "tokenizer": tokenizer, "encode_chat": encode_chat, "max_new_tokens": 7, "Timer": Timer}
    end_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    shown = lesson_definition("loop", "reply_to", DynamicCache=DynamicCache, end_id=end_id, **names)
    session = ChatSession(model, tokenizer, "Be brief.", max_new_tokens=7)
    session.say("Hello there")
    for cached in (True, False):
        text, tokens_per_second = shown(session.messages[:2], cached)
        assert text.strip() == session.turns[0].reply and tokens_per_second > 0
