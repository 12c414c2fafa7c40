"""What BERT is pretrained on: pairs of texts that follow each other or not, with some of their words hidden.

Devlin et al. 2019, section 3.1 and appendix A.1. A corpus is one long row of token ids in which conversations lie one
behind the other; a pair is cut out of it around a place where one turn ends and the next begins. Nothing here knows a
model.

Letters: B pairs in a batch, T positions, N tokens of the corpus, P places between two turns of one conversation.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import nn

IGNORED_LABEL = nn.CrossEntropyLoss().ignore_index  # -100: no word to predict here
IS_NEXT, IS_RANDOM = 0, 1  # as in BERT's files: class 0 says that the second text follows the first
NUM_SPECIAL_IN_PAIR = 3  # [CLS] A [SEP] B [SEP]


class Tokenizer(Protocol):
    """What is needed of a tokenizer: `course_utils.data.tokenizers.WordPiece` has it."""

    vocab_size: int
    pad_id: int
    cls_id: int
    sep_id: int
    mask_id: int

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...


def mask_tokens(
    input_ids: torch.Tensor,
    hideable: torch.Tensor,
    mask_id: int,
    vocab_size: int,
    mask_rate: float = 0.15,
    first_id: int = 0,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide words for a model to guess: ids (B, T) to what it reads (B, T) and labels (B, T); the input stays as it is.

    Each position where `hideable` (B, T) is chosen with probability `mask_rate`. A chosen position keeps its id as
    label, all others get -100. The model reads [MASK] at 80% of the chosen, a random id of at least `first_id` at
    10%, and the true one at 10%. Raises ValueError for a rate that is no share. Devlin et al. 2019, section 3.1.
    """
    if not 0 < mask_rate <= 1:
        raise ValueError(f"mask_rate is a share of the tokens, above 0 and at most 1; got {mask_rate}.")
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & hideable
    labels = input_ids.masked_fill(~chosen, IGNORED_LABEL)
    fate = torch.rand(input_ids.shape, generator=generator)  # one draw: the three fates exclude each other
    random_ids = torch.randint(first_id, vocab_size, input_ids.shape, generator=generator)
    hidden = input_ids.masked_fill(chosen & (fate < 0.8), mask_id)
    return torch.where(chosen & (fate >= 0.9), random_ids, hidden), labels


@dataclass(frozen=True)
class Corpus:
    """Conversations as token ids.

    ids (N,): all turns behind each other. places (P,): where in `ids` a turn begins that answers another. starts and
    ends (P,): where the conversation of each place begins and ends. conversation (P,): its number.
    """

    ids: torch.Tensor
    places: torch.Tensor
    starts: torch.Tensor
    ends: torch.Tensor
    conversation: torch.Tensor

    def __len__(self) -> int:
        return len(self.places)


def make_corpus(conversations: Iterable[Sequence[str]], tokenizer: Tokenizer) -> Corpus:
    """A corpus of conversations, each a sequence of turns.

    Raises ValueError if there are not two conversations in which somebody answers: a random second text must come
    from another one.
    """
    ids: list[int] = []
    rows: list[tuple[int, int, int, int]] = []
    for number, turns in enumerate(conversations):
        start, places = len(ids), []
        for turn in turns:
            places.append(len(ids))
            ids += tokenizer.encode(turn, add_special_tokens=False)
        rows += [(place, start, len(ids), number) for place in places[1:] if start < place < len(ids)]
    if len({row[-1] for row in rows}) < 2:
        raise ValueError(
            f"pretraining needs at least two conversations of two turns; got {len({row[-1] for row in rows})}. "
            "Pass more conversations."
        )
    places, starts, ends, numbers = torch.tensor(rows).T
    return Corpus(torch.tensor(ids), places, starts, ends, numbers)


class Pair(NamedTuple):
    """Two pieces of the corpus, `ids[a[0] : a[1]]` and `ids[b[0] : b[1]]`, and whether the second is the next."""

    a: tuple[int, int]
    b: tuple[int, int]
    label: int


def draw_pairs(corpus: Corpus, num_pairs: int, room: int, generator: torch.Generator) -> list[Pair]:
    """Pairs of at most `room` tokens together; in every other one the second text is from another conversation.

    The first text ends where a turn ends; the second begins where a turn begins. The cut between them falls anywhere
    in the middle half of the room, so that neither length nor position gives the answer away.
    """
    P = len(corpus)
    first = torch.randint(P, (num_pairs,), generator=generator)
    other = torch.randint(P, (num_pairs,), generator=generator)
    while bool((same := corpus.conversation[first] == corpus.conversation[other]).any()):
        other[same] = torch.randint(P, (int(same.sum()),), generator=generator)
    label = torch.arange(num_pairs) % 2
    second = torch.where(label == IS_NEXT, first, other)
    cut = torch.randint(room // 4, room - room // 4 + 1, (num_pairs,), generator=generator)
    a_end, b_start = corpus.places[first], corpus.places[second]
    a_start = torch.maximum(corpus.starts[first], a_end - cut)
    b_end = torch.minimum(corpus.ends[second], b_start + room - cut)
    bounds = torch.stack([a_start, a_end, b_start, b_end, label], dim=1).tolist()
    return [Pair((a0, a1), (b0, b1), label) for a0, a1, b0, b1, label in bounds]


def frame_pairs(corpus: Corpus, pairs: Sequence[Pair], tokenizer: Tokenizer) -> dict[str, torch.Tensor]:
    """[CLS] A [SEP] B [SEP], padded: ids, token types and mask (B, T), `next_sentence_label` (B,)."""
    cls, sep = torch.tensor([tokenizer.cls_id]), torch.tensor([tokenizer.sep_id])
    rows, types = [], []
    for (a0, a1), (b0, b1), _ in pairs:
        rows.append(torch.cat([cls, corpus.ids[a0:a1], sep, corpus.ids[b0:b1], sep]))
        types.append((torch.arange(len(rows[-1])) >= a1 - a0 + 2).long())  # 0 up to and with the first [SEP]
    lengths = torch.tensor([len(row) for row in rows])
    input_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_id)  # (B, T)
    return {
        "input_ids": input_ids,
        "token_type_ids": nn.utils.rnn.pad_sequence(types, batch_first=True),
        "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
        "next_sentence_label": torch.tensor([pair.label for pair in pairs]),
    }


def may_hide(input_ids: torch.Tensor, tokenizer: Tokenizer) -> torch.Tensor:
    """Where a word may be hidden: everywhere but at [PAD], [CLS] and [SEP]. Ids (B, T) to booleans (B, T)."""
    special = torch.tensor([tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id])
    return ~torch.isin(input_ids, special)


class PretrainingBatches:
    """Endless pretraining: `batch(step)` is that step's batch, drawn from the seed and the step alone.

    So a run that goes on at step 1,000 sees what it would have seen. Iterating gives steps 0 to `num_steps` - 1; masks
    and pairs are drawn anew each time a text comes up. Raises ValueError for a length without room for two texts.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        max_length: int = 64,
        num_steps: int = 1,
        mask_rate: float = 0.15,
        seed: int = 0,
    ):
        if max_length < NUM_SPECIAL_IN_PAIR + 4:
            raise ValueError(
                f"max_length must leave room for two texts and {NUM_SPECIAL_IN_PAIR} special tokens; got {max_length}."
            )
        self.corpus, self.tokenizer, self.batch_size, self.max_length = corpus, tokenizer, batch_size, max_length
        self.num_steps, self.mask_rate, self.seed = num_steps, mask_rate, seed

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        return (self.batch(step) for step in range(self.num_steps))

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """The batch of one step, as `BertForPreTraining` takes it: five tensors (B, T) and (B,)."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        pairs = draw_pairs(self.corpus, self.batch_size, self.max_length - NUM_SPECIAL_IN_PAIR, generator)
        batch = frame_pairs(self.corpus, pairs, self.tokenizer)
        batch["input_ids"], batch["labels"] = mask_tokens(
            batch["input_ids"],
            may_hide(batch["input_ids"], self.tokenizer),
            self.tokenizer.mask_id,
            self.tokenizer.vocab_size,
            self.mask_rate,
            generator=generator,
        )
        return batch


class TextBatches:
    """Single texts with hidden words, by step, for going on with MLM on other text: `batch(step)` as above.

    `rows` are token ids with their special tokens. Texts of similar length share a batch: each step's batch is a window
    of the rows in order of length, at a random place.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        tokenizer: Tokenizer,
        batch_size: int,
        num_steps: int,
        mask_rate: float = 0.15,
        seed: int = 0,
    ):
        if not 1 <= batch_size <= len(rows):
            raise ValueError(f"batch_size must be from 1 to the {len(rows)} texts there are; got {batch_size}.")
        self.rows = [torch.as_tensor(row) for row in sorted(rows, key=len)]
        self.tokenizer, self.batch_size, self.num_steps = tokenizer, batch_size, num_steps
        self.mask_rate, self.seed = mask_rate, seed

    def __len__(self) -> int:
        return self.num_steps

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and `labels` of one step, each (B, T); there is no pair to judge."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        # Windows would overlap least at fixed places; a shifted grid keeps every text as likely as any other.
        num_windows = len(self.rows) // self.batch_size
        shift = int(torch.randint(len(self.rows) - num_windows * self.batch_size + 1, (), generator=generator))
        start = shift + self.batch_size * int(torch.randint(num_windows, (), generator=generator))
        rows = self.rows[start : start + self.batch_size]
        input_ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_id)
        where = may_hide(input_ids, self.tokenizer)
        ids, labels = mask_tokens(
            input_ids, where, self.tokenizer.mask_id, self.tokenizer.vocab_size, self.mask_rate, generator=generator
        )
        return {"input_ids": ids, "attention_mask": (input_ids != self.tokenizer.pad_id).long(), "labels": labels}
