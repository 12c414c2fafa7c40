"""Checks of lesson 06. Oracles are loops in float64, complex numbers, and the tensors of real models."""

import math

import torch

from course_utils.exercises.describe import describe
from course_utils.exercises.expect import expect, expect_close
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig


def check_loss(next_token_loss) -> None:
    """Equal to a loop over positions in float64, for 2 texts of 4 tokens: 6 predictions, each from its own position."""
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 4, 5, generator=g)  # (B, T, V)
    token_ids = torch.tensor([[3, 1, 4, 1], [0, 2, 2, 4]])
    p = logits.double().exp() / logits.double().exp().sum(-1, keepdim=True)
    losses = [-p[b, t, token_ids[b, t + 1]].log() for b in range(2) for t in range(3)]
    expected = torch.stack(losses).mean().float()
    question = (
        "Position t predicts token t + 1, over the vocabulary. Which position of each text has nothing to predict, "
        "and how many predictions does that leave?"
    )
    expect_close(next_token_loss(logits, token_ids), expected, tried="2 texts of 4 tokens, V = 5", question=question)


def check_init(init_weights) -> None:
    """Every width of a model of 8 layers, for two values of `init_std`; biases are 0, and norms start as they are."""
    for init_std in (0.05, 0.2):
        sizes = {"vocab_size": 210, "d_model": 96, "num_layers": 8, "num_heads": 3, "d_ff": 160, "context_length": 120}
        config = GPTConfig(**sizes, init_std=init_std)
        model = GPT(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" not in name:
                    parameter.normal_(0.3, 1.0)  # nothing is right by accident
        before = [parameter.detach().clone() for parameter in model.parameters()]
        init_weights(model, config)
        is_same = all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        expect(not is_same, "No parameter changed.", "Do you fill the parameters themselves, in place (`nn.init`)?")
        for name, parameter in model.named_parameters():
            check_parameter(name, parameter.detach(), config)


def check_parameter(name: str, parameter: torch.Tensor, config: GPTConfig) -> None:
    """One parameter: mean and standard deviation, or a fixed value."""
    tried = f"init_std = {config.init_std}, num_layers = {config.num_layers}"
    fixed = 1.0 if name.endswith("norm.weight") else 0.0 if name.endswith("bias") else None
    if fixed is not None:
        got = parameter.std().item() + abs(parameter.mean().item() - fixed)
        kind = "a norm starts with weights 1 and biases 0" if "norm" in name else "a bias starts at 0"
        message = f"Expected {name} to be {fixed:.0f} everywhere, got a mean of {parameter.mean():.1f}."
        expect(got < 1e-6, message, f"Here {kind}. Which parameters does your function touch?", tried=tried)
        return
    writes_residual = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
    expected = config.init_std / math.sqrt(2 * config.num_layers) if writes_residual else config.init_std
    got = parameter.std().item()
    times = f"{got / expected:.2g} times the expected {expected:.4g}"
    message = f"Expected {name} with a standard deviation of {expected:.4g}, got {times}."
    question = (
        "This one does not write to the residual path: is its width `config.init_std`, and was it touched at all?"
    )
    if writes_residual:
        question = "This one writes to the residual path. How often does a whole model add to that path?"
    expect(abs(got / expected - 1) < 0.06, message, question, tried=tried)
    mean = parameter.mean().item()
    message = f"Expected {name} with mean 0, got a mean of {mean:.2g}."
    expect(abs(mean) < 0.2 * expected, message, "Are your numbers drawn around 0?", tried=tried)


MISSING = (
    "Two tables; in each layer four matrices of attention, two of feed-forward and two norms; one norm at the end. "
    "The output layer is the token table. What do you count differently?"
)


def check_count(num_parameters) -> None:
    """Equal to counting the tensors of real models of four shapes, GPT-2's smallest among them."""
    sizes = {"vocab_size": 11, "d_model": 6, "num_heads": 2, "d_ff": 10, "context_length": 9}
    for config in [
        GPTConfig(**sizes, num_layers=2),
        GPTConfig(**sizes, num_layers=3),
        GPTConfig(**sizes | {"num_heads": 3, "context_length": 13}, num_layers=3),
        GPTConfig(),
    ]:
        with torch.device("meta"):  # shapes without numbers
            expected = sum(parameter.numel() for parameter in GPT(config).parameters())
        got = num_parameters(config)
        expect(type(got) in (int, float), f"Expected a number, got {describe(got)}.", "Did you forget `return`?")
        amount = f"{abs(got - expected):,} too {'few' if got < expected else 'many'}"
        expect(got == expected, f"Expected {expected:,}, got {got:,}: {amount}.", MISSING, tried=repr(config))


def check_rms(rms_norm) -> None:
    """Equal to a loop over positions in float64: a weight that differs by entry, a mean far from 0, a large `eps`."""
    g = torch.Generator().manual_seed(0)
    x, weight, eps = torch.randn(2, 3, 4, generator=g) + 1.5, torch.tensor([1.0, 2.0, -0.5, 1.5]), 0.5
    expected = torch.stack(
        [
            torch.stack(
                [row.double() / math.sqrt(sum(v**2 for v in row.tolist()) / 4 + eps) * weight.double() for row in text]
            )
            for text in x
        ]
    )
    question = "The root of (the mean of the squares + eps), for each position alone: what does yours divide by?"
    expect_close(rms_norm(x, weight, eps), expected, tried="x (2, 3, 4) with a mean near 1.5", question=question)


def check_rotation(rotate_halves) -> None:
    """Equal to multiplying complex numbers in float64, at five positions out of order, for two values of theta."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 8, generator=g)  # (B, H, T, K)
    positions = torch.tensor([0, 1, 7, 4, 150])
    for theta in (10_000.0, 500.0):
        speeds = torch.tensor([theta ** (-2 * i / 8) for i in range(4)], dtype=torch.float64)
        turn = torch.polar(torch.ones(5, 4, dtype=torch.float64), positions[:, None] * speeds)
        turned = torch.complex(x[..., :4].double(), x[..., 4:].double()) * turn
        expected = torch.cat([turned.real, turned.imag], -1)
        question = (
            "Entry i belongs to entry i + K/2. The pair (a, b) becomes (a cos - b sin, a sin + b cos), and pair 0 "
            "turns by the position itself. At which entry does yours begin to differ?"
        )
        tried = f"x (2, 3, 5, 8), positions {positions.tolist()}, theta = {theta:,.0f}"
        expect_close(rotate_halves(x, positions, theta), expected, tried=tried, question=question)


def slow_attention(q, k, v) -> torch.Tensor:
    """`grouped_attention`, one query at a time, in float64."""
    B, H, T, K = q.shape
    out = torch.zeros(B, H, T, K, dtype=torch.float64)
    for b in range(B):
        for h in range(H):
            shared = h // (H // k.shape[1])
            for t in range(T):
                scores = [sum(q[b, h, t].double() * k[b, shared, s].double()) / K**0.5 for s in range(t + 1)]
                weights = torch.stack(scores).exp()
                out[b, h, t] = (weights / weights.sum()) @ v[b, shared, : t + 1].double()
    return out


def check_grouped(grouped_attention) -> None:
    """Equal to one query at a time in float64: one token alone, then causality, then 6 heads over 3 and over 2."""
    g = torch.Generator().manual_seed(0)
    for num_kv_heads, T, question in [
        (6, 1, "With one token there is one weight, 1: the result is that token's value. What does yours return?"),
        (6, 4, "Query t sees keys 0 to t, and its weights add up to 1 over the keys. Row or column?"),
        (3, 4, "With 3 heads for 6, query heads 0 and 1 share head 0, 2 and 3 share head 1. Which share in yours?"),
        (2, 4, "With 2 heads for 6, query heads 0, 1 and 2 share head 0. Which share in yours?"),
    ]:
        q = 2 * torch.randn(2, 6, T, 8, generator=g)
        k, v = (torch.randn(2, num_kv_heads, T, 8, generator=g) for _ in range(2))
        tried = f"6 query heads over {num_kv_heads} of keys and values, T = {T}"
        expect_close(grouped_attention(q, k, v), slow_attention(q, k, v), tried=tried, question=question)
