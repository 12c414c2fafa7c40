"""What the checks of lesson 09 compare with: slow, independent versions, and small conversations to try.

Nothing here uses the solutions or the course's chat library.
"""

import math

import torch

SYSTEM = {"role": "system", "content": "Be brief."}


def simulate_reading(num_turns: int, num_message: int, num_answer: int) -> int:
    """Oracle: play the conversation, counting every token that stands in a prompt."""
    conversation, num_read = [], 0
    for _ in range(num_turns):
        conversation += ["m"] * num_message
        num_read += len(conversation)
        conversation += ["a"] * num_answer
    return num_read


def count_words(messages: list[dict]) -> int:
    """A stand-in for a tokenizer: words, four tokens of template for each message, three that open the answer."""
    return 3 + sum(4 + len(message["content"].split()) for message in messages)


def longest_that_fits(messages: list[dict], budget_tokens: int) -> list[dict]:
    """Oracle: try every allowed beginning, earliest first."""
    system = [message for message in messages[:1] if message["role"] == "system"]
    history = messages[len(system) :]
    starts = [i for i, message in enumerate(history) if message["role"] == "user"]
    fitting = [i for i in starts if count_words(system + history[i:]) <= budget_tokens]
    return system + history[min(fitting, default=len(history) - 1) :]


def conversation(num_words: list[int], with_system: bool = True) -> list[dict]:
    """A system message of two words, then user and assistant in turn with messages of the given lengths."""
    messages = [SYSTEM] if with_system else []
    for number, length in enumerate(num_words):
        role = ("user", "assistant")[number % 2]
        messages.append({"role": role, "content": " ".join(f"{role[0]}{number}.{i}" for i in range(length))})
    return messages


def shown(messages: list[dict]) -> str:
    """`system(2) user(3) assistant(5)`: roles and words, short enough for a message."""
    return " ".join(f"{message['role']}({len(message['content'].split())})" for message in messages) or "nothing"


def loop_cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Oracle: the definition, in Python numbers."""
    a, b = a.tolist(), b.tolist()
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def loop_mean_log_prob(logits: list[list[float]], token_ids: list[int], num_prompt_tokens: int) -> float:
    """Oracle: one token at a time, softmax written out."""
    total = 0.0
    for position in range(num_prompt_tokens, len(token_ids)):
        row = logits[position - 1]
        total += row[token_ids[position]] - math.log(sum(math.exp(value) for value in row))
    return total / (len(token_ids) - num_prompt_tokens)
