"""Exercises of lesson 09: template, cost of a conversation, token budget, retrieval, likelihood, variety."""

import torch

from course_utils.chat.compare import distinct_n, mean_log_prob
from course_utils.chat.retrieval import retrieve_reply
from course_utils.chat.template import fit_to_budget, render_chat
from course_utils.exercises.expect import expect, expect_close, expect_equal
from course_utils.exercises.framework import Exercise
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
from course_utils.exercises.lesson_09_wrong import (
    across_texts,
    always_prompts,
    by_dot_product,
    counts_the_prompt,
    cuts_words,
    drops_single_messages,
    drops_system,
    forgets_softmax,
    forgets_to_count_system,
    keeps_the_oldest,
    least_similar,
    mean_over_texts,
    no_end_of_turn,
    no_final_newline,
    no_generation_prompt,
    over_characters,
    reads_own_position,
    repeats_the_message,
    sums_instead,
)

HELLO = {"role": "user", "content": "Hello!"}
ANSWER = {"role": "assistant", "content": "Hi.\nHow are you?"}


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
        "<|im_start|>assistant\nHi.\nHow are you?<|im_end|>\n",
        question="Is every message closed before the next one opens, and its content left as it is?",
    )
    expect_equal(
        render_chat([SYSTEM, HELLO], True),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n",
        question="Whose turn is it when the text ends? The model should find an assistant message opened, not closed.",
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
    kept = shown(fit_to_budget(short, 100, count_words))
    expect_equal(kept, shown(short), question="Everything fits here. Why drop anything?")
    expect_kept(fit_to_budget, conversation([3, 5, 2, 9, 4]), 48)
    expect_kept(fit_to_budget, conversation([3, 5, 2, 9, 4]), 36)
    expect_kept(fit_to_budget, conversation([3, 5, 2, 9, 4]), 35)
    expect_kept(fit_to_budget, conversation([6, 2, 7, 3, 1, 8, 5], with_system=False), 34)
    expect_kept(fit_to_budget, conversation([3, 5, 40]), 30)


def expect_kept(fit_to_budget, messages: list[dict], budget_tokens: int) -> None:
    """One case: first what must never happen, then the exact answer."""
    kept = fit_to_budget(messages, budget_tokens, count_words)
    got = shown(kept)
    has_system = messages[0]["role"] == "system"
    expect(
        not has_system or (len(kept) > 0 and kept[0] == messages[0]),
        f"The system message is gone; kept: {got}.",
        "It is the oldest message, but is it the least important one?",
    )
    expect(
        all(message in messages for message in kept),
        f"A kept message is not one of the conversation's messages; kept: {got}.",
        "Was a message cut in the middle? Messages go as a whole.",
    )
    expect(
        len(kept) > 0 and kept[-1] == messages[-1],
        f"The message to be answered is gone; kept: {got}.",
        "From which end should messages be dropped?",
    )
    expect(
        kept[has_system]["role"] == "user",
        f"What is left begins with an answer to a question that is gone; kept: {got}.",
        "When a question goes, what should happen to its answer?",
    )
    expected = shown(longest_that_fits(messages, budget_tokens))
    expect(
        got == expected,
        f"With a budget of {budget_tokens} tokens keep {expected}; kept: {got}, which costs {count_words(kept)}.",
        "Is the whole prompt counted, system message included, and is a prompt of exactly the budget allowed?",
    )


def check_retrieve_reply(retrieve_reply) -> None:
    """The reply to the most similar message and its cosine, whatever the lengths of the vectors."""
    query = torch.tensor([1.0, 0.2, 0.0])
    vectors = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.5, 0.0], [-1.0, 0.0, 0.3], [30.0, 40.0, 0.0]])
    messages, replies = [f"message {i}" for i in range(4)], [f"reply to message {i}" for i in range(4)]
    cosines = [loop_cosine(query, vector) for vector in vectors]
    got = retrieve_reply(query, vectors, messages, replies)
    expect(
        isinstance(got, tuple | list) and len(got) == 2,
        f"Expected a pair (reply, cosine), got {got!r}.",
        "What does the docstring say is returned?",
    )
    expect(
        got[0] not in messages,
        f"Got {got[0]!r}: the bot repeats a message like the user's own.",
        "Which list holds what was said next?",
    )
    expect(
        got[0] == replies[1],
        f"Got {got[0]!r}; the message most similar to the query is number 1, with cosine {cosines[1]:.2f}.",
        "Vector 3 is long and vector 1 points the same way as the query. Which of the two should win?",
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
        got = mean_log_prob(logits, token_ids, num_prompt_tokens)
        expected = loop_mean_log_prob(logits.double().tolist(), token_ids.tolist(), num_prompt_tokens)
        expect(
            float(got) <= 0,
            f"For {what} you return {float(got):.4f}; the logarithm of a probability is never above 0.",
            "Have the logits become log-probabilities?",
        )
        expect_close(
            float(got),
            expected,
            tried=what,
            question="Which row of the logits speaks about the first token of the reply, which tokens count, "
            "and is it a sum or a mean?",
        )


def check_distinct_n(distinct_n) -> None:
    """Single words and pairs, repetition inside a reply and between replies, replies shorter than n."""
    repeated = ["i am fine", "I am fine", "i am fine"]
    expect_close(
        distinct_n(["so so good"], 1),
        2 / 3,
        question="Three words, two different ones. Are the units words?",
    )
    expect_close(
        distinct_n(repeated, 1),
        3 / 9,
        question="Three replies say the same: 9 words, 3 different ones (lower case). Are all replies pooled?",
    )
    expect_close(
        distinct_n(["a b", "c a", "b a"], 2),
        3 / 3,
        question="Pairs: (a b), (c a), (b a). Does a pair reach from one reply into the next?",
    )
    expect_close(
        distinct_n(["yes", "no way", "no way out"], 2),
        2 / 3,
        question="A reply of one word has no pair: 0 + 1 + 2 pairs, two different ones.",
    )
    expect_close(distinct_n([], 2), 0.0, question="Without any n-gram the share is 0 by definition.")


EXERCISES = [
    Exercise(
        "09.1",
        title="write the chat template",
        solution=render_chat,
        check=check_render_chat,
        minutes=10,
        difficulty=1,
        wrong=[no_end_of_turn, no_generation_prompt, no_final_newline, always_prompts],
        hints=[
            "Look at the printed template: which five pieces does every message consist of?",
            "One f-string for each message, joined; then, if asked for, `<|im_start|>assistant` and a new line.",
        ],
    ),
    Exercise(
        "09.2",
        title="what does a conversation cost without a cache?",
        name="num_tokens_read",
        solution=9_900,
        check=check_num_tokens_read,
        minutes=5,
        difficulty=2,
        wrong=[
            (400, "counts only the new messages: that is what a kept cache reads"),
            (1_000, "counts every token of the conversation once, answers included"),
            (10_500, "counts answers as read at the turn that writes them"),
            (19_400, "takes all twenty prompts to be as long as the last one"),
        ],
        hints=[
            "The prompt of turn t holds t messages and t - 1 answers.",
            "20 · (1 + 2 + ... + 20) + 30 · (0 + 1 + ... + 19)",
        ],
    ),
    Exercise(
        "09.3",
        title="fit a conversation into a token budget",
        solution=fit_to_budget,
        check=check_fit_to_budget,
        minutes=15,
        difficulty=3,
        wrong=[drops_system, keeps_the_oldest, drops_single_messages, forgets_to_count_system, cuts_words],
        hints=[
            "Set the system message aside first (there may be none), and put it back before you count.",
            "While the prompt is too long and more than one message is left: drop the oldest, and then go on dropping "
            "until the oldest one left is the user's.",
        ],
    ),
    Exercise(
        "09.4",
        title="retrieve a reply",
        solution=retrieve_reply,
        check=check_retrieve_reply,
        minutes=10,
        difficulty=2,
        wrong=[repeats_the_message, by_dot_product, least_similar],
        hints=[
            "Make both sides vectors of length 1; then one matrix product gives all cosines, shape (N,).",
            "`F.normalize(x, dim=-1)`, `@`, `argmax`. The answer is in `replies`, at the same position.",
        ],
    ),
    Exercise(
        "09.5",
        title="how likely does the model find a reply?",
        solution=mean_log_prob,
        check=check_mean_log_prob,
        minutes=15,
        difficulty=3,
        wrong=[sums_instead, reads_own_position, counts_the_prompt, forgets_softmax],
        hints=[
            "`logits[t]` is about token t + 1. Which slice of the logits is about the tokens after the prompt?",
            "`log_softmax(-1)`, then `gather` the column of each reply token, then the mean. "
            "Both slices have T - num_prompt_tokens rows.",
        ],
    ),
    Exercise(
        "09.6",
        title="measure how varied replies are",
        solution=distinct_n,
        check=check_distinct_n,
        minutes=10,
        difficulty=2,
        wrong=[over_characters, mean_over_texts, across_texts],
        hints=[
            "Collect the n-grams of all texts in one list, text by text; a set of it holds the different ones.",
            "A text of w words has w - n + 1 n-grams: `tuple(words[i : i + n])`.",
        ],
    ),
]
