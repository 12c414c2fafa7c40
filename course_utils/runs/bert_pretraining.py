"""Pretrain the small BERT that the course ships, on its conversations: hidden words and next sentences.

    python -m course_utils.runs.bert_pretraining

It can be stopped and taken up again: the state lies in the scratch folder. At the end the model, its vocabulary and its
log replace `course_utils/checkpoints/course_bert`. Lesson 04 shows every part. As in Devlin et al. 2019, appendix A.2,
most steps read short pairs and the last ones long pairs, which the positions at the end are learned from; these in two
cycles of the learning rate (Loshchilov and Hutter 2017, *SGDR*), since the next sentence was still improving.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from course_utils import runtime
from course_utils.checkpoints import course_bert
from course_utils.checkpoints.export import export, write_json
from course_utils.config import TrainConfig
from course_utils.data.dialogues import clean_conversations, load_conversations, split_conversations
from course_utils.data.pretraining import Corpus, PretrainingBatches, make_corpus
from course_utils.data.tokenizers import WordPiece
from course_utils.models.bert import BertForPreTraining
from course_utils.models.bert_config import BertConfig
from course_utils.training.optim import make_adamw
from course_utils.training.pretraining import PretrainingHistory, evaluate_pretraining, pretrain
from course_utils.training.resume import load_state, save_state

COMMAND = "python -m course_utils.runs.bert_pretraining"
LOG_EVERY = 250  # steps between two rows of the log, and between two states on disk
NUM_VALIDATION_BATCHES = 30
LONG_PAIRS = {"max_length": 128, "batch_size": 32, "max_lr": 5e-4}  # as many tokens in a step as before


@dataclass(frozen=True)
class Settings:
    """Everything that the result depends on, besides the machine's rounding."""

    vocab_size: int = 8_000
    d_model: int = 192
    num_layers: int = 4
    num_heads: int = 4
    context_length: int = 128
    max_length: int = 64
    batch_size: int = 64
    num_steps: int = 6_000
    max_lr: float = 1e-3
    mask_rate: float = 0.15
    seed: int = 0

    def model_config(self, vocab_size: int) -> BertConfig:
        """A BERT of these sizes; without dropout, since the run sees each text a few times only."""
        return BertConfig(
            vocab_size=vocab_size,
            d_model=self.d_model,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            d_ff=4 * self.d_model,
            context_length=self.context_length,
            dropout=0.0,
        )

    def batches(self, corpus, tokenizer, num_steps: int, seed: int) -> PretrainingBatches:
        """Batches of this run's shape."""
        return PretrainingBatches(
            corpus,
            tokenizer,
            batch_size=self.batch_size,
            max_length=self.max_length,
            num_steps=num_steps,
            mask_rate=self.mask_rate,
            seed=seed,
        )


def main(argv: list[str] | None = None) -> int:
    """Train, or go on training, then export."""
    parser = argparse.ArgumentParser(description="Pretrain the course's small BERT.")
    parser.add_argument("--num-steps", type=int, default=Settings.num_steps, help="steps on short pairs")
    parser.add_argument("--num-long-steps", type=int, nargs="+", default=[2_000, 2_500], help="steps on long pairs")
    parser.add_argument("--folder", type=Path, default=course_bert.FOLDER, help="where the trained model goes")
    args = parser.parse_args(argv)
    runtime.set_threads(2)
    short = Settings(num_steps=args.num_steps)
    long = replace(short, **LONG_PAIRS)
    phases = [short, *(replace(long, num_steps=n, seed=cycle) for cycle, n in enumerate(args.num_long_steps))]
    tokenizer, corpus, validation = prepare(short)
    torch.manual_seed(short.seed)
    model = BertForPreTraining(short.model_config(tokenizer.vocab_size))
    rows: list[dict] = []
    for number, settings in enumerate(phases):
        folder = runtime.scratch("runs", "bert-" + "-".join(str(phase.num_steps) for phase in phases[: number + 1]))
        training = settings.batches(corpus, tokenizer, settings.num_steps, settings.seed)
        rows = run(model, settings, training, validation, folder, rows)
    settings = [asdict(phase) for phase in phases]
    log = {"command": COMMAND, "machine": runtime.environment_report(), "settings": settings, "rows": rows}
    export(args.folder, model, tokenizer, log)
    print(f"written to {args.folder}")
    return 0


def prepare(settings: Settings) -> tuple[WordPiece, Corpus, list[dict]]:
    """The vocabulary, learned from the training conversations alone; these as a corpus; held-out batches."""
    splits = split_conversations(clean_conversations(load_conversations())[0])
    texts = {name: [conversation.turns for conversation in part] for name, part in splits.items()}
    tokenizer = WordPiece.train((turn for turns in texts["train"] for turn in turns), settings.vocab_size)
    held_out = settings.batches(make_corpus(texts["validation"], tokenizer), tokenizer, NUM_VALIDATION_BATCHES, seed=1)
    return tokenizer, make_corpus(texts["train"], tokenizer), list(held_out)


def run(
    model, settings: Settings, training: PretrainingBatches, validation: list[dict], folder: Path, earlier: list[dict]
) -> list[dict]:
    """One phase, from where its last state was saved; returns the log's rows, those of `earlier` phases first."""
    config = TrainConfig(max_lr=settings.max_lr, batch_size=settings.batch_size, warmup_fraction=0.05)
    optimizer = make_adamw(model, config, head_names=("next_sentence",))
    first_step = load_state(folder, model, optimizer, asdict(settings))
    rows_file, offset = folder / "rows.json", earlier[-1]["step"] if earlier else 0
    saved = json.loads(rows_file.read_text(encoding="utf-8"))["rows"] if first_step else []
    rows = [row for row in saved if row["step"] <= offset + first_step] or list(earlier)
    rows = rows or [row_of(0, None, model, validation, 0, 0.0)]
    before = rows[-1]

    def on_step(done: int, history: PretrainingHistory) -> None:
        if done % LOG_EVERY and done != settings.num_steps:
            return
        tokens, seconds = before["tokens"] + history.num_tokens, before["seconds"] + history.seconds
        rows.append(row_of(offset + done, history, model, validation, tokens, seconds))
        print(rows[-1], flush=True)
        write_json(rows_file, {"rows": rows})
        save_state(folder, model, optimizer, done, asdict(settings))

    pretrain(model, training, optimizer, config, first_step=first_step, on_step=on_step)
    return rows


def row_of(step: int, history: PretrainingHistory | None, model, validation, tokens: int, seconds: float) -> dict:
    """One row of the log: training losses averaged over the last steps, and everything measured on held-out pairs."""
    held_out = evaluate_pretraining(model, validation)
    row = {"step": step, "tokens": tokens, "seconds": round(seconds)}
    if history:
        recent = slice(-LOG_EVERY, None)
        for name, losses in (("mlm_train", history.mlm_losses), ("nsp_train", history.nsp_losses)):
            row[name] = round(sum(losses[recent]) / len(losses[recent]), 4)
    for name in ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"):
        row[name] = round(getattr(held_out, name), 4)
    return row


if __name__ == "__main__":
    sys.exit(main())
