"""Writing token by token: greedy decoding, sampling, streaming; the door to beam search.

Letters: B prompts, T positions, V entries of the vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from course_utils.config import require
from course_utils.generation.beams import beam_search
from course_utils.generation.prompts import check_length, check_prompt, check_vocabulary
from course_utils.generation.reader import Reader, evaluating
from course_utils.generation.sampling import (
    largest_token,
    repetition_logits,
    sample_token,
    temperature_logits,
    top_k_filter,
    top_p_filter,
)


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen; greedy unless a temperature, top_k or top_p is given."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        nothing = torch.zeros(1, 1)  # the filters state their own rules
        if self.temperature is not None:
            temperature_logits(nothing, self.temperature)
        if self.top_k is not None:
            require(
                isinstance(self.top_k, int) and self.top_k >= 1,
                "top_k is a whole number from 1, or None to keep all",
                self.top_k,
            )
        if self.top_p is not None:
            top_p_filter(nothing, self.top_p)
        require(self.repetition_penalty > 0, "repetition_penalty must be above 0", self.repetition_penalty)

    @property
    def is_greedy(self) -> bool:
        """Always the most probable token."""
        return self.temperature is None and self.top_k is None and self.top_p is None

    def penalised(self, logits: torch.Tensor, reader: Reader) -> torch.Tensor:
        """Logits, or log-probabilities, with the repetition penalty."""
        if self.repetition_penalty == 1.0:
            return logits
        return repetition_logits(logits, reader.text(), self.repetition_penalty, reader.text_mask())

    def choose(self, logits: torch.Tensor, reader: Reader) -> torch.Tensor:
        """One token for each row of logits (B, V): (B,)."""
        logits = self.penalised(logits, reader)
        if self.is_greedy:
            return largest_token(logits)
        if self.temperature is not None:
            logits = temperature_logits(logits, self.temperature)
        if self.top_k is not None:
            logits = top_k_filter(logits, self.top_k)
        if self.top_p is not None:
            logits = top_p_filter(logits, self.top_p)
        return sample_token(logits, self.generator)


def generate(
    model,
    input_ids: torch.Tensor | Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    attention_mask: torch.Tensor | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    num_beams: int = 1,
    num_samples: int = 1,
    length_penalty: float = 1.0,
    eos_id: int | None = None,
    pad_id: int | None = None,
    use_cache: bool = True,
    generator: torch.Generator | None = None,
    on_token: Callable[[torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Go on with prompts (B, T): (B * num_samples, T + new), at most `max_new_tokens` new ones. Greedy by default.

    With `temperature`, `top_k` or `top_p` tokens are drawn instead, `num_samples` texts for each prompt, side by side;
    `generator` makes the draws repeatable. With `num_beams` the most probable of several texts is searched, and
    `num_samples` of the best are given. A text ends at `eos_id`; behind it stands `pad_id` (by default `eos_id`), and
    all ends when every text has. Prompts of unequal lengths are padded on the left and need `attention_mask` (B, T).
    `on_token` is called with each step's tokens, (B * num_samples,). For `model` see `generation.reader`.
    Raises ValueError for settings, prompts and lengths that cannot work.
    """
    choice = Choice(temperature, top_k, top_p, repetition_penalty, generator)
    for name, count in (("num_beams", num_beams), ("num_samples", num_samples)):
        require(isinstance(count, int) and count >= 1, f"{name} is a whole number from 1", count)
    settings = _Settings(max_new_tokens, num_samples, eos_id, pad_id, use_cache)
    if num_beams > 1:
        rule = "beam search is deterministic and ends before it can show tokens: no temperature, top_k, top_p, on_token"
        require(choice.is_greedy and on_token is None, rule, choice)
        require(num_samples <= num_beams, "num_samples must be at most num_beams", (num_samples, num_beams))
        with evaluating(model):
            reader = _open(model, input_ids, attention_mask, settings)
            found = beam_search(reader, choice, num_beams, num_samples, length_penalty, eos_id, settings.filler)
        return found.clone()  # made in inference mode, which autograd refuses to work with
    require(num_samples == 1 or not choice.is_greedy, "greedy samples are all the same: set a temperature", num_samples)
    texts = _Texts(model, input_ids, attention_mask, choice, settings)
    with evaluating(model):
        while not texts.is_finished:
            tokens = texts.step()
            if on_token is not None:
                on_token(tokens.clone())
    return texts.reader.text().clone()


def stream(
    model,
    input_ids: torch.Tensor | Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    attention_mask: torch.Tensor | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    eos_id: int | None = None,
    pad_id: int | None = None,
    use_cache: bool = True,
    generator: torch.Generator | None = None,
) -> Iterator[torch.Tensor]:
    """`generate`, one step at a time: yields the new tokens (B,) as soon as they are chosen.

    Everything is checked when you call it. The model is in `eval` mode only while it reads.
    """
    choice = Choice(temperature, top_k, top_p, repetition_penalty, generator)
    texts = _Texts(model, input_ids, attention_mask, choice, _Settings(max_new_tokens, 1, eos_id, pad_id, use_cache))
    return _steps(texts)


def _steps(texts: "_Texts") -> Iterator[torch.Tensor]:
    while not texts.is_finished:
        with evaluating(texts.reader.model):
            tokens = texts.step()
        yield tokens.clone()


@dataclass(frozen=True)
class _Settings:
    """When a text ends, and how much is asked for."""

    max_new_tokens: int
    num_samples: int
    eos_id: int | None
    pad_id: int | None
    use_cache: bool

    @property
    def filler(self) -> int:
        """What stands behind a text that has ended."""
        return next((token for token in (self.pad_id, self.eos_id) if token is not None), 0)


def _open(model, input_ids, attention_mask, settings: _Settings) -> Reader:
    """A reader at checked prompts."""
    ids, is_token = check_prompt(input_ids, attention_mask)
    config = getattr(model, "config", None)
    check_length(ids.shape[1], settings.max_new_tokens, getattr(config, "context_length", None))
    if vocab_size := getattr(config, "vocab_size", None):
        check_vocabulary(vocab_size, eos_id=settings.eos_id, pad_id=settings.pad_id)
    with torch.inference_mode():
        return Reader(model, ids, is_token, settings.max_new_tokens, settings.use_cache)


class _Texts:
    """Texts on their way, and which of them have ended."""

    def __init__(self, model, input_ids, attention_mask, choice: Choice, settings: _Settings):
        self.reader = _open(model, input_ids, attention_mask, settings)
        self.choice, self.settings = choice, settings
        self.has_ended: torch.Tensor | None = None  # (B,), once a text can end
        self.is_finished = False

    @torch.inference_mode()
    def step(self) -> torch.Tensor:
        """Choose and append one token for each text: (B,)."""
        reader, settings = self.reader, self.settings
        logits = reader.next_logits()
        if reader.length == reader.max_length - settings.max_new_tokens:  # the prompt was read, once for all samples
            check_vocabulary(logits.shape[-1], eos_id=settings.eos_id, pad_id=settings.pad_id)
            reader.repeat_rows(settings.num_samples)
            logits = logits.repeat_interleave(settings.num_samples, 0)
        tokens = self.choice.choose(logits, reader)
        if settings.eos_id is not None:
            tokens = self.with_ends(tokens)
        reader.append(tokens)
        self.is_finished |= reader.length == reader.max_length
        return tokens

    def with_ends(self, tokens: torch.Tensor) -> torch.Tensor:
        """The tokens, or padding for texts that have ended; notes which end now."""
        is_end = tokens == self.settings.eos_id
        if self.has_ended is not None:
            tokens = tokens.masked_fill(self.has_ended, self.settings.filler)
            is_end |= self.has_ended
        self.has_ended, self.is_finished = is_end, bool(is_end.all())
        return tokens
