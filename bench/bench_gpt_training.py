"""What a fixed time of training buys: our GPT and loop against `GPT2LMHeadModel` and `Trainer`; speeds.

    python -m bench gpt_training

Both start from the same weights, read the same blocks of the course's conversations in the same order, and have the
same AdamW, learning rates and clipping. Each gets `SECONDS`, of which only training counts: no evaluation, no saving.
The rate falls along a cosine over the time that is left, not over steps, so neither has to guess how many it manages.
"""

import contextlib
import io
import statistics
import tempfile
import time

from bench.bench_gpt import matmul_peak, measure, training_flops

SECONDS = 180.0
B, T = 16, 128
SIZE = {"vocab_size": 8000, "d_model": 128, "num_layers": 4, "num_heads": 4, "context_length": T}
MAX_LR, WARMUP_SHARE = 2e-3, 0.05
TICKS = 10_000  # the time in parts, where the schedule counts steps
SIZES = {  # name: d_model, num_layers, num_heads; the vocabulary stays
    "1M": (96, 2, 3),
    "2M": (128, 4, 4),
    "6M": (256, 5, 8),
    "19M": (448, 6, 7),
}
LENGTHS = (64, 128, 256, 512, 1024)
TOKENS = 2048  # of a batch, whatever the length


def share_at(progress: float) -> float:
    """The share of the peak learning rate when `progress` (0 to 1) of the time is over: the course's own schedule."""
    from course_utils.training.schedule import warmup_cosine

    return warmup_cosine(int(progress * TICKS), round(WARMUP_SHARE * TICKS), TICKS)


class Clock:
    """How much of the time is over; it starts at the first question."""

    def __init__(self) -> None:
        self.start: float | None = None

    def progress(self) -> float:
        """From 0 to 1, and beyond."""
        self.start = self.start or time.perf_counter()
        return (time.perf_counter() - self.start) / SECONDS


def make_models(folder: str):
    """Ours and theirs with the same fresh weights."""
    import torch
    import transformers

    from course_utils.models.gpt import GPT
    from course_utils.models.gpt_config import GPTConfig

    torch.manual_seed(0)
    ours = GPT(GPTConfig.gpt2(**SIZE))
    ours.save_pretrained(folder)
    with contextlib.redirect_stderr(io.StringIO()):
        theirs = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)
    return ours, theirs


def train_ours(model, batches) -> int:
    """Our loop until the time is over; the number of steps."""
    from course_utils.models.language_model import LanguageModelLoss
    from course_utils.training.language_model import accumulate_gradients
    from course_utils.training.optim import clip_grad_norm

    objective = LanguageModelLoss(model).train()
    optimizer, clock, step = adamw(model), Clock(), 0
    while (progress := clock.progress()) < 1:
        for group in optimizer.param_groups:
            group["lr"] = MAX_LR * share_at(progress)
        accumulate_gradients(objective, batches.batch(step))
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
    model.eval()
    return step


def train_theirs(model, batches, folder: str) -> int:
    """`Trainer` until the time is over; the number of steps."""
    import torch
    import transformers

    clock = Clock()

    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = clock.progress() >= 1

    class Blocks(torch.utils.data.Dataset):
        """Block by block what `batches` gives batch by batch."""

        def __init__(self):
            self.known = (-1, None)

        def __len__(self):
            return len(batches) * B

        def __getitem__(self, i):
            step, row = divmod(i, B)
            if self.known[0] != step:
                self.known = (step, batches.batch(step))
            batch = self.known[1]
            return {"input_ids": batch["input_ids"][row], "labels": batch["targets"][row]}

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    def collate(rows):
        batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return {**batch, "shift_labels": batch["labels"]}  # our targets are shifted already

    settings = transformers.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=B,
        num_train_epochs=1,
        max_grad_norm=1.0,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    optimizer = adamw(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: share_at(clock.progress()))
    trainer = InOrder(model, settings, collate, Blocks(), optimizers=(optimizer, schedule), callbacks=[Stop()])
    with contextlib.redirect_stdout(io.StringIO()):  # its last message
        trainer.train()
    model.eval()
    return trainer.state.global_step


def adamw(model):
    """The same groups and settings for both."""
    from course_utils.config import TrainConfig
    from course_utils.training.language_model import GPT_RUN
    from course_utils.training.optim import make_adamw

    return make_adamw(model, TrainConfig(max_lr=MAX_LR, **GPT_RUN), head_names=())


def bench_race() -> None:
    """Held-out loss after the same time; AssertionError if ours is not lower."""
    from course_utils.data.language_model import BlockBatches, evaluation_blocks
    from course_utils.models.gpt import GPT
    from course_utils.models.language_model import LanguageModelLoss
    from course_utils.runs.gpt_pretraining import Settings, prepare
    from course_utils.training.language_model import evaluate_language_model

    text = prepare(Settings())
    batches = BlockBatches(text.train, batch_size=B, context_length=T, num_steps=100_000)
    losses, steps = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = make_models(folder)
        steps["ours"] = train_ours(ours, batches)
        steps["theirs"] = train_theirs(theirs, batches, folder)
        theirs.save_pretrained(folder)
        for name, model in {"ours": ours, "theirs": GPT.from_pretrained(folder)}.items():
            blocks = evaluation_blocks(text.validation[:100_000], T)
            losses[name] = evaluate_language_model(LanguageModelLoss(model), blocks).loss
    for name, loss in losses.items():
        tokens = steps[name] * B * T
        print(
            f"  {SECONDS:.0f} s of training, {name:<6} {steps[name]:6,} steps, {tokens:9,} tokens, held-out {loss:.3f}"
        )
    assert losses["ours"] < losses["theirs"], losses


def bench_growth(peak: float) -> None:
    """Tokens per second and the share of the matmul peak, over sizes at one length and over lengths at one size."""
    cases = [(name, *size, 128) for name, size in SIZES.items()]
    cases += [("6M", *SIZES["6M"], length) for length in LENGTHS if length != 128]
    for name, d_model, num_layers, num_heads, length in cases:
        speed, share = speed_of(d_model, num_layers, num_heads, length, peak)
        print(
            f"  {name:>4}, {TOKENS // length:3} x {length:4} tokens  {speed:8,.0f} tokens/s  {share:4.0%} of peak",
            flush=True,
        )


def speed_of(d_model: int, num_layers: int, num_heads: int, length: int, peak: float) -> tuple[float, float]:
    """Tokens per second of a training step, and the arithmetic of it as a share of the peak."""
    import torch

    from course_utils.models.gpt import GPT
    from course_utils.models.gpt_config import GPTConfig
    from course_utils.models.language_model import LanguageModelLoss

    sizes = {"d_model": d_model, "num_layers": num_layers, "num_heads": num_heads, "context_length": length}
    model = GPT(GPTConfig.gpt2(vocab_size=8000, **sizes))
    objective, optimizer, num_sequences = LanguageModelLoss(model).train(), adamw(model), TOKENS // length
    ids = torch.randint(8000, (num_sequences, length), generator=torch.Generator().manual_seed(0))

    def step() -> None:
        objective(input_ids=ids, targets=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    speed = statistics.median(measure({"ours": step}, TOKENS, 7)["ours"])
    return speed, training_flops(model, num_sequences, length) / TOKENS * speed / peak


def main() -> None:
    """Print both tables."""
    import torch
    import transformers

    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    peak = matmul_peak()
    print(f"matrix products reach {peak / 1e9:.0f} GFLOP/s, two threads")
    bench_growth(peak)
    bench_race()


if __name__ == "__main__":
    main()
