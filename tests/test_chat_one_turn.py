"""Answers of a small GPT: scored as one pass each would, written as if each were alone, ended by the end token."""

import pytest
import torch

from course_utils.chat.one_turn import score_answers, write_answers
from course_utils.generation import generate
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig

END = 0
PROMPTS = [[0, 5, 6], [0, 4, 4, 4, 2], [0, 1], [0, 7]]
ANSWERS = [[7, 8, 9, 9], [3], [], [2, 3]]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT(GPTConfig.gpt2(vocab_size=11, d_model=12, num_layers=2, num_heads=2, context_length=20, init_std=0.5))
    return model.eval()


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_scores_equal_one_pass_for_each_answer_its_end_included(model, batch_size):
    scores = score_answers(model, PROMPTS, ANSWERS, END, batch_size)
    for prompt, answer, score in zip(PROMPTS, ANSWERS, scores, strict=True):
        row = [*prompt, *answer, END]
        log_probs = model(torch.tensor([row])).log_softmax(-1)[0]
        expected = torch.stack([log_probs[t, row[t + 1]] for t in range(len(prompt) - 1, len(row) - 1)])
        torch.testing.assert_close(score, expected.detach(), atol=1e-5, rtol=0)


def test_answers_in_a_batch_are_those_of_each_alone(model):
    together = write_answers(model, PROMPTS, END, 7)
    for prompt, answer in zip(PROMPTS, together, strict=True):
        alone = generate(model, [prompt], 7, eos_id=END)[0, len(prompt) :].tolist()
        assert END not in answer.ids
        assert [*answer.ids, END] == alone if answer.finished else answer.ids == alone


def test_an_answer_that_was_cut_off_says_so(model):
    other_end = [answer.ids for answer in write_answers(model, PROMPTS[:1], END, 4)][0][-1]
    cut, ended = (write_answers(model, PROMPTS[:1], end, 4)[0] for end in (END, other_end))
    assert ended.finished and other_end not in ended.ids
    assert cut.finished is False and len(cut.ids) == 4
