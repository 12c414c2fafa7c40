"""Checks of lesson 07. Oracles: documents that can be told apart by their ids, whole bits, known cosines, loops."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.exercises.describe import describe
from course_utils.exercises.expect import Failure, expect, expect_close, expect_equal
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig

END_ID = 7
LENGTHS = (5, 2, 8, 3, 6, 4, 7, 2, 5)  # tokens of the documents; token k of document d is 100 * (d + 1) + k


def check_split(split_rows) -> None:
    """Of nine documents, three are in validation: whole, in no other row, drawn at random, an end token after each."""
    documents = [[100 * (d + 1) + k for k in range(length)] for d, length in enumerate(LENGTHS)]
    drawn = set()
    for seed in range(12):
        rows = split_rows(documents, END_ID, 3, torch.Generator().manual_seed(seed))
        is_pair = isinstance(rows, tuple | list) and len(rows) == 2
        expect(is_pair, f"Expected two rows, got {describe(rows)}.", "Did you return both rows?")
        for row in rows:
            is_row = torch.is_tensor(row) and row.ndim == 1
            question = "`torch.tensor(...)` makes a row of a list of ids; one row holds all documents of its side."
            expect(is_row, f"Expected a tensor of shape (N,) for each row, got {describe(row)}.", question)
        train, validation = (row.tolist() for row in rows)
        check_apart(documents, train, validation)
        drawn.add(frozenset(i // 100 for i in validation) - {0})
        for name, row in (("training", train), ("validation", validation)):
            check_row(documents, row, name)
    only = sorted(next(iter(drawn)))
    message = f"Twelve generators with different seeds drew the same documents for validation: {only}."
    expect(len(drawn) > 1, message, "Is the order random, and does it come from `generator`?")
    again = [split_rows(documents, END_ID, 3, torch.Generator().manual_seed(5))[1].tolist() for _ in range(3)]
    message = "The same generator state gave another split the second time."
    question = "Is `generator` passed on to the function that draws? Without it, nobody can repeat your split."
    expect(again[0] == again[1] == again[2], message, question)


def check_apart(documents: list[list[int]], train: list[int], validation: list[int]) -> None:
    """No document on both sides, none lost, and three of them in validation."""
    tried = "9 documents, num_validation=3"
    both = [d for d, tokens in enumerate(documents) if set(tokens) & set(train) and set(tokens) & set(validation)]
    torn = [d for d in both if not set(documents[d]) <= set(validation)]
    message = f"{len(both)} of 9 documents have tokens in both rows; {len(torn)} of them are torn apart."
    question = "What the model has learned by heart must not be what you measure it with. When do you split: before "
    expect(not both, message, question + "or after the documents are joined?", tried=tried)
    lost = [d for d, tokens in enumerate(documents) if not set(tokens) <= set(train) | set(validation)]
    expect(not lost, f"Tokens of {len(lost)} documents are in neither row.", "Where do they go?", tried=tried)
    num_validation = sum(tokens[0] in validation for tokens in documents)
    message = f"Expected 3 documents in the second row (validation), got {num_validation}."
    question = "Which row comes first?" if num_validation == 6 else "Can a document be drawn twice?"
    expect(num_validation == 3, message, question, tried=tried)


def check_row(documents: list[list[int]], row: list[int], name: str) -> None:
    """Each document in its order, with an end token after it."""
    order = list(dict.fromkeys(i // 100 - 1 for i in row if i >= 100))
    expected = [i for d in order for i in [*documents[d], END_ID]]
    question = "Every document is followed by `end_id`, the last one too: the model must learn where a text ends."
    tried = f"the {name} row; token k of document d has the id 100 * (d + 1) + k, and end_id is 7"
    expect(row.count(END_ID) == len(order), f"{len(order)} documents, {row.count(END_ID)} end tokens.", question,
           tried=tried)  # fmt: skip
    question = "Do the tokens of a document keep their order, and does the end token come after the last of them?"
    expect_equal(row, expected, tried=tried, question=question)


def check_blocks(blocks_at) -> None:
    """Three blocks of four tokens from a row of 13, the last ending with the row: each target follows its input."""
    ids = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 8, 7, 0])
    starts, T = [8, 0, 3], 4
    got = blocks_at(ids, starts, T)
    is_pair = isinstance(got, tuple | list) and len(got) == 2
    expect(is_pair, f"Expected inputs and targets, got {describe(got)}.", "Return two tensors.")
    row = ids.tolist()
    for name, tensor, shift, question in [
        ("inputs", got[0], 0, "How many tokens do T inputs and T targets need together? The inputs begin at `start`."),
        ("targets", got[1], 1, "Target t is the token that follows input t in the row, in the last column too."),
    ]:
        expected = torch.tensor([[row[start + t + shift] for t in range(T)] for start in starts])
        tried = f"{name}, for ids {row}, starts {starts}, context_length=4"
        if not torch.is_tensor(tensor):
            question = "Return tensors: `torch.stack` makes one of a list of rows."
        expect_equal(tensor, expected, tried=tried, question=question)


def check_measures(measures) -> None:
    """Texts whose tokens cost whole numbers of bits, so that all three measures are known without a logarithm."""
    for bits, num_bytes in [([1, 2, 3, 3], 6), ([4, 1, 1, 2, 7], 31)]:
        log_probs = -math.log(2) * torch.tensor(bits, dtype=torch.float64)
        got = measures(log_probs, num_bytes)
        is_triple = isinstance(got, tuple | list) and len(got) == 3
        expect(is_triple, f"Expected three numbers, got {describe(got)}.", "Return loss, perplexity, bits per byte.")
        tried = f"probabilities {', '.join(f'1/{2**b}' for b in bits)} for the tokens of a text of {num_bytes} bytes"
        mean_bits = sum(bits) / len(bits)
        for place, (name, expected, question) in enumerate([
            ("loss", mean_bits * math.log(2), "The loss is the mean of -log p, in nats per token."),
            ("perplexity", 2**mean_bits, "Perplexity is e to the loss: the mean is taken of the logarithms."),
            ("bits per byte", sum(bits) / num_bytes, "How many bits does the whole text cost? Per byte?"),
        ]):  # fmt: skip
            try:
                expect_close(got[place], expected, tried=f"{name}: {tried}", question=question)
            except Failure as failure:  # all up to here, so that 2.25 as loss is not taken for 2.25 as bits per byte
                if isinstance(failure.got, int | float):
                    failure.got = np.array([float(value) for value in got[: place + 1]])
                raise


def check_groups(decay_groups) -> None:
    """Each trained parameter of a GPT with tied tables once: two dimensions decay, one does not; nothing is frozen."""
    config = GPTConfig.gpt2(vocab_size=11, d_model=6, num_layers=2, num_heads=2, d_ff=10, context_length=9)
    model = GPT(config)
    model.layers[0].requires_grad_(False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    trained = {names[id(parameter)] for parameter in model.parameters() if parameter.requires_grad}
    for weight_decay in (0.3, 0.05):
        groups = decay_groups(model, weight_decay)
        is_pair = isinstance(groups, list | tuple) and len(groups) == 2 and all("params" in group for group in groups)
        expect(is_pair, f"Expected a list of two dicts, got {describe(groups)}.", "Return both groups.")
        first, second = (named(group["params"], names) for group in groups)
        check_members(first, second, trained)
        matrices = {name for name in trained if model.get_parameter(name).ndim == 2}
        question = "What decays comes first: matrices and tables."
        expect(set(first) != trained - matrices, "The two groups are the other way round.", question)
        few = "Which parameters of a GPT have one dimension? They scale and shift, and there are few of them."
        tables = "Tables of tokens and positions have two dimensions as well; here they decay like matrices."
        for group, wanted, what, question in [
            (first, matrices, "the one that decays", few),
            (second, trained - matrices, "the other", tables),
        ]:
            wrong = sorted(set(group) - wanted)
            message = f"{len(wrong)} parameters are in the wrong group ({what}), such as {', '.join(wrong[:1])}."
            expect(not wrong, message, question)
        decays = [group.get("weight_decay") for group in groups]
        message = f"Expected weight decays of {weight_decay} and 0.0, got {decays[0]} and {decays[1]}."
        question = "Where is the argument `weight_decay` used?"
        if None in decays:
            question = "A group that does not say its weight decay gets the optimizer's own, which is 0.01 for AdamW."
        expect(decays == [weight_decay, 0.0], message, question)


def named(params, names: dict[int, str]) -> list[str]:
    """The names of a group's parameters, in an order that an optimizer takes."""
    question = "An optimizer refuses sets, whose order is not certain. Take a list."
    expect(not isinstance(params, set), "Expected a list for `params`, got a set.", question)
    params = [params] if torch.is_tensor(params) else list(params)
    strange = [param for param in params if id(param) not in names]
    if strange:
        kind = type(strange[0]).__name__
        message = f"{len(strange)} members of `params` are no parameters of the model; the first is of type {kind}."
        raise Failure(message, "Hand on the parameters themselves: no names, no pairs, no copies.")
    return [names[id(param)] for param in params]


def check_members(first: list[str], second: list[str], trained: set[str]) -> None:
    """Every trained parameter exactly once, and no other."""
    members = first + second
    repeated = sorted({name for name in members if members.count(name) > 1})
    message = f"{len(repeated)} parameters are listed more than once, such as {', '.join(repeated[:1])}."
    expect(not repeated, message, "`model.parameters()` yields each tensor once. Do you go through parts of parts?")
    frozen = sorted(set(members) - trained)
    message = f"{len(frozen)} frozen parameters are in a group, such as {', '.join(frozen[:1])}."
    expect(not frozen, message, "Which parameters have `requires_grad`?")
    missing = sorted(trained - set(members))
    message = f"{len(missing)} parameters are in neither group, such as {', '.join(missing[:1])}."
    expect(not missing, message, "An optimizer trains what it was given, and nothing else.")


COSINES = {1 / 3: 0.5, 1 / 2: 0.0, 2 / 3: -0.5}  # of pi times the key


def check_cosine(warmup_cosine) -> None:
    """The warm-up, the peak, the floor, what comes after the end, and three points where the cosine is known."""
    for warmup_steps, max_steps, min_share in [(4, 16, 0.1), (1, 19, 0.25), (6, 30, 0.0)]:
        room = max_steps - warmup_steps
        cases = [
            (0, 1 / warmup_steps, "Step 0 already uses a part of the peak. Which?"),
            (warmup_steps - 1, 1.0, "The last step of the warm-up uses the whole peak."),
            (warmup_steps, 1.0, "At the end of the warm-up progress is 0 and the cosine is 1: no jump."),
            (max_steps, min_share, "At step `max_steps` the share is `min_share`: there the cosine is that of pi, -1."),
        ]
        shape = "Half a cosine from 1 to `min_share`: flat at both ends, halfway the mean of the two. How large is "
        shape += f"progress here? It is 0 at step {warmup_steps} and 1 at step {max_steps}."
        for progress, cosine in COSINES.items():
            step = warmup_steps + round(progress * room)
            cases.append((step, (1 + min_share) / 2 + (1 - min_share) / 2 * cosine, shape))
        cases.append((max_steps + 5, min_share, "After the end the share stays at `min_share`. What does a cosine do?"))
        for step, expected, question in cases:
            tried = f"step {step}, warmup_steps={warmup_steps}, max_steps={max_steps}, min_share={min_share}"
            got = warmup_cosine(step, warmup_steps, max_steps, min_share)
            expect_close(got, expected, tried=tried, question=question)


class Output(NamedTuple):
    """What a model returns."""

    loss: torch.Tensor
    num_targets: int


class Table(torch.nn.Module):
    """The smallest language model: a row of logits for each token, (V, V). Counts passes forward and backward."""

    def __init__(self):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))
        self.num_forward = self.num_backward = 0
        self.logits.register_post_accumulate_grad_hook(self.count_backward)

    def count_backward(self, _) -> None:
        self.num_backward += 1

    def forward(self, input_ids, targets):
        self.num_forward += 1
        loss = F.cross_entropy(self.logits[input_ids].flatten(0, 1), targets.flatten(), ignore_index=-100)
        return Output(loss, int((targets != -100).sum()))


def whole_batch(model: Table, batch: dict) -> tuple[torch.Tensor, float]:
    """Gradient and loss of the mean over all targets, target by target in float64: softmax minus one-hot."""
    grad, total, logits = torch.zeros(5, 5, dtype=torch.float64), 0.0, model.logits.detach().double()
    pairs = [(i, t) for rows in zip(batch["input_ids"].tolist(), batch["targets"].tolist(), strict=True)
             for i, t in zip(*rows, strict=True) if t >= 0]  # fmt: skip
    for token, target in pairs:
        p = logits[token].exp() / logits[token].exp().sum()
        grad[token] += p
        grad[token, target] -= 1
        total -= math.log(p[target])
    return grad / len(pairs), total / len(pairs)


def check_accumulation(accumulate_gradients) -> None:
    """Gradients and loss of the whole batch, in equal parts and unequal ones, each part run on its own."""
    g = torch.Generator().manual_seed(1)
    for num_sequences, num_parts, lengths, question in [
        (4, 2, (3, 3, 3, 3), "Two equal parts: each counts one half. Do the gradients of both parts add up?"),
        (4, 1, (3, 3, 3, 3), "One part is the whole batch."),
        (5, 2, (3, 1, 1, 1, 2), "The parts hold 5 and 3 targets. Each target counts the same, not each part."),
        (5, 3, (2, 3, 1, 3, 2), "Five sequences in three parts: 2, 2 and 1. Is any left out?"),
    ]:
        batch = {name: torch.randint(5, (num_sequences, 3), generator=g) for name in ("input_ids", "targets")}
        for row, length in zip(batch["targets"], lengths, strict=True):
            row[length:] = -100
        model = Table()
        expected_grad, expected_loss = whole_batch(model, batch)
        before = {"logits": model.logits.detach().clone(), **{name: tensor.clone() for name, tensor in batch.items()}}
        loss = accumulate_gradients(model, batch, num_parts)
        tried = f"{num_sequences} sequences with {lengths} targets, in {num_parts} parts"
        check_untouched(before, {"logits": model.logits, **batch}, tried)
        none_left = "Was `backward` called, and nothing set to zero after it?"
        expect(model.logits.grad is not None, "The parameters have no gradient.", none_left, tried=tried)
        expect_close(model.logits.grad, expected_grad, tried=f"gradients, {tried}", question=question)
        kept = "`item()` takes the number out. A tensor may hold on to all that its part computed, at every step."
        expect(not torch.is_tensor(loss), f"Expected a plain number as loss, got {describe(loss)}.", kept, tried=tried)
        question = "Return the mean loss of the whole batch, as a plain number."
        expect_close(loss, expected_loss, tried=f"the loss returned, {tried}", question=question)
        check_parts(model, num_parts, tried)
    check_too_many(accumulate_gradients, batch)


def check_untouched(before: dict, after: dict, tried: str) -> None:
    """Neither the parameters nor the batch may have changed."""
    message = "The parameters of the model changed."
    question = "The step is taken later, by the loop: here gradients are added up, and nothing else."
    expect(torch.equal(before["logits"], after["logits"]), message, question, tried=tried)
    for name in ("input_ids", "targets"):
        message = f"The batch's `{name}` changed in place."
        question = "Which line writes into it? The caller still needs it."
        expect(torch.equal(before[name], after[name]), message, question, tried=tried)


def check_parts(model: Table, num_parts: int, tried: str) -> None:
    """As many passes as parts, forward and backward: the right gradient alone would not save memory."""
    message = f"The gradients are right, but took another number of forward passes than parts: {model.num_forward}."
    question = "A part is to fit where the batch does not. (`chunk(n)` makes n parts, `split(n)` makes parts of n.)"
    expect(model.num_forward == num_parts, message, question, tried=tried)
    message = f"The gradients are right, but took another number of backward passes than parts: {model.num_backward}."
    question = "What each part computed is kept in memory until its `backward`. When can it be let go?"
    expect(model.num_backward == num_parts, message, question, tried=tried)


def check_too_many(accumulate_gradients, batch: dict) -> None:
    """Five sequences have no six parts."""
    question = "Say so, rather than do something else than was asked for: `raise ValueError(...)`."
    try:
        accumulate_gradients(Table(), batch, 6)
    except ValueError:
        return
    raise Failure("Expected a ValueError for 5 sequences in 6 parts; nothing was raised.", question)
