"""Exercises of lesson 04: second texts, masking, the joint loss, its value before training, and the first baseline."""

import math
import random
from collections import Counter

import torch
import torch.nn.functional as F

from course_utils.data.pretraining import mask_tokens
from course_utils.exercises import lesson_04_wrong as wrong
from course_utils.exercises.expect import expect, expect_close, expect_equal
from course_utils.exercises.framework import Exercise

VOCAB_SIZE = 8_000  # pieces of the course's own vocabulary


def second_text(conversations: list[list[str]], number: int, turn: int, is_next: bool, rng: random.Random) -> str:
    """The turn after turn `turn` of conversation `number`; or, if not `is_next`, a later turn of another conversation.

    "Later" means any but the first, since a true next turn is never a first one.
    """
    if is_next:
        return conversations[number][turn + 1]
    others = [i for i in range(len(conversations)) if i != number]
    return rng.choice(conversations[rng.choice(others)][1:])


def check_second_text(second_text) -> None:
    """The true next turn; in 600 random draws every later turn of the other conversations, and nothing else."""
    talks = [["a0", "a1", "a2"], ["b0", "b1"], ["c0", "c1", "c2", "c3"]]
    for number, turn in [(0, 0), (2, 1), (2, 2)]:
        got = second_text(talks, number, turn, True, random.Random(0))
        tried = f"turn {turn} of conversation {number}, is_next"
        expect_equal(got, talks[number][turn + 1], tried=tried, question="Which turn answers turn `turn`?")
    rng, tried = random.Random(1), "600 random second texts for turn 1 of conversation 2"
    texts = [second_text(talks, 2, 1, False, rng) for _ in range(600)]
    odd = next((text for text in texts if not isinstance(text, str)), None)
    expect(odd is None, f"Got {odd!r} as a second text.", "Return one turn, not a conversation.", tried=tried)
    drawn = Counter(texts)
    own = sum(drawn[turn] for turn in talks[2])
    question = "Its subject is the same, so it may be a good answer. From where may a random text come?"
    expect(own == 0, f"{own} of 600 texts are from the same conversation.", question, tried=tried)
    first = drawn["a0"] + drawn["b0"]
    question = "A true next turn is never a first one. What would the model learn from every 'hi'?"
    expect(first == 0, f"{first} of 600 texts are first turns.", question, tried=tried)
    never = [turn for turn in ("a1", "a2", "b1") if not drawn[turn]]
    question = "Every later turn of every other conversation may come up."
    expect(not never, f"In 600 draws, {', '.join(never)} never came up.", question, tried=tried)
    again = [[second_text(talks, 0, 0, False, rng) for _ in range(9)] for rng in (random.Random(3), random.Random(3))]
    expect(again[0] == again[1], f"Equal seeds gave {again[0]} and {again[1]}.", "Do all draws come from `rng`?")


def check_mask_tokens(mask_tokens) -> None:
    """32,768 tokens: 15% are chosen, 80/10/10 of these become [MASK], random, unchanged; labels at these alone."""
    mask_id, vocab_size, g = 4, 1_000, torch.Generator().manual_seed(0)
    input_ids = torch.randint(5, vocab_size, (64, 512), generator=g)
    hideable = torch.ones_like(input_ids, dtype=torch.bool)
    hideable[:, 0], hideable[:, 300] = False, False  # [CLS] and [SEP]
    seen, labels = mask_tokens(input_ids, hideable, mask_id, vocab_size, 0.15, generator=g)
    for name, tensor in (("what the model reads", seen), ("labels", labels)):
        shape = tuple(getattr(tensor, "shape", ()))
        expect(shape == (64, 512), f"{name} should have shape (64, 512), got {shape}.", "Return (ids, labels).")
    expect(not bool((seen == -100).any()), "The first result holds -100.", "Return (ids, labels), in this order.")
    unlabelled = labels[~hideable].unique().tolist()
    expect(
        len(unlabelled) != 1 or unlabelled == [-100],
        f"Where nothing is to be guessed the label is {unlabelled[0]}; it should be -100.",
        "Which number does `F.cross_entropy` leave out?",
    )
    chosen = labels != -100
    share = chosen.float().mean().item()
    expect(
        not bool((chosen & ~hideable).any()),
        f"{int((chosen & ~hideable).sum())} positions of [CLS] and [SEP] were chosen.",
        "Where may a word be hidden?",
    )
    expect(
        abs(share - 0.15) < 0.015,
        f"{share:.1%} of the positions have a label; it should be about 15%.",
        "Do the chosen words that stay, or become random, have a label too?"
        if share < 0.15
        else "A label at every position? There is nothing to learn from words that were not chosen.",
    )
    expect(
        torch.equal(labels[chosen], input_ids[chosen]),
        f"{int((labels[chosen] != input_ids[chosen]).sum())} labels are not the word that stood there.",
        "Did you make the labels from the ids as they came, or after hiding?",
    )
    expect(
        torch.equal(seen[~chosen], input_ids[~chosen]),
        f"{int((seen[~chosen] != input_ids[~chosen]).sum())} positions without a label were changed.",
        "Only chosen positions may be changed: are all three fates limited to them?",
    )
    check_fates(seen[chosen], input_ids[chosen], mask_id, vocab_size)
    twice = [
        mask_tokens(input_ids, hideable, mask_id, vocab_size, 0.5, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    ]
    share = (twice[0][1] != -100).float().mean().item()
    expect(abs(share - 0.5) < 0.03, f"With mask_rate=0.5, {share:.0%} have a label.", "Where is `mask_rate` used?")
    equal = all(torch.equal(a, b) for a, b in zip(*twice, strict=True))
    expect(equal, "Two calls with equal seeds differ.", "Do all draws use `generator`?")


def check_fates(seen: torch.Tensor, true: torch.Tensor, mask_id: int, vocab_size: int) -> None:
    """80% [MASK], 10% random, 10% unchanged, within what chance allows; random ones from the whole vocabulary."""
    masked, same = (seen == mask_id), (seen == true)
    shares = [part.float().mean().item() for part in (masked, ~masked & ~same, same)]
    expect(
        all(abs(got - wanted) < 0.03 for got, wanted in zip(shares, (0.8, 0.1, 0.1), strict=True)),
        "Of the chosen positions, {:.0%} became [MASK], {:.0%} a random word, and {:.0%} stayed.".format(*shares),
        "The three shares are of the *chosen* positions and exclude each other: does one draw decide between them?",
    )
    random_ids = seen[~masked & ~same]
    expect(
        random_ids.max().item() > 0.9 * vocab_size and len(random_ids.unique()) > 0.3 * len(random_ids),
        f"The random words are {len(random_ids.unique())} different ones, the largest id is {random_ids.max().item()}.",
        "A random word is drawn anew for each position, from the whole vocabulary.",
    )


def pretraining_loss(
    mlm_logits: torch.Tensor, labels: torch.Tensor, nsp_logits: torch.Tensor, next_sentence_label: torch.Tensor
) -> torch.Tensor:
    """Both losses added, in nats: logits (B, T, V) and labels (B, T), -100 where nothing is hidden; (B, 2) and (B,)."""
    mlm_loss = F.cross_entropy(mlm_logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    return mlm_loss + F.cross_entropy(nsp_logits, next_sentence_label)


def check_pretraining_loss(pretraining_loss) -> None:
    """Summed up word by word in float64: mean over hidden words plus mean over pairs; they hide 1, 3 and 0 words."""
    g = torch.Generator().manual_seed(0)
    mlm_logits, nsp_logits = torch.randn(3, 5, 7, generator=g), torch.randn(3, 2, generator=g)
    labels = torch.full((3, 5), -100)
    labels[0, 2], labels[1, 0], labels[1, 1], labels[1, 4] = 6, 0, 3, 3
    is_random = torch.tensor([0, 1, 1])

    def by_hand(logits: torch.Tensor, targets: torch.Tensor) -> float:
        """The mean cost of the targets that count, one by one."""
        rows = zip(logits.double().flatten(0, -2), targets.flatten().tolist(), strict=True)
        costs = [-float(row.log_softmax(-1)[target]) for row, target in rows if target >= 0]
        return sum(costs) / len(costs)

    even = torch.zeros(3, 2), torch.zeros(3, 5, 7)
    cases = [
        ("1, 3 and 0 hidden words; even scores for the pairs", mlm_logits, even[0],
         "How many words are hidden, over all sequences together? Each counts once; the pairs come on top."),
        ("even scores for the words; three pairs", even[1], nsp_logits,
         "Is it the mean over the pairs, added to the other loss? Which class is which?"),
        ("both", mlm_logits, nsp_logits, "Is it the sum of both losses?"),
    ]  # fmt: skip
    for tried, words, pairs, question in cases:
        expected = torch.tensor(by_hand(words, labels) + by_hand(pairs, is_random))
        expect_close(pretraining_loss(words, labels, pairs, is_random), expected, tried=tried, question=question)


def check_untrained_loss(untrained_loss) -> None:
    """Guessing evenly among 8,000 pieces and between two answers costs the sum of two logarithms."""
    expected = -math.log(1 / VOCAB_SIZE) - math.log(1 / 2)
    number = isinstance(untrained_loss, int | float)
    expect(number, f"Got {untrained_loss!r}.", "Give a plain Python number; a tensor becomes one with `.item()`.")
    expect(
        abs(untrained_loss - expected) < 0.05,
        f"It is not {untrained_loss!r} nats.",
        "What does guessing evenly among n possibilities cost, in nats? Two guesses are made.",
    )


def unigram_loss(train_ids: torch.Tensor, test_ids: torch.Tensor, vocab_size: int, alpha: float = 1.0) -> float:
    """Nats per token of `test_ids` (N,), each guessed by its share of `train_ids`, `alpha` added to every count."""
    counts = torch.bincount(train_ids, minlength=vocab_size).double() + alpha  # (V,)
    return -(counts / counts.sum()).log()[test_ids].mean().item()


def check_unigram_loss(unigram_loss) -> None:
    """Counted by hand over five words, one of them never seen in training."""
    train, test = torch.tensor([0, 1, 1, 2, 1, 0, 2, 1]), torch.tensor([1, 1, 3, 0])
    counts = {0: 2, 1: 4, 2: 2, 3: 0, 4: 0}
    for alpha in (1.0, 0.5):
        total = sum(count + alpha for count in counts.values())
        expected = sum(-math.log((counts[i] + alpha) / total) for i in test.tolist()) / 4
        question = (
            "Whose counts give the shares? Do the five shares add up to 1? Is it a mean of costs, which are positive?"
        )
        expect_close(
            unigram_loss(train, test, 5, alpha),
            expected,
            tried=f"8 words of training, 4 of testing, alpha={alpha}",
            question=question,
        )


EXERCISES = [
    Exercise(
        "04.1",
        title="what follows, and what does not",
        solution=second_text,
        check=check_second_text,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.same_turn,
            wrong.any_conversation,
            wrong.first_turns_too,
            wrong.second_turns_only,
            wrong.flag_upside_down,
        ],
        hints=[
            "`rng.choice(sequence)` draws one element.",
            "Two draws: first one of the other conversations, then one of its turns from the second on: `turns[1:]`.",
        ],
    ),
    Exercise(
        "04.2",
        title="hide words, 80/10/10",
        solution=mask_tokens,
        check=check_mask_tokens,
        minutes=20,
        difficulty=3,
        wrong=[
            wrong.no_random,
            wrong.labels_everywhere,
            wrong.hides_special_tokens,
            wrong.three_draws,
            wrong.labels_too_late,
            wrong.shares_of_all,
            wrong.labels_at_mask_alone,
            wrong.constant_rate,
        ],
        hints=[
            "`torch.rand(shape, generator=generator) < mask_rate` is True at a random 15% of the positions.",
            "Draw a second number for each position: below 0.8: [MASK]; from 0.9 on: a random word; else it stays.",
            "`ids.masked_fill(where, value)` and `torch.where(where, a, b)` return new tensors and leave `ids` alone.",
        ],
    ),
    Exercise(
        "04.3",
        title="the joint loss",
        solution=pretraining_loss,
        check=check_pretraining_loss,
        minutes=10,
        difficulty=2,
        wrong=[wrong.over_all_positions, wrong.mean_of_means, wrong.average_of_both, wrong.sums, wrong.forgets_nsp],
        hints=[
            "`F.cross_entropy` wants (N, V) and (N,): flatten the first two dimensions.",
            "It leaves out labels of -100 from the sum *and* from the count.",
        ],
    ),
    Exercise(
        "04.4",
        title="the loss before the first step",
        name="untrained_loss",
        solution=math.log(8_000) + math.log(2),
        check=check_untrained_loss,
        minutes=5,
        difficulty=1,
        wrong=[
            (math.log(VOCAB_SIZE), "forgets that the loss of the next sentence is added"),
            (math.log2(VOCAB_SIZE) + 1, "counts in bits; losses here are in nats"),
            ((math.log(VOCAB_SIZE) + math.log(2)) / 2, "takes the mean of both losses; BERT adds them"),
            (math.log(2 * VOCAB_SIZE) / math.log(10), "takes logarithms to base 10; losses here are in nats"),
        ],
        hints=[
            "Guessing evenly among n possibilities gives each the probability 1/n. The loss is minus its logarithm."
        ],
    ),
    Exercise(
        "04.5",
        title="the baseline that knows only frequencies",
        solution=unigram_loss,
        check=check_unigram_loss,
        minutes=10,
        difficulty=2,
        wrong=[
            wrong.peeks_at_test,
            wrong.forgets_the_minus,
            wrong.in_bits,
            wrong.without_smoothing,
            wrong.shares_above_one,
        ],
        hints=[
            "`torch.bincount(ids, minlength=vocab_size)` counts each id.",
            "Add `alpha` to every count first; then divide by the sum of what you have.",
        ],
    ),
]
