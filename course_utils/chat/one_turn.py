"""One message, one answer, with a GPT of the course: many at once, written or scored. It keeps no conversation.

Prompts and answers arrive as token ids, so any template will do (`data.instruction` has the course's); `end_id` is the
token that says that an answer is over.

Letters: B prompts, T positions, R tokens of an answer and its end, V entries of the vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from course_utils.data.batches import length_batches
from course_utils.data.instruction import IGNORED_LABEL, answer_batch
from course_utils.generation import generate, left_pad
from course_utils.models.gpt import GPT

Ids = list[int]


class Answer(NamedTuple):
    """An answer's tokens without the end token; `finished` is False if the length limit cut it off."""

    ids: list[int]
    finished: bool


def write_answers(model: GPT, prompts: Sequence[Ids], end_id: int, max_new_tokens: int, **sampling) -> list[Answer]:
    """Answers to all prompts, in one batch; greedy unless `generate`'s sampling options are given."""
    ids, mask = left_pad(prompts)
    device = model.head_weight.device
    written = generate(model, ids.to(device), max_new_tokens, attention_mask=mask.to(device), eos_id=end_id, **sampling)
    rows = written[:, ids.shape[1] :].tolist()
    return [Answer(row[: row.index(end_id)], True) if end_id in row else Answer(row, False) for row in rows]


@torch.inference_mode()
def score_answers(
    model: GPT, prompts: Sequence[Ids], answers: Sequence[Ids], end_id: int, batch_size: int = 32
) -> list[torch.Tensor]:
    """Log-probabilities (R,) of every answer's tokens, the end token included, each behind its prompt."""
    scores: list = [None] * len(prompts)
    device = model.head_weight.device
    for rows in length_batches([len(p) + len(a) for p, a in zip(prompts, answers, strict=True)], batch_size):
        batch = answer_batch([prompts[row] for row in rows], [answers[row] for row in rows], end_id)
        counts = batch["targets"] != IGNORED_LABEL  # (B, T)
        hidden = model.hidden_states(batch["input_ids"].to(device))[counts.to(device)]  # (all R, D)
        targets = batch["targets"][counts].to(device)
        found = model.logits(hidden).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1).cpu()
        for row, score in zip(rows, found.split(counts.sum(1).tolist()), strict=True):
            scores[row] = score
    return scores
