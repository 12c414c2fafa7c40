"""Two experiments of lesson 04 that take longer than a lesson may, logged beside the checkpoint they explain.

    python -m course_utils.runs.bert_experiments objectives   # masking rates, and pretraining without next sentences
    python -m course_utils.runs.bert_experiments starts       # what a pretrained start gains on the tweets

Rows are written as they are measured, and those that are there are not repeated. Hyperparameters were chosen on
validation tweets, once, and are the same for all starts.
"""

import argparse
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import torch

from course_utils import runtime
from course_utils.checkpoints import course_bert
from course_utils.checkpoints.export import write_json
from course_utils.config import TrainConfig
from course_utils.data.batches import LengthBatches
from course_utils.data.pretraining import TextBatches
from course_utils.data.sentiment import CLASS_NAMES, Split, Tweet, load_tweets, split_tweets
from course_utils.data.tokenizers import WordPiece
from course_utils.models.bert import BertForPreTraining, BertModel
from course_utils.models.bert_weights import read_config
from course_utils.models.classifier import BertClassifier
from course_utils.runs.bert_pretraining import Settings, prepare
from course_utils.training.evaluate import evaluate
from course_utils.training.loop import train
from course_utils.training.optim import make_adamw
from course_utils.training.pretraining import evaluate_pretraining, pretrain

COMMAND = "python -m course_utils.runs.bert_experiments"
# Small batches: the plateau is left after so many steps rather than so many tokens.
SHORT_RUN = Settings(batch_size=16, num_steps=3_000)
ARMS = {
    "5%": {"mask_rate": 0.05},
    "15%": {"mask_rate": 0.15},
    "40%": {"mask_rate": 0.40},
    "15%, no NSP": {"mask_rate": 0.15, "use_nsp": False},
}
LABEL_COUNTS = {100: (5e-4, 6), 300: (3e-4, 4), 1000: (3e-4, 3), 3000: (3e-4, 2)}  # peak learning rate and epochs
STARTS = ("random", "conversations", "conversations, then tweets")
NUM_SEEDS = 3
MAX_TOKENS = 48
ADAPTATION = TrainConfig(max_lr=5e-4)
ADAPTATION_STEPS, ADAPTATION_BATCH = 400, 128


def main(argv: list[str] | None = None) -> int:
    """Run what is not yet in the log."""
    parser = argparse.ArgumentParser(description="Experiments of lesson 04, logged.")
    parser.add_argument("experiment", choices=["objectives", "starts"])
    args = parser.parse_args(argv)
    runtime.set_threads(2)
    {"objectives": run_objectives, "starts": run_starts}[args.experiment](
        course_bert.FOLDER / f"{args.experiment}.json"
    )
    return 0


def run_objectives(log: Path) -> None:
    """Pretrain with other masking rates and without NSP; all are judged on the same held-out pairs, 15% hidden."""
    _, _, validation = prepare(SHORT_RUN)
    for name, change in ARMS.items():
        if any(row["arm"] == name for row in read_rows(log)):
            continue
        change = dict(change)
        use_nsp = change.pop("use_nsp", True)
        settings = replace(SHORT_RUN, **change)
        tokenizer, training, _ = prepare(settings)
        torch.manual_seed(settings.seed)
        model = BertForPreTraining(settings.model_config(tokenizer.vocab_size))
        config = TrainConfig(max_lr=settings.max_lr, warmup_fraction=0.05)
        history = pretrain(model, training, make_adamw(model, config), config, use_nsp=use_nsp)
        result = evaluate_pretraining(model, validation)
        add_row(
            log,
            {
                "arm": name,
                "tokens": history.num_tokens,
                "seconds": round(history.seconds),
                "mlm_loss": round(result.mlm_loss, 4),
                "mlm_accuracy": round(result.mlm_accuracy, 4),
                "nsp_accuracy": round(result.nsp_accuracy, 4) if use_nsp else None,
            },
        )


def run_starts(log: Path) -> None:
    """Fine-tune from noise, from the shipped checkpoint, and from one that went on reading unlabelled tweets."""
    split = split_tweets(load_tweets()[0], 1_000, 2_000)
    tokenizer = WordPiece.load(course_bert.FOLDER)
    encoders = {
        "random": lambda seed: fresh_encoder(seed),
        "conversations": lambda _: BertModel.from_pretrained(course_bert.FOLDER),
    }
    adapted = adapt(split, tokenizer)
    encoders["conversations, then tweets"] = lambda _: load_encoder(adapted)
    done = {(row["start"], row["labels"], row["seed"]) for row in read_rows(log)}
    for num_labels in LABEL_COUNTS:
        for seed in range(NUM_SEEDS):
            for start in STARTS:
                if (start, num_labels, seed) not in done:
                    result = fine_tune(encoders[start](seed), split, tokenizer, num_labels, seed)
                    add_row(log, {"start": start, "labels": num_labels, "seed": seed, "accuracy": round(result, 4)})


def adapt(split: Split, tokenizer: WordPiece) -> dict[str, torch.Tensor]:
    """The encoder's weights after hiding words in the training tweets, whose labels are not looked at."""
    model = BertForPreTraining.from_pretrained(course_bert.FOLDER)
    batches = TextBatches(encode(split.train, tokenizer), tokenizer, ADAPTATION_BATCH, ADAPTATION_STEPS)
    pretrain(model, batches, make_adamw(model, ADAPTATION), ADAPTATION, use_nsp=False)
    return model.bert.state_dict()


def fine_tune(encoder: BertModel, split: Split, tokenizer: WordPiece, num_labels: int, seed: int) -> float:
    """Accuracy on the test tweets after training on `num_labels` tweets drawn with `seed`."""
    max_lr, num_epochs = LABEL_COUNTS[num_labels]
    torch.manual_seed(seed)
    model = BertClassifier(encoder, num_classes=len(CLASS_NAMES))
    config = TrainConfig(max_lr=max_lr, head_lr=1e-3, num_epochs=num_epochs, batch_size=16, seed=seed)
    labelled = random.Random(seed).sample(split.train, num_labels)
    train(model, labelled_batches(labelled, tokenizer, 16, seed), config)
    return evaluate(model, labelled_batches(split.test, tokenizer, 64)).accuracy


def fresh_encoder(seed: int) -> BertModel:
    """The same sizes, made of noise."""
    torch.manual_seed(seed)
    return BertModel(read_config(course_bert.FOLDER))


def load_encoder(weights: dict[str, torch.Tensor]) -> BertModel:
    """An encoder with these weights."""
    encoder = BertModel(read_config(course_bert.FOLDER))
    encoder.load_state_dict(weights)
    return encoder


def encode(tweets: list[Tweet], tokenizer: WordPiece) -> list[list[int]]:
    """Token ids of each tweet, cut to `MAX_TOKENS`."""
    return [tokenizer.encode(tweet.text, max_length=MAX_TOKENS) for tweet in tweets]


def labelled_batches(tweets: list[Tweet], tokenizer: WordPiece, size: int, seed: int | None = None) -> LengthBatches:
    """Token ids and labels, by length."""
    labels = [tweet.label for tweet in tweets]
    return LengthBatches(encode(tweets, tokenizer), labels, batch_size=size, seed=seed)


def read_rows(log: Path) -> list[dict]:
    return json.loads(log.read_text(encoding="utf-8"))["rows"] if log.is_file() else []


def add_row(log: Path, row: dict) -> None:
    """The log with one more row."""
    print(row, flush=True)
    facts = {"command": f"{COMMAND} {log.stem}", "machine": runtime.environment_report()}
    write_json(log, {**facts, "rows": [*read_rows(log), row]})


if __name__ == "__main__":
    sys.exit(main())
