"""The checks of lesson 09's exercises: small inputs on which each plausible mistake gives another result.

Solutions and wrong answers are elsewhere; what is compared with comes from `lesson_09_oracles`.
"""

import math

import torch

from course_utils.exercises.expect import expect, expect_close, expect_equal
from course_utils.exercises.lesson_09_oracles import (
    SYSTEM,
    conversation,
    count_words,
    longest_that_fits,
    loop_cosine,
    loop_mean_log_prob,
    shown,
    simulate_reading,
)

HELLO = {"role": "user", "content": "Hello!"}
ANSWER = {"role": "assistant", "content": " Hi.\nHow are you?\n"}


def check_render_chat(render_chat) -> None:
    """Every character: one message and several, with and without the opening of the next answer."""
    expect_equal(
        render_chat([HELLO], False),
        "<|im_start|>user\nHello!<|im_end|>\n",
        question="A message is: start token, role, new line, content, end token, new line. Which piece differs?",
    )
    expect_equal(
        render_chat([SYSTEM, HELLO, ANSWER], False),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n"
        "<|im_start|>assistant\n Hi.\nHow are you?\n<|im_end|>\n",
        question="Are all messages there, each with its own role, each closed before the next one opens, and is the "
        "content left as it is?",
    )
    expect_equal(
        render_chat([SYSTEM, HELLO], True),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n",
        question="Whose turn is it when the text ends? The model should find an assistant message opened (role and "
        "new line), and not closed.",
    )
    expect_equal(render_chat([HELLO]), render_chat([HELLO], True), question="Is the generation prompt on by default?")


def check_num_tokens_read(num_tokens_read: int) -> None:
    """20 + 70 + 120 + ... + 970 tokens: the sum of twenty prompts, each 50 tokens longer than the last."""
    expected, got = simulate_reading(20, 20, 30), int(num_tokens_read)
    expect(
        got == expected,
        f"The model does not read {got:,} tokens in all ({'too few' if got < expected else 'too many'}).",
        "How long is the first prompt, how long the second, how long the twentieth? Add all twenty.",
    )


def check_fit_to_budget(fit_to_budget) -> None:
    """Short and long conversations, with and without a system message, on and just under the limit."""
    short = conversation([3, 5, 2])
    expect_equal(
        shown(fit_to_budget(short, 100, count_words)),
        shown(short),
        question="Everything fits here. Does the conversation come back whole, in its order, system message included?",
    )
    expect_kept(fit_to_budget, conversation([6, 2, 7, 3, 1, 8, 5], with_system=False), 50)
    expect_kept(fit_to_budget, conversation([3, 5, 2, 9, 4]), 48)
    expect_kept(fit_to_budget, conversation([3, 5, 2, 9, 4]), 36)
    expect_kept(fit_to_budget, conversation([3, 5, 2, 9, 4]), 35)
    expect_kept(fit_to_budget, conversation([3, 5, 40]), 30)


def expect_kept(fit_to_budget, messages: list[dict], budget_tokens: int) -> None:
    """One case: first what must never happen, then the exact answer."""
    kept = fit_to_budget(messages, budget_tokens, count_words)
    got, num_system = shown(kept), int(messages[0]["role"] == "system")
    expect(
        not num_system or kept[:1] == messages[:1],
        f"The system message is gone; kept: {got}.",
        "It is the oldest message, but is it the least important one?",
    )
    expect(
        all(message in messages for message in kept),
        f"A kept message is not one of the conversation's messages; kept: {got}.",
        "Was a message cut in the middle? Messages go as a whole.",
    )
    alone = count_words(messages[:num_system] + messages[-1:])
    expect(
        kept[-1:] == messages[-1:],
        f"The message to be answered is gone; kept: {got}.",
        "From which end should messages be dropped?"
        if alone <= budget_tokens
        else f"Here the last message alone is over the budget ({alone} of {budget_tokens} tokens). What stays even so?",
    )
    history = kept[num_system:]
    expect(
        history == messages[len(messages) - len(history) :],
        f"What is left has a hole, or another order: {got} of {shown(messages)}.",
        "Was an exchange skipped and an older one kept? Was a message taken for the system message that is none?",
    )
    expect(
        history[0]["role"] == "user",
        f"What is left begins with an answer to a question that is gone; kept: {got}.",
        "When a question goes, what should happen to its answer?",
    )
    expected, cost = shown(longest_that_fits(messages, budget_tokens)), count_words(kept)
    expect(
        got == expected,
        f"With a budget of {budget_tokens} tokens keep {expected}; kept: {got}, which costs {cost}.",
        "That is over the budget. Is the whole prompt counted, system message included, and counted anew after each "
        "exchange that goes?"
        if cost > budget_tokens
        else "More would have fit. Is a prompt of exactly the budget allowed, is the prompt counted in one go, and "
        "does dropping stop as soon as it fits?",
    )


def check_retrieve_reply(retrieve_reply) -> None:
    """The reply to the most similar message and its cosine, whatever the lengths of the vectors."""
    query = torch.tensor([1.0, 0.2, 0.5])
    vectors = torch.tensor([[0.6, 0.9, 0.3], [6.0, 1.5, 3.0], [-1.0, 0.0, -0.3], [3.0, 40.0, 0.0]])
    messages, replies = [f"message {i}" for i in range(4)], [f"reply to message {i}" for i in range(4)]
    cosines = [loop_cosine(query, vector) for vector in vectors]
    got = retrieve_reply(query, vectors, messages, replies)
    expect(
        isinstance(got, tuple | list) and len(got) == 2,
        f"Expected a pair (reply, cosine), got {got!r}.",
        "What does the docstring say is returned?",
    )
    expect(
        isinstance(got[0], str),
        f"Expected a text and a number, the reply and its cosine, got {got!r}.",
        "Is the reply itself returned, not its place in the list, and does it come first?",
    )
    expect(
        got[0] not in messages,
        f"Got {got[0]!r}: the bot repeats a message like the user's own.",
        "Which list holds what was said next?",
    )
    expect(
        got[0] == replies[1],
        f"Got {got[0]!r}; the message most similar to the query is number 1, with cosine {cosines[1]:.2f}.",
        "Vector 1 points the same way as the query, vector 0 lies nearest to it, vector 3 is the longest. Which of "
        "them does a cosine choose?",
    )
    expect_close(
        float(got[1]), cosines[1], question="Cosine: a dot product of vectors of length 1. Which length is not 1?"
    )


def check_mean_log_prob(mean_log_prob) -> None:
    """A reply of one token, then of four, against logarithms taken one by one in Python."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(7, 5, generator=generator) * 2  # (T, V)
    token_ids = torch.tensor([4, 0, 3, 1, 1, 2, 0])
    for num_prompt_tokens, what in [(6, "a reply of one token"), (3, "a reply of four tokens")]:
        got = torch.as_tensor(mean_log_prob(logits, token_ids, num_prompt_tokens))
        expect(
            got.numel() == 1,
            f"For {what} you return {got.numel()} numbers, shape {tuple(got.shape)}; one is asked for.",
            "Is the mean taken over all tokens of the reply?",
        )
        expect(
            not math.isnan(got),
            f"For {what} you return nan, the mean of no numbers at all.",
            "Which of your slices is empty when the reply has a single token?",
        )
        expected = loop_mean_log_prob(logits.double().tolist(), token_ids.tolist(), num_prompt_tokens)
        expect(
            got <= 0,
            f"For {what} you return {got.item():.4f}; the logarithm of a probability is never above 0.",
            "Were the logits turned into probabilities, was the logarithm taken, and is the sign right? (A loss is the "
            "negative.)",
        )
        expect_close(
            got.item(),
            expected,
            tried=what,
            question="Which row of the logits speaks about the first token of the reply, which tokens count, and "
            "what is the mean taken of?",
        )


def check_distinct_n(distinct_n) -> None:
    """Single words and pairs, repetition inside a reply and between replies, replies shorter than n."""
    expect_share(
        distinct_n, ["to be or not to be"], 1, 4 / 6, "Six words, four different ones. Are the units words, all six?"
    )
    expect_share(
        distinct_n,
        ["i am fine", "I am fine", "i am fine"],
        1,
        3 / 9,
        "Three replies say the same: 9 words, 3 different ones (lower case). Are all replies pooled?",
    )
    expect_share(
        distinct_n,
        ["a b", "c a", "b a"],
        2,
        3 / 3,
        "The pairs are (a b), (c a), (b a). Does a pair reach from one reply into the next, and is a single word one?",
    )
    expect_share(
        distinct_n,
        ["yes", "no way", "no way out"],
        2,
        2 / 3,
        "A reply of one word has no pair: 0 + 1 + 2 pairs, two different ones. Pairs overlap: (no way), (way out).",
    )
    expect_share(distinct_n, [], 2, 0.0, "Without any n-gram the share is 0 by definition.")


def expect_share(distinct_n, texts: list[str], n: int, expected: float, question: str) -> None:
    """One case, with texts and result in the message, so that equal shares of different cases are told apart."""
    got = distinct_n(texts, n)
    expect(
        abs(got - expected) < 1e-6,
        f"For n = {n} and {texts} the share is {expected:.3g}, got {got:.3g}.",
        question,
    )
