"""Let a language model choose among labels: how likely is each to come next, after a prompt and perhaps some examples.

In-context learning (Brown et al. 2020, section 2): examples stand in the prompt, and no weight changes. Takes any model
with `hidden_states`, `logits` and `make_cache`, as `GPT` has; tokenizers and templates are the caller's.

Letters: V entries of the vocabulary, R tokens of a label, C labels, D width of a state.
"""

from collections.abc import Sequence

import torch

from course_utils.config import require

Ids = Sequence[int]


@torch.inference_mode()
def read_prefix(model, prefix: Ids, room: int):
    """A cache that holds what every prompt begins with, read once; `room` is for the longest rest of a prompt."""
    require(len(prefix) > 0, "a prefix has at least one token", prefix)
    cache = model.make_cache(1, len(prefix) + room)
    model.hidden_states(torch.tensor([list(prefix)]), cache=cache)
    return cache


@torch.inference_mode()
def label_log_probs(model, cache, rest: Ids, labels: Sequence[Ids]) -> list[torch.Tensor]:
    """What the model says at the place of each token of each label, behind prefix and rest: (R, V) for each of C.

    Row r of a label is about its token r, after reading those before it. The cache is left as it came, so that the next
    prompt can use it. Raises ValueError where it has too little room.
    """
    start = cache.length
    first = model.hidden_states(torch.tensor([list(rest)]), cache=cache)[0, -1:]  # (1, D)
    behind, log_probs = cache.length, []
    for label in labels:
        hidden = [first]
        if len(label) > 1:
            hidden.append(model.hidden_states(torch.tensor([list(label[:-1])]), cache=cache)[0])  # (R - 1, D)
            cache.crop(behind)
        log_probs.append(model.logits(torch.cat(hidden)).log_softmax(-1))
    cache.crop(start)
    return log_probs


def label_scores(log_probs: Sequence[torch.Tensor], labels: Sequence[Sequence[int]]) -> torch.Tensor:
    """One score per label, (C,): the mean log-probability of its tokens, so that no label loses by its length.

    `log_probs[c]` (R, V): what a model says at the place of each of the R tokens of `labels[c]`.
    """
    picked = [rows.gather(-1, torch.tensor(ids)[:, None]) for rows, ids in zip(log_probs, labels, strict=True)]
    return torch.stack([tokens.mean() for tokens in picked])


def calibrated(scores: torch.Tensor, content_free: torch.Tensor) -> torch.Tensor:
    """Scores (..., C) less what the labels get without anything to judge, (C,): as log-probabilities of the C labels.

    Zhao et al. 2021, section 5: divide each label's probability by the one it has for a text without content.
    """
    return (scores.log_softmax(-1) - content_free.log_softmax(-1)).log_softmax(-1)
