"""The checks of lesson 09's two exercises about tuning: batches whose targets are answers, and the LoRA layer.

Letters: B examples, T positions, I inputs, O outputs, r = rank.
"""

import torch
from torch import nn

from course_utils.exercises.expect import expect, expect_close

IGNORED = -100
PROMPTS = [[9, 3, 7], [9, 4, 4, 8, 2]]
ANSWERS = [[5, 6, 1, 1], [7]]
END = 9  # as in the lesson, the end token also opens the prompt


def next_tokens(prompt: list[int], answer: list[int]) -> list[int]:
    """Oracle: the target at each position of one row, worked out position by position."""
    text = prompt + answer + [END]
    return [text[t + 1] if t + 1 >= len(prompt) else IGNORED for t in range(len(text) - 1)]


def check_answer_batch(answer_batch) -> None:
    """Inputs and targets of one example, then of two, which need padding, against a walk along each row."""
    for num_rows in (1, 2):  # copies, since an answer may write into what it is given
        check_rows(answer_batch, *([list(ids) for ids in rows[:num_rows]] for rows in (PROMPTS, ANSWERS)))


def check_rows(answer_batch, prompts: list[list[int]], answers: list[list[int]]) -> None:
    """One batch: keys and shapes, then what is read, then each way of counting too much or too little."""
    batch = answer_batch(prompts, answers, END)
    keys = sorted(batch) if isinstance(batch, dict) else batch
    expect(keys == ["input_ids", "targets"], f"Expected a dict with input_ids and targets, got {keys}.")
    T = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    tried = f"prompts {prompts}, answers {answers}, end token {END}"
    for name, tensor in batch.items():
        kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        expect(
            kind == torch.int64,
            f"{name} is of type {kind}; a tensor of whole numbers (torch.int64) is expected.",
            "Token ids are whole numbers, and the model reads tensors. Where is yours made?",
            tried=tried,
        )
        expect(
            tensor.shape == (len(prompts), T),
            f"{name} has shape {tuple(tensor.shape)}; ({len(prompts)}, {T}) is expected.",
            "The longest prompt with its answer is read, and each position read has an entry in targets. Must the end "
            "token be read, or is it only a target?",
            tried=tried,
        )
    for b, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        read, expected = batch["input_ids"][b].tolist(), next_tokens(prompt, answer)
        expect(
            read[: len(expected)] == prompt + answer,
            f"Row {b} reads {read}; it should begin with {prompt + answer}.",
            "Prompt, then answer, then padding on the right: is that the order?",
            tried=tried,
        )
        expect(
            min(read) >= 0,
            f"Row {b} reads {read}; {min(read)} is no token of the vocabulary.",
            "-100 means that a position has no target. What may the model read there?",
            tried=tried,
        )
        check_targets(batch["targets"][b].tolist(), expected, f"Row {b} reads {read}", len(prompt), tried)


def check_targets(targets: list[int], expected: list[int], row: str, num_prompt: int, tried: str) -> None:
    """One row's targets, the likely mistakes one by one."""
    said = f"{row}; its targets are {targets}."
    counted = [t for t, target in enumerate(targets) if target != IGNORED]
    late = [t for t in counted if t >= len(expected)]
    expect(
        not late, f"{said} Position {min(late, default=None)} is padding.", "Should padding have targets?", tried=tried
    )
    early = [t for t in counted if t < num_prompt - 1]
    expect(
        not early,
        f"{said} Position {min(early, default=None)} asks for a token of the prompt.",
        f"The prompt has {num_prompt} tokens. Which of its positions is followed by a token of the answer?",
        tried=tried,
    )
    expect(
        targets[len(expected) - 1] == END,
        f"{said} Behind the answer's last token {END} should come, the end token.",
        "How does the bot learn to stop, and does the target at a position tell what comes NEXT?",
        tried=tried,
    )
    expect(
        targets[: len(expected)] == expected,
        f"{said} They should begin with {expected}.",
        "The target at position t is the token at t + 1. What follows the prompt's last token?",
        tried=tried,
    )


def check_lora(LoraLinear) -> None:
    """The wrapped layer's own numbers at the start, float64 loops after it, gradients of A and B alone, and merged."""
    for rank, alpha in [(3, 12.0), (2, 1.0)]:
        torch.manual_seed(rank)
        linear, x = nn.Linear(5, 7), torch.randn(2, 4, 5)
        before, weight = linear(x).detach(), linear.weight.detach().clone()
        layer = LoraLinear(linear, rank, alpha)
        tried = f"nn.Linear(5, 7), rank {rank}, alpha {alpha:g}"
        check_start(layer, x, before, rank, tried)
        with torch.no_grad():
            layer.A.copy_(torch.randn(rank, 5))
            layer.B.copy_(torch.randn(7, rank))
        update = slow_product(layer.B, layer.A) * alpha / rank
        expected = torch.einsum("oi,bti->bto", weight.double() + update, x.double()) + linear.bias.double()
        question = (
            f"The update is B A, times alpha / r = {alpha / rank:g}. And is the layer's own output added, bias too?"
        )
        expect_close(layer(x).detach(), expected.detach(), tried=tried + ", A and B random", question=question)
        question = "Are W, the update B A and its factor all there, and was W left as it is?"
        expect_close(
            matrix(layer.merged(), "merged()", tried),
            weight.double() + update,
            tried=tried + ": merged()",
            question=question,
        )
        same = torch.equal(linear.weight, weight)
        expect(same, f"merged() changed the weight of the wrapped layer ({tried}).", "Give back a new matrix.")
        check_learning(layer, x, tried)


def check_start(layer: nn.Module, x: torch.Tensor, before: torch.Tensor, rank: int, tried: str) -> None:
    """Shapes of A and B, and that nothing has changed yet."""
    shapes = [tuple(matrix(getattr(layer, name, None), name, tried).shape) for name in "AB"]
    expect(
        shapes == [(rank, 5), (7, rank)],
        f"A and B have shapes {shapes[0]} and {shapes[1]}; ({rank}, 5) and (7, {rank}) are expected.",
        "x has 5 entries. A takes them to r numbers, B takes these to 7.",
        tried=tried,
    )
    gap = (layer(x) - before).abs().max().item()
    expect(
        gap == 0,
        f"Before any training the output differs from the wrapped layer's by up to {gap:.3g}.",
        "Is the wrapped layer's whole output there, bias too? And which of A and B has to begin at zero?",
        tried=tried,
    )
    sizes = [getattr(layer, name).abs().max().item() for name in "AB"]
    expect(
        sizes[0] > 0 and sizes[1] == 0,
        f"The largest entries at the start are {sizes[0]:.3g} in A and {sizes[1]:.3g} in B; B alone should be zero.",
        "Which of the two begins at zero here? (Not both: the gradient of B is made with A, and that of A with B.)",
        tried=tried,
    )


def matrix(value, name: str, tried: str) -> torch.Tensor:
    """The value without its gradient, if it is a tensor; a failure that names it otherwise."""
    expect(
        isinstance(value, torch.Tensor),
        f"{name} is {'missing' if value is None else 'of type ' + type(value).__name__}; a matrix is expected.",
        "A and B are matrices themselves (nn.Parameter), and merged() gives back a matrix, not a layer.",
        tried=tried,
    )
    return value.detach()


def check_learning(layer: nn.Module, x: torch.Tensor, tried: str) -> None:
    """A and B get gradients, and nothing else."""
    kinds = {name: type(getattr(layer, name)).__name__ for name in "AB"}
    expect(
        set(kinds.values()) == {"Parameter"},
        f"A is a {kinds['A']} and B is a {kinds['B']}; both should be parameters.",
        "How does an optimizer find what it has to train?",
        tried=tried,
    )
    loss = layer(x).square().sum()
    expect(
        loss.requires_grad,
        "Nothing can be learned: the output depends on no parameter that is trained.",
        "Was only the wrapped layer frozen, and does forward use A and B as they are, without detach?",
        tried=tried,
    )
    loss.backward()
    learning = sorted(tuple(p.shape) for p in layer.parameters() if p.requires_grad and p.grad is not None)
    expected = sorted(tuple(p.shape) for p in (layer.A, layer.B))
    expect(
        learning == expected,
        f"Parameters of shapes {learning} get gradients; only {expected}, A and B, should.",
        "Are A and B parameters, and is what was there before frozen?",
        tried=tried,
    )


def slow_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Oracle: left (O, r) times right (r, I), in float64, entry by entry."""
    left, right = left.tolist(), right.tolist()
    columns = list(zip(*right, strict=True))
    return torch.tensor(
        [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left],
        dtype=torch.float64,
    )
