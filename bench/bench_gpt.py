"""Our GPT against transformers' GPT-2 and Llama on the same weights: training step, generation, what the cache saves.

    python -m bench gpt

Both sides have the same batch, no dropout, and the same fused AdamW. Rounds are interleaved and their order turns, so
that a slow moment of the machine hits both; a ratio is the median over the rounds of ours to theirs. Equality is
checked first; peak memory is measured in one fresh process per side.
"""

import contextlib
import functools
import gc
import io
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 9
SIZES = {  # vocabulary 8,000: the course's own models
    "2M": {"d_model": 128, "num_layers": 4, "num_heads": 4, "context_length": 128},
    "6M": {"d_model": 256, "num_layers": 5, "num_heads": 8, "context_length": 256},
}
BATCH = {"2M": (16, 128), "6M": (8, 256)}  # sequences, tokens
PROMPT, NEW = 16, 96
GOALS = {"train": 1.3, "generate": 2.0, "generate 135M": 1.2, "cache": 5.0}


def make(size: str):
    """Our model and transformers', with the same random weights; for "135M" the embedded chat model."""
    import torch
    import transformers

    from course_utils.assets import model_path
    from course_utils.models.gpt import GPT
    from course_utils.models.gpt_config import GPTConfig

    with contextlib.redirect_stderr(io.StringIO()), tempfile.TemporaryDirectory() as folder:  # its progress bar
        if size == "135M":
            folder = model_path("smollm2")
            ours = GPT.from_pretrained(folder)
        else:
            torch.manual_seed(0)
            ours = GPT(GPTConfig.gpt2(vocab_size=8000, init_std=0.1, **SIZES[size])).eval()
            ours.save_pretrained(folder)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    theirs.generation_config = transformers.GenerationConfig(pad_token_id=0)  # no end: all generate the same length
    return ours, theirs


def measure(works: dict, amount: int, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """`amount` per second of each side in every round; the first round is not counted."""
    speeds: dict[str, list[float]] = {side: [] for side in works}
    for number in range(rounds + 1):
        for side in list(works) if number % 2 else list(reversed(works)):
            gc.collect()
            start = time.perf_counter()
            works[side]()
            speeds[side].append(amount / (time.perf_counter() - start))
    return {side: values[1:] for side, values in speeds.items()}


def ratio(what: str, speeds: dict[str, list[float]], note: str = "") -> float:
    """Print a row and give the median ratio of the first side to the second."""
    (first, ours), (second, theirs) = speeds.items()
    pairs = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    middle = statistics.median(pairs)
    print(
        f"  {what:<34} {first} {statistics.median(ours):8,.0f}/s   {second} {statistics.median(theirs):8,.0f}/s   "
        f"ratio {middle:5.2f} ({pairs[1]:.2f} to {pairs[-2]:.2f}){note}",
        flush=True,
    )
    return middle


def matmul_peak() -> float:
    """What two threads reach in a product of large square matrices, in FLOP/s."""
    import torch

    a = torch.randn(1536, 1536)
    return max(measure({"peak": lambda: a @ a}, 2 * 1536**3)["peak"])


def training_flops(model, B: int, T: int) -> float:
    """Matrix products of a training step: 6 per weight and token; attention 12 D T per layer and token, half masked."""
    config = model.config
    weights = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "position" not in name)
    return B * T * (6 * weights + config.num_layers * 12 * config.d_model * T / 2)


def trainer(side: str, model, size: str):
    """A function that does one training step and gives its loss."""
    import torch

    from course_utils.models.language_model import LanguageModelLoss

    B, T = BATCH[size]
    ids = torch.randint(0, 8000, (B, T + 1), generator=torch.Generator().manual_seed(0))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    batch = {"input_ids": inputs, "targets": targets}
    if side == "theirs":
        batch = {"input_ids": inputs, "labels": targets, "shift_labels": targets}
    full = LanguageModelLoss(model) if side == "ours" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> float:
        loss = full.train()(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def peak_memory(side: str, size: str) -> float:
    """Megabytes at the peak of two training steps, in a process of its own, without what it held before them."""
    code = f"from bench.bench_gpt import print_peak; print_peak({side!r}, {size!r})"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def print_peak(side: str, size: str) -> None:
    """The child of `peak_memory`."""
    import psutil
    import torch

    from course_utils.runtime import peak_memory_mb

    torch.set_num_threads(2)
    step = trainer(side, dict(zip(("ours", "theirs"), make(size), strict=True))[side], size)
    gc.collect()
    before = psutil.Process().memory_info().rss / 1e6
    step(), step()
    print(peak_memory_mb() - before)


def bench_training(peak: float) -> dict[str, float]:
    """Tokens per second of a training step, share of the peak, and memory."""
    found = {}
    for size in SIZES:
        models, (B, T) = dict(zip(("ours", "theirs"), make(size), strict=True)), BATCH[size]
        flops = training_flops(models["ours"], B, T) / (B * T)
        works = {side: trainer(side, model, size) for side, model in models.items()}
        losses = {side: [work(), work()] for side, work in works.items()}
        assert all(abs(a - b) < 1e-4 for a, b in zip(*losses.values(), strict=True)), losses
        speeds = measure(works, B * T)
        share = flops * statistics.median(speeds["ours"]) / peak
        found[f"train {size}"] = ratio(f"train {size}, {B} x {T} tokens", speeds, f"   {share:.0%} of peak")
        memory = {side: peak_memory(side, size) for side in models}
        print(f"  {'':<34} peak memory: ours {memory['ours']:,.0f} MB, theirs {memory['theirs']:,.0f} MB", flush=True)
        assert memory["ours"] <= memory["theirs"], memory
    return found


def bench_generation() -> dict[str, float]:
    """Greedy tokens per second, and time to the first token, against `generate`; the tokens are the same."""
    import torch

    from course_utils.generation import generate

    found = {}
    for size, new in {"2M": NEW, "6M": NEW, "135M": 24}.items():
        ours, theirs = make(size)
        for B in (1, 8):
            ids = torch.randint(0, 8000, (B, PROMPT), generator=torch.Generator().manual_seed(B))
            run_ours = functools.partial(generate, ours, ids, new)
            run_theirs = functools.partial(theirs.generate, ids, max_new_tokens=new, do_sample=False)
            assert torch.equal(run_ours(), run_theirs()), f"{size}: other tokens"
            speeds = measure({"ours": run_ours, "theirs": run_theirs}, B * new, 7 if size == "135M" else ROUNDS)
            found[f"generate {size}, batch {B}"] = ratio(f"generate {size}, batch {B}, {new} new", speeds)
        prompt = torch.randint(0, 8000, (1, 100), generator=torch.Generator().manual_seed(0))
        first = {
            "ours": functools.partial(generate, ours, prompt, 1),
            "theirs": functools.partial(theirs.generate, prompt, max_new_tokens=1, do_sample=False),
        }
        ratio(f"first token {size}, prompt of 100", measure(first, 1))
    return found


def bench_cache() -> dict[str, float]:
    """What the cache saves when a text grows to 256 tokens; the tokens are the same."""
    import torch

    from course_utils.generation import generate

    model, _ = make("6M")
    ids = torch.randint(0, 8000, (1, PROMPT), generator=torch.Generator().manual_seed(0))
    new = 256 - PROMPT
    runs = {name: functools.partial(generate, model, ids, new, use_cache=name == "cache") for name in ("cache", "none")}
    assert torch.equal(runs["cache"](), runs["none"]())
    return {"cache": ratio("6M to length 256", measure(runs, new))}


def main() -> None:
    """Print speeds and ratios; AssertionError where a goal is missed."""
    import torch
    import transformers

    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    peak = matmul_peak()
    print(f"matrix products reach {peak / 1e9:.0f} GFLOP/s; {ROUNDS} interleaved rounds, two threads")
    found = bench_training(peak) | bench_generation() | bench_cache()
    missed = {}
    for name, value in found.items():
        goal = max((key for key in GOALS if name.startswith(key)), key=len)
        if value < GOALS[goal]:
            missed[name] = f"{value:.2f}, goal {GOALS[goal]}"
    assert not missed, f"slower than promised: {missed}"


if __name__ == "__main__":
    main()
