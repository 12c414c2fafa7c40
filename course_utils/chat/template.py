"""From a list of messages to what a chat model reads: the ChatML template as text and as token ids, and its budget.

A message is {"role": "system" | "user" | "assistant", "content": text}. Other templates exist; a tokenizer's own is
`tokenizer.apply_chat_template`. This one is SmolLM2's and Qwen's, written out so that every character can be seen.
"""

from collections.abc import Callable, Sequence

Message = dict[str, str]
START, END = "<|im_start|>", "<|im_end|>"


def render_chat(messages: list[dict], add_generation_prompt: bool = True) -> str:
    """The conversation as one string; each message is `<|im_start|>ROLE`, new line, content, `<|im_end|>`, new line.

    With `add_generation_prompt` the string ends with the opening of an assistant message, for the model to go on.
    """
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + "<|im_start|>assistant\n" if add_generation_prompt else text


def encode_chat(tokenizer, messages: Sequence[Message], add_generation_prompt: bool = True) -> list[int]:
    """The token ids of `render_chat(messages)`, in which only the template can place special tokens.

    Whatever a message holds is plain text: `<|im_end|>` in a content becomes the tokens of its characters.
    """
    start, end = tokenizer.convert_tokens_to_ids([START, END])
    newline = plain_ids(tokenizer, "\n")
    token_ids: list[int] = []
    for message in messages:
        # Role and content together: a tokenizer may join the new line between them with what follows.
        token_ids += [start, *plain_ids(tokenizer, f"{message['role']}\n{message['content']}"), end, *newline]
    if add_generation_prompt:
        token_ids += [start, *plain_ids(tokenizer, "assistant\n")]
    return token_ids


def plain_ids(tokenizer, text: str) -> list[int]:
    """The token ids of a text without any special token, not even where the text spells one out."""
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def fit_to_budget(messages: list[dict], budget_tokens: int, count_tokens: Callable[[list[dict]], int]) -> list[dict]:
    """The longest recent part of a conversation that fits: the system message, if any, and then whole exchanges.

    `count_tokens(messages)` is the length of the whole prompt. The oldest exchange (a user message and its answer) goes
    first; what is left starts with a user message and ends with the last message, which is kept whatever it costs.
    """
    num_system = 1 if messages and messages[0]["role"] == "system" else 0
    system, history = messages[:num_system], messages[num_system:]
    while len(history) > 1 and count_tokens(system + history) > budget_tokens:
        history = history[1:]
        while len(history) > 1 and history[0]["role"] != "user":
            history = history[1:]
    return system + history
