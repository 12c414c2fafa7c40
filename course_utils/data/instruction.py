"""What a chat model is tuned on: prompts with their answers, and targets that count the answer alone.

A prompt is one message in a plain template; an end-of-text token opens it and closes the answer. The template's marks
are ordinary text, so a message is put on one line first: nobody can write a mark. Nothing here knows a model.
Ouyang et al. 2022, section 3.1 (supervised fine-tuning).

Letters: B examples in a batch, T positions of the longest of them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn

from course_utils.data.batches import length_batches
from course_utils.data.language_model import Encoder

IGNORED_LABEL = nn.CrossEntropyLoss().ignore_index  # -100: nothing to predict here


class Example(NamedTuple):
    """A prompt and its answer as token ids; the end-of-text token behind the answer is not among them."""

    prompt: list[int]
    answer: list[int]


def one_line(text: str) -> str:
    """Runs of white space as single spaces, none at the ends: no new line is left that could open a turn."""
    return " ".join(text.split())


def encode_prompt(tokenizer: Encoder, end_id: int, message: str | None) -> list[int]:
    """The template up to where the answer begins; without a message (None) only the opening of an answer."""
    asked = "" if message is None else f"user\n{one_line(message)}\n"
    return [end_id, *tokenizer.encode(f"{asked}bot\n")]


def make_example(tokenizer: Encoder, end_id: int, message: str, reply: str) -> Example:
    """One exchange as token ids. A new line is a token of its own, so both parts are what the whole text would give."""
    return Example(encode_prompt(tokenizer, end_id, message), tokenizer.encode(one_line(reply)))


def answer_batch(prompts: list[list[int]], answers: list[list[int]], end_id: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `targets`, (B, T) each, for prompts and answers as lists of token ids.

    A row reads its prompt and its answer. `targets[b, t]` is the token that follows `input_ids[b, t]` where that token
    belongs to the answer or is the `end_id` that closes it, and -100 everywhere else, also at the padding on the right.
    """
    rows = [[*prompt, *answer, end_id] for prompt, answer in zip(prompts, answers, strict=True)]
    T = max(map(len, rows)) - 1  # what is read last is not the end but the token before it
    input_ids = torch.full((len(rows), T), end_id)
    targets = torch.full((len(rows), T), -100)
    for b, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        input_ids[b, : len(row) - 1] = torch.tensor(row[:-1])
        targets[b, len(prompt) - 1 : len(row) - 1] = torch.tensor(row[len(prompt) :])
    return {"input_ids": input_ids, "targets": targets}


class AnswerBatches:
    """Batches of examples by step: `batch(step)` is drawn from the seed and the step alone, so that a run can go on.

    Within an epoch every example comes once, with others of similar length. Iterating gives steps 0 to `num_steps` - 1.
    Raises ValueError without examples, or for sizes below 1.
    """

    def __init__(self, examples: Sequence[Example], end_id: int, *, batch_size: int, num_steps: int, seed: int = 0):
        if not examples or min(batch_size, num_steps) < 1:
            raise ValueError(
                "tuning needs examples, and batch_size and num_steps from 1; "
                f"got {len(examples)} examples, {batch_size} and {num_steps}."
            )
        self.examples, self.end_id = list(examples), end_id
        self.batch_size, self.num_steps, self.seed = batch_size, num_steps, seed
        self.lengths = [len(example.prompt) + len(example.answer) for example in self.examples]
        self._epoch, self._order = -1, []

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        return (self.batch(step) for step in range(self.num_steps))

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """`input_ids` and `targets` (B, T) of a step; an epoch's smallest batch may hold fewer than `batch_size`."""
        epoch, place = divmod(step, -(-len(self.examples) // self.batch_size))
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch, self._order = epoch, length_batches(self.lengths, self.batch_size, generator)
        return self._collate(self._order[place])

    def in_order(self) -> Iterator[dict[str, torch.Tensor]]:
        """Every example once, shortest first: for measuring."""
        return map(self._collate, length_batches(self.lengths, self.batch_size))

    def _collate(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        chosen = [self.examples[row] for row in rows]
        return answer_batch([e.prompt for e in chosen], [e.answer for e in chosen], self.end_id)
