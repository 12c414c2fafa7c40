"""Tuning examples: the template, targets on answers alone, batches by step; and that they mean what a loop means."""

import pytest
import torch
import torch.nn.functional as F

from course_utils.data.instruction import AnswerBatches, Example, answer_batch, encode_prompt, make_example, one_line
from course_utils.data.tokenizers import BytePairEncoding
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.language_model import LanguageModelLoss

END = 0
EXAMPLES = [Example([0, 5, 6], [7, 8, 9, 9]), Example([0, 4, 4, 4, 2], [3]), Example([0, 1], [2, 3])]
TEXTS = ["user\nHello there\nbot\nHi, how are you?", "user\nDo you like tea?\nbot\n I do"]


@pytest.fixture(scope="module")
def tokenizer():
    return BytePairEncoding.train(TEXTS, 290, special_tokens=["<|endoftext|>"])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GPT(GPTConfig.gpt2(vocab_size=11, d_model=12, num_layers=2, num_heads=2, context_length=9))


def batch_of(examples):
    return answer_batch([e.prompt for e in examples], [e.answer for e in examples], END)


def test_targets_are_the_next_token_of_the_answer():
    batch = batch_of(EXAMPLES[:2])
    assert batch["input_ids"].tolist() == [[0, 5, 6, 7, 8, 9, 9], [0, 4, 4, 4, 2, 3, END]]
    assert batch["targets"].tolist() == [[-100, -100, 7, 8, 9, 9, END], [-100, -100, -100, -100, 3, END, -100]]


def test_the_loss_is_the_mean_over_answers_read_one_by_one(model):
    losses = []
    for prompt, answer in EXAMPLES:
        row = torch.tensor([*prompt, *answer, END])
        logits = model(row[None, :-1])[0]
        losses += [F.cross_entropy(logits[t], row[t + 1]) for t in range(len(prompt) - 1, len(row) - 1)]
    output = LanguageModelLoss(model)(**batch_of(EXAMPLES))
    assert output.num_targets == len(losses) == 10
    torch.testing.assert_close(output.loss, torch.stack(losses).mean())


def test_more_padding_changes_nothing(model):
    short, long = batch_of(EXAMPLES[2:]), batch_of(EXAMPLES)
    expected = model(short["input_ids"])[0]
    torch.testing.assert_close(model(long["input_ids"])[2, : len(expected)], expected)
    assert (long["targets"][2, len(expected) :] == -100).all()


def test_the_prompt_is_read_but_not_predicted(model):
    batch = batch_of(EXAMPLES)
    logits = model(batch["input_ids"])
    logits.retain_grad()
    F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten()).backward()
    counts = batch["targets"] != -100
    assert logits.grad[~counts].eq(0).all() and logits.grad[counts].abs().sum(-1).gt(0).all()
    assert model.token_embedding.weight.grad[4].abs().sum() > 0  # a word of the second prompt only


def test_parts_have_the_tokens_of_the_whole(tokenizer):
    prompt, answer = make_example(tokenizer, END, "Do you like tea?", "Hi, how are you?")
    assert tokenizer.decode(prompt + answer) == "<|endoftext|>user\nDo you like tea?\nbot\nHi, how are you?"
    assert [*prompt, *answer] == [END, *tokenizer.encode("user\nDo you like tea?\nbot\nHi, how are you?")]
    assert encode_prompt(tokenizer, END, None) == [END, *tokenizer.encode("bot\n")]


def test_nobody_can_forge_a_mark(tokenizer):
    prompt = encode_prompt(tokenizer, END, "Hello\nbot\n\tHi<|endoftext|>")
    assert prompt.count(END) == 1 and prompt[0] == END
    assert tokenizer.decode(prompt[1:]).split("\n") == ["user", "Hello bot Hi<|endoftext|>", "bot", ""]
    assert one_line("  a \n\u2028 b\u00a0c ") == "a b c"


def test_each_epoch_holds_every_example_once_and_a_step_is_enough_to_know_its_batch():
    examples = [Example([0] * (1 + i % 4), [i + 1]) for i in range(23)]
    batches = AnswerBatches(examples, END, batch_size=4, num_steps=12, seed=3)
    assert len(batches) == 12 and len(list(batches)) == 12
    for epoch in (0, 1):
        seen = [batches.batch(step)["targets"] for step in range(6 * epoch, 6 * epoch + 6)]
        answers = sorted(int(row[(row > 0).nonzero()[0, 0]]) for rows in seen for row in rows)
        assert answers == list(range(1, 24))
    again = AnswerBatches(examples, END, batch_size=4, num_steps=12, seed=3)
    for step in (11, 0, 7):
        assert all(torch.equal(again.batch(step)[name], tensor) for name, tensor in batches.batch(step).items())
    assert not torch.equal(batches.batch(0)["targets"], batches.batch(6)["targets"])
    assert sum(len(batch["targets"]) for batch in batches.in_order()) == 23


@pytest.mark.parametrize("sizes", [{"batch_size": 0, "num_steps": 1}, {"batch_size": 1, "num_steps": 0}])
def test_sizes_below_one_and_no_examples_are_refused(sizes):
    with pytest.raises(ValueError, match="from 1"):
        AnswerBatches(EXAMPLES, END, **sizes)
    with pytest.raises(ValueError, match="got 0 examples"):
        AnswerBatches([], END, batch_size=1, num_steps=1)
