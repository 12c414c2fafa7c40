"""What a pretrained start gains on the tweets, over the number of labels: the log of lesson 04's plot.

    python -m course_utils.runs.bert_starts

Rows are written as they are measured, and those that are there are not repeated. Hyperparameters were chosen on
validation tweets, once, and are the same for all starts.
"""

import json
import random
import sys

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
from course_utils.training.evaluate import evaluate
from course_utils.training.loop import train
from course_utils.training.optim import make_adamw
from course_utils.training.pretraining import pretrain

COMMAND = "python -m course_utils.runs.bert_starts"
LOG = course_bert.FOLDER / "starts.json"
LABEL_COUNTS = {100: (5e-4, 6), 300: (3e-4, 4), 1000: (3e-4, 3)}  # peak learning rate and epochs
NUM_SEEDS = 3
MAX_TOKENS = 48
ADAPTATION = TrainConfig(max_lr=5e-4)
ADAPTATION_STEPS, ADAPTATION_BATCH = 400, 128


def main() -> int:
    """Fine-tune from noise, from the shipped checkpoint, and from one that went on reading unlabelled tweets."""
    runtime.set_threads(2)
    split = split_tweets(load_tweets()[0], 1_000, 2_000)
    tokenizer = WordPiece.load(course_bert.FOLDER)
    adapted = adapt(split, tokenizer)
    encoders = {
        "random": fresh_encoder,
        "conversations": lambda _: BertModel.from_pretrained(course_bert.FOLDER),
        "conversations, then tweets": lambda _: load_encoder(adapted),
    }
    done = {(row["start"], row["labels"], row["seed"]) for row in read_rows()}
    for num_labels in LABEL_COUNTS:
        for seed in range(NUM_SEEDS):
            for start, make_encoder in encoders.items():
                if (start, num_labels, seed) not in done:
                    result = fine_tune(make_encoder(seed), split, tokenizer, num_labels, seed)
                    add_row({"start": start, "labels": num_labels, "seed": seed, "accuracy": round(result, 4)})
    return 0


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


def read_rows() -> list[dict]:
    return json.loads(LOG.read_text(encoding="utf-8"))["rows"] if LOG.is_file() else []


def add_row(row: dict) -> None:
    """The log with one more row."""
    print(row, flush=True)
    write_json(LOG, {"command": COMMAND, "machine": runtime.environment_report(), "rows": [*read_rows(), row]})


if __name__ == "__main__":
    sys.exit(main())
