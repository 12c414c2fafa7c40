"""A pretraining step of the course's small BERT against transformers' `BertForPreTraining`, and its share of the peak.

    python -m bench pretraining

Same weights, batches and optimizer; rounds are interleaved and their order turns. The two losses are compared first.
Ours sends only hidden words through the vocabulary layer, so its FLOPs are counted on its own step. The peak is that of
a large matrix product on the same threads.
"""

import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path

ROUNDS = 9
GOAL = 1.0
PEAK_SIZE = 2048


def make_pair():
    """Our model and transformers', with the same weights, in training mode; and the batches both get."""
    import torch
    import transformers

    from course_utils.models.bert import BertForPreTraining
    from course_utils.runs.bert_pretraining import Settings, prepare

    tokenizer, corpus, _ = prepare(Settings())
    batches = Settings().batches(corpus, tokenizer, ROUNDS + 1, seed=0)
    torch.manual_seed(0)
    ours = BertForPreTraining(Settings().model_config(tokenizer.vocab_size)).train()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        ours.save_pretrained(Path(folder))
        theirs = transformers.BertForPreTraining.from_pretrained(folder, dtype=torch.float32).train()
    return {"ours": ours, "transformers sdpa": theirs}, list(batches)


def train_step(model, batch: dict, optimizer) -> float:
    """Forward, backward and AdamW; returns the loss."""
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def matmul_peak() -> float:
    """FLOP/s of a large float32 matrix product: the best of several."""
    import torch

    a, b = torch.randn(2, PEAK_SIZE, PEAK_SIZE)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * PEAK_SIZE**3 / min(seconds)


def step_flops(model, batch: dict) -> float:
    """Floating-point operations of one forward and backward pass, as PyTorch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(**batch).loss.backward()
    model.zero_grad()
    return counter.get_total_flops()


def main() -> None:
    """Print tokens per second, ratio and share of the peak; AssertionError if ours is slower or computes otherwise."""
    import torch

    torch.set_num_threads(2)
    models, batches = make_pair()
    losses = {name: model(**batches[0]).loss.item() for name, model in models.items()}
    print("first loss:", {name: round(loss, 5) for name, loss in losses.items()})
    assert abs(losses["ours"] - losses["transformers sdpa"]) < 1e-4, losses
    flops, peak = step_flops(models["ours"], batches[0]), matmul_peak()
    optimizers = {name: torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) for name, model in models.items()}
    speeds: dict[str, list[float]] = {name: [] for name in models}
    for number, batch in enumerate(batches):
        num_tokens = int(batch["attention_mask"].sum())
        for name in list(models) if number % 2 else list(reversed(models)):
            start = time.perf_counter()
            train_step(models[name], batch, optimizers[name])
            speeds[name].append(num_tokens / (time.perf_counter() - start))
    ours, theirs = (values[1:] for values in speeds.values())
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    for name, values in speeds.items():
        print(f"  {name:<20} {statistics.median(values[1:]):8,.0f} tokens/s")
    print(f"  ours is {ratio:.2f} times as fast (median of {ROUNDS} interleaved pairs)")
    achieved = statistics.median(ours) * flops / int(batches[0]["attention_mask"].sum())
    print(f"  {achieved / 1e9:.0f} GFLOP/s of a matmul peak of {peak / 1e9:.0f}: {achieved / peak:.0%}")
    assert ratio >= GOAL, f"slower than transformers: {ratio:.2f}"


if __name__ == "__main__":
    main()
