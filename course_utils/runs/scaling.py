"""Train small GPTs of growing size on the same text, and a larger one that lesson 10 predicts from them.

    python -m course_utils.runs.scaling

Every model reads the same tokens once, in the same order, with a vocabulary of 1,000 tokens, so that the blocks and not
the embedding hold most parameters. The log goes beside the course's GPT, whose vocabulary is cut short here. A run that
was stopped goes on after the last model that was finished.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from course_utils import runtime
from course_utils.checkpoints import course_gpt
from course_utils.checkpoints.export import write_json
from course_utils.config import TrainConfig
from course_utils.data.language_model import BlockBatches, evaluation_blocks
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.language_model import LanguageModelLoss
from course_utils.runs.gpt_pretraining import Settings as GptSettings
from course_utils.runs.gpt_pretraining import Text, prepare
from course_utils.training.language_model import GPT_RUN, evaluate_language_model, train_language_model
from course_utils.training.loop import History
from course_utils.training.optim import make_adamw

COMMAND = "python -m course_utils.runs.scaling"
LOG = "scaling"  # scaling.json beside the course's GPT
SIZES = ((32, 2), (48, 3), (64, 4), (96, 4), (128, 4))  # (d_model, num_layers), the ones a curve is fitted to
PREDICTED = (192, 5)
MEASURED_TOKENS = 100_000  # of the validation row, at the end of each model
WATCHED_TOKENS = 20_000  # while it trains
CURVE_POINTS = 12


@dataclass(frozen=True)
class Settings:
    """What all models share."""

    vocab_size: int = 1_000
    context_length: int = 128
    batch_size: int = 8
    num_steps: int = 2_400
    d_head: int = 16
    max_lr_at_128: float = 3e-3  # narrower models get more, by the square root of the width
    seeds: tuple[int, ...] = (0, 1)

    def model(self, d_model: int, num_layers: int, vocab_size: int) -> GPT:
        """A GPT-2 of one size."""
        config = GPTConfig.gpt2(
            vocab_size=vocab_size,
            d_model=d_model,
            num_layers=num_layers,
            num_heads=d_model // self.d_head,
            context_length=self.context_length,
        )
        return GPT(config)

    def train_config(self, d_model: int, seed: int) -> TrainConfig:
        """The optimiser's numbers for one width."""
        max_lr = self.max_lr_at_128 * (128 / d_model) ** 0.5
        return TrainConfig(max_lr=max_lr, batch_size=self.batch_size, warmup_fraction=0.1, seed=seed, **GPT_RUN)


def main(argv: list[str] | None = None) -> int:
    """Train every model of the experiment that the scratch folder has no row of, then write the log."""
    parser = argparse.ArgumentParser(description="Train GPTs of growing size for lesson 10.")
    parser.add_argument("--num-steps", type=int, default=Settings.num_steps)
    parser.add_argument("--folder", type=Path, default=course_gpt.FOLDER, help="where the log goes")
    args = parser.parse_args(argv)
    runtime.set_threads(min(2, runtime.num_cores()))
    settings = Settings(num_steps=args.num_steps)
    text = prepare(GptSettings(vocab_size=settings.vocab_size))
    rows_file = runtime.scratch("runs", f"scaling-{settings.num_steps}") / "rows.json"
    rows = json.loads(rows_file.read_text(encoding="utf-8"))["rows"] if rows_file.is_file() else []
    first, *others = settings.seeds
    wanted = [(size, first) for size in (*SIZES, PREDICTED)] + [(size, seed) for seed in others for size in SIZES]
    for (d_model, num_layers), seed in wanted:
        if any((row["d_model"], row["num_layers"], row["seed"]) == (d_model, num_layers, seed) for row in rows):
            continue
        rows.append(train_size(settings, text, d_model, num_layers, seed))
        print({name: value for name, value in rows[-1].items() if name != "curve"}, flush=True)
        write_json(rows_file, {"rows": rows})
    log = {"command": COMMAND, "machine": runtime.environment_report(), "settings": asdict(settings), "rows": rows}
    write_json(args.folder / f"{LOG}.json", log)
    print(f"written to {args.folder / LOG}.json")
    return 0


def train_size(settings: Settings, text: Text, d_model: int, num_layers: int, seed: int) -> dict:
    """One model trained; its row: sizes, tokens read, held-out loss at the end and on the way (nats per token)."""
    torch.manual_seed(seed)
    model = settings.model(d_model, num_layers, text.tokenizer.vocab_size)
    objective, config = LanguageModelLoss(model), settings.train_config(d_model, seed)
    batches = BlockBatches(
        text.train,
        batch_size=settings.batch_size,
        context_length=settings.context_length,
        num_steps=settings.num_steps,
        seed=seed,
    )
    tokens_per_step, curve = settings.batch_size * settings.context_length, []
    every = max(1, settings.num_steps // CURVE_POINTS)

    def on_step(done: int, history: History) -> None:
        if done % every == 0:
            curve.append([done * tokens_per_step, round(loss_of(objective, text.validation[:WATCHED_TOKENS]), 4)])

    optimizer = make_adamw(objective, config, head_names=())
    history = train_language_model(objective, batches, optimizer, config, on_step=on_step)
    return {
        "d_model": d_model,
        "num_layers": num_layers,
        "seed": seed,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_block_parameters": sum(parameter.numel() for parameter in model.layers.parameters()),
        "tokens": settings.num_steps * tokens_per_step,
        "loss": round(loss_of(objective, text.validation[:MEASURED_TOKENS]), 4),
        "max_lr": round(config.max_lr, 6),
        "seconds": round(history.seconds),
        "curve": curve,
    }


def loss_of(objective: LanguageModelLoss, ids: torch.Tensor) -> float:
    """Nats per token of a row of tokens."""
    blocks = evaluation_blocks(ids, objective.model.config.context_length)
    return evaluate_language_model(objective, blocks).loss


if __name__ == "__main__":
    sys.exit(main())
