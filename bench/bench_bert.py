"""Our BERT against transformers' `BertModel`, eager and sdpa, on the same weights: forward pass and training step.

    python -m bench bert

Rounds are interleaved and their order turns, so that a slow moment of the machine hits all sides. A side's ratio is the
median over the rounds of its tokens per second divided by those of the other side in the same round. Equality is
checked first; peak memory is measured in one fresh process per side.
"""

import contextlib
import gc
import io
import statistics
import subprocess
import sys
import time

SIDES = ("ours", "transformers sdpa", "transformers eager")
ROUNDS = 9
GOAL = 0.97  # 1.0, less what is noise between two runs of the same code
B, T = 16, 128


def make(side: str):
    """A model of 22.7 M parameters with real weights, and a training step for it."""
    import torch

    from course_utils.assets import model_path
    from course_utils.models.bert import BertModel

    if side == "ours":
        return BertModel.from_pretrained("minilm")
    import transformers

    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        folder, kernel = model_path("minilm"), side.split()[-1]
        return transformers.BertModel.from_pretrained(folder, dtype=torch.float32, attn_implementation=kernel).eval()


def inputs(is_padded: bool) -> dict:
    """Token ids (B, T) and their mask; with padding, lengths are spread evenly over the upper half."""
    import torch

    ids = torch.randint(1000, 30_000, (B, T), generator=torch.Generator().manual_seed(0))
    lengths = torch.linspace(T / 2, T, B).long() if is_padded else torch.full((B,), T)
    mask = (torch.arange(T) < lengths[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def forward(model, batch: dict) -> None:
    """Inference."""
    import torch

    with torch.inference_mode():
        model.eval()(**batch)


def train_step(model, batch: dict, optimizer) -> None:
    """Forward, backward and AdamW, with the model's own dropout of 0.1."""
    model.train()(**batch).last_hidden_state.square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def measure(works: dict) -> dict[str, list[float]]:
    """Tokens per second of each side in every round; the first round is not counted."""
    speeds: dict[str, list[float]] = {side: [] for side in works}
    for number in range(ROUNDS + 1):
        for side in list(works) if number % 2 else list(reversed(works)):
            gc.collect()
            start = time.perf_counter()
            works[side]()
            speeds[side].append(B * T / (time.perf_counter() - start))
    return {side: values[1:] for side, values in speeds.items()}


def report(what: str, speeds: dict[str, list[float]]) -> float:
    """Print a row per side; our ratio to the faster of the others."""
    print(f"{what}: {B} sequences of {T} tokens, {ROUNDS} interleaved rounds")
    ratios = {}
    for side, values in speeds.items():
        pairs = [ours / theirs for ours, theirs in zip(speeds["ours"], values, strict=True)]
        ratios[side] = statistics.median(pairs)
        print(f"  {side:<20} {statistics.median(values):8,.0f} tokens/s   ours is {ratios[side]:.2f} times as fast")
    return min(ratio for side, ratio in ratios.items() if side != "ours")


def check_equal(models: dict) -> None:
    """AssertionError unless every hidden state agrees within 1e-5."""
    import torch

    with torch.inference_mode():
        batch = inputs(is_padded=True)
        ours = models["ours"](**batch).hidden_states
        theirs = models["transformers sdpa"](**batch, output_hidden_states=True).hidden_states
    largest = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    print(f"largest difference over {len(ours)} hidden states: {largest:.1e}")
    assert largest < 1e-5, largest


def peak_memory(side: str) -> float:
    """Megabytes at the peak of one training step, in a process of its own, without what it held before the step."""
    code = f"from bench.bench_bert import print_peak; print_peak({side!r})"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def print_peak(side: str) -> None:
    """The child of `peak_memory`."""
    import psutil
    import torch

    from course_utils.runtime import peak_memory_mb

    torch.set_num_threads(2)
    model, batch = make(side), inputs(is_padded=True)
    before = psutil.Process().memory_info().rss / 1e6
    train_step(model, batch, torch.optim.SGD(model.parameters(), lr=0.0))
    print(peak_memory_mb() - before)


def main() -> None:
    """Print speeds, ratios and memory; AssertionError where ours is slower than the faster of transformers' two."""
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(0)
    models = {side: make(side) for side in SIDES}
    check_equal(models)
    worst = {}
    for is_padded in (False, True):
        batch, what = inputs(is_padded), "forward, padded" if is_padded else "forward"
        worst[what] = report(what, measure({side: lambda m=m, b=batch: forward(m, b) for side, m in models.items()}))
    optimizers = {side: torch.optim.AdamW(model.parameters(), lr=1e-6) for side, model in models.items()}
    works = {side: lambda m=m, s=side: train_step(m, batch, optimizers[s]) for side, m in models.items()}
    worst["training step"] = report("training step, padded", measure(works))
    for side in SIDES:
        print(f"  {side:<20} {peak_memory(side):6,.0f} MB more at the peak of a training step")
    slow = {what: ratio for what, ratio in worst.items() if ratio < GOAL}
    assert not slow, f"slower than transformers: {slow}"


if __name__ == "__main__":
    main()
