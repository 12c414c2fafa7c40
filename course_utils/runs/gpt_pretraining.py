"""Pretrain the small GPT that the course ships, on its conversations.

    python -m course_utils.runs.gpt_pretraining

It can be stopped and taken up again: the state lies in the scratch folder. At the end the weights of the step with the
lowest held-out loss, the vocabulary and the log replace `course_utils/checkpoints/course_gpt`. Lesson 07 shows every
part.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from course_utils import runtime
from course_utils.checkpoints import course_gpt
from course_utils.checkpoints.export import export, write_json
from course_utils.config import TrainConfig
from course_utils.data.dialogues import clean_conversations, load_conversations, split_conversations
from course_utils.data.language_model import (
    END_OF_TEXT,
    BlockBatches,
    bits_per_byte,
    conversation_text,
    evaluation_blocks,
    token_row,
)
from course_utils.data.ngrams import bigram_loss, unigram_loss
from course_utils.data.tokenizers import BytePairEncoding
from course_utils.data.tokenizers.gpt2_files import save_gpt2_tokenizer
from course_utils.generation import generate
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.language_model import LanguageModelLoss
from course_utils.training.language_model import GPT_RUN, evaluate_language_model, train_language_model
from course_utils.training.loop import History
from course_utils.training.optim import make_adamw
from course_utils.training.resume import load_state, save_state

COMMAND = "python -m course_utils.runs.gpt_pretraining"
LOG_EVERY = 250  # steps between two rows of the log, and between two states on disk
SAMPLE_EVERY = 1_000
SAMPLE_STEPS = (250, 500)  # where the text changes fastest
PROMPT = "Hi! How are you doing?\n"
WATCHED_TOKENS = 40_000  # of the validation row, for the rows of the log; the end is measured on all of it


@dataclass(frozen=True)
class Settings:
    """Everything that the result depends on, besides the machine's rounding."""

    vocab_size: int = 8_000
    d_model: int = 192
    num_layers: int = 4
    num_heads: int = 6
    context_length: int = 256
    dropout: float = 0.0  # each text is read five times only
    batch_size: int = 16
    num_steps: int = 3_000
    max_lr: float = 2e-3
    seed: int = 0

    def model_config(self, vocab_size: int, eos_id: int) -> GPTConfig:
        """A GPT-2 of these sizes."""
        return GPTConfig.gpt2(
            vocab_size=vocab_size,
            d_model=self.d_model,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            context_length=self.context_length,
            dropout=self.dropout,
            eos_id=eos_id,
        )

    def train_config(self) -> TrainConfig:
        """The optimiser's numbers."""
        return TrainConfig(max_lr=self.max_lr, batch_size=self.batch_size, warmup_fraction=0.05, **GPT_RUN)


class Text(NamedTuple):
    """The vocabulary, and the rows of token ids (N,) to learn from and to measure on."""

    tokenizer: BytePairEncoding
    end_id: int
    train: torch.Tensor
    validation: torch.Tensor


def main(argv: list[str] | None = None) -> int:
    """Train, or go on training, then export."""
    parser = argparse.ArgumentParser(description="Pretrain the course's small GPT.")
    parser.add_argument("--num-steps", type=int, default=Settings.num_steps)
    parser.add_argument("--folder", type=Path, default=course_gpt.FOLDER, help="where the trained model goes")
    args = parser.parse_args(argv)
    runtime.set_threads(min(2, runtime.num_cores()))
    settings = Settings(num_steps=args.num_steps)
    text = prepare(settings)
    torch.manual_seed(settings.seed)
    model = GPT(settings.model_config(text.tokenizer.vocab_size, text.end_id))
    scratch = runtime.scratch("runs", f"gpt-{settings.num_steps}")
    rows = run(model, settings, text, scratch)
    best = GPT.from_pretrained(scratch / "best")
    log = {
        "command": COMMAND,
        "machine": runtime.environment_report(),
        "settings": asdict(settings),
        "num_train_tokens": len(text.train),
        "baselines": baselines(text),
        "validation": measure(best, text.validation, text),
        "prompt": PROMPT,
        "rows": rows,
    }
    export(args.folder, best, Gpt2Files(text.tokenizer, settings.context_length), log)
    print(f"written to {args.folder}")
    return 0


def prepare(settings: Settings) -> Text:
    """The vocabulary, learned from the training conversations alone, and both splits as rows of its tokens."""
    splits = split_conversations(clean_conversations(load_conversations())[0])
    documents = {name: [conversation_text(c.turns) for c in part] for name, part in splits.items()}
    tokenizer = BytePairEncoding.train(documents["train"], settings.vocab_size, special_tokens=[END_OF_TEXT])
    end_id = tokenizer.token_id(END_OF_TEXT)
    rows = {name: token_row(documents[name], tokenizer, end_id) for name in ("train", "validation")}
    return Text(tokenizer, end_id, **rows)


def run(model: GPT, settings: Settings, text: Text, folder: Path) -> list[dict]:
    """Train from where the last state was saved; returns the log's rows. The best weights so far lie in `best`."""
    objective, config = LanguageModelLoss(model), settings.train_config()
    optimizer = make_adamw(objective, config, head_names=())
    batches = BlockBatches(
        text.train,
        batch_size=settings.batch_size,
        context_length=settings.context_length,
        num_steps=settings.num_steps,
        seed=settings.seed,
    )
    first_step = load_state(folder, objective, optimizer, asdict(settings))
    rows_file = folder / "rows.json"
    saved = json.loads(rows_file.read_text(encoding="utf-8"))["rows"] if first_step else []
    rows = [row for row in saved if row["step"] <= first_step] or [row_of(0, None, model, settings, text, 0.0)]
    seconds_before = rows[-1]["seconds"]

    def on_step(done: int, history: History) -> None:
        if done % LOG_EVERY and done != settings.num_steps:
            return
        rows.append(row_of(done, history, model, settings, text, seconds_before + history.seconds))
        print(rows[-1], flush=True)
        if rows[-1]["loss"] == min(row["loss"] for row in rows):
            model.save_pretrained(folder / "best")
        write_json(rows_file, {"rows": rows})
        save_state(folder, objective, optimizer, done, asdict(settings))

    train_language_model(objective, batches, optimizer, config, first_step=first_step, on_step=on_step)
    return rows


def row_of(step: int, history: History | None, model: GPT, settings: Settings, text: Text, seconds: float) -> dict:
    """One row of the log: the mean training loss of late, the loss on held-out text, now and then a sample."""
    row = {"step": step, "tokens": step * settings.batch_size * settings.context_length, "seconds": round(seconds)}
    if history:
        recent = history.losses[-LOG_EVERY:]
        row["train_loss"] = round(sum(recent) / len(recent), 4)
    row |= measure(model, text.validation[:WATCHED_TOKENS], text)
    if step in SAMPLE_STEPS or step % SAMPLE_EVERY == 0 or step == settings.num_steps:
        row["sample"] = sample(model, text)
    return row


def measure(model: GPT, ids: torch.Tensor, text: Text) -> dict[str, float]:
    """Nats per token and bits per byte of a row of tokens."""
    blocks = evaluation_blocks(ids, model.config.context_length)
    loss, num_targets = evaluate_language_model(LanguageModelLoss(model), blocks)
    num_bytes = len(text.tokenizer.decode(ids[1:].tolist(), skip_special_tokens=True).encode())
    return {"loss": round(loss, 4), "bits_per_byte": round(bits_per_byte(loss, num_targets, num_bytes), 4)}


def baselines(text: Text) -> dict[str, float]:
    """What the counts of words and of pairs of words reach on the same held-out row, in nats per token."""
    losses = {"unigram": unigram_loss, "bigram": bigram_loss}
    return {
        name: round(loss(text.train, text.validation, text.tokenizer.vocab_size), 4) for name, loss in losses.items()
    }


def sample(model: GPT, text: Text, max_new_tokens: int = 60) -> str:
    """What the model writes after `PROMPT`, always with the same random numbers; the model stays in its mode."""
    was_training = model.training
    model.eval()
    prompt = torch.tensor([text.tokenizer.encode(PROMPT)])
    ids = generate(model, prompt, max_new_tokens, top_p=0.9, generator=torch.Generator().manual_seed(0))
    model.train(was_training)
    return text.tokenizer.decode(ids[0, prompt.shape[1] :].tolist(), skip_special_tokens=True)


class Gpt2Files:
    """The vocabulary as `export` wants it: something that saves itself into a folder."""

    def __init__(self, tokenizer: BytePairEncoding, context_length: int):
        self.tokenizer, self.context_length = tokenizer, context_length

    def save(self, folder: Path) -> None:
        """Write GPT-2's tokenizer files."""
        save_gpt2_tokenizer(self.tokenizer, folder, END_OF_TEXT, self.context_length)


if __name__ == "__main__":
    sys.exit(main())
