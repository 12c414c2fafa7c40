"""Accuracy against the number of labels on the embedded tweets, longer than lesson 05 has time for.

    python -m course_utils.runs.sentiment --labels 100 300 1000 --seeds 0 1 2 --methods tfidf frozen top full

Each (method, labels, seed) is one row of `sentiment.json` beside this file, written as soon as it is measured; rows
are there are not repeated, so the run can be stopped and taken up again. Hyperparameters come from `config_for`,
chosen once on the validation tweets, with 1,000 labels of other draws. TF-IDF and the frozen encoder choose their
penalty on the validation tweets in each run.
"""

import argparse
import functools
import json
import math
import random
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoTokenizer, BertModel
from transformers.utils import logging

from course_utils import runtime
from course_utils.assets import model_path
from course_utils.checkpoints.export import write_json
from course_utils.config import TrainConfig
from course_utils.data.batches import LengthBatches
from course_utils.data.sentiment import CLASS_NAMES, Split, Tweet, load_tweets, split_tweets
from course_utils.models.classifier import BertClassifier, TopLayers, freeze, lower_states
from course_utils.models.tfidf import sparse_logistic, tfidf_features
from course_utils.runs import FOLDER
from course_utils.training.evaluate import predict_logits
from course_utils.training.loop import train
from course_utils.training.metrics import accuracy, macro_f1

LOG = FOLDER / "sentiment.json"
METHODS = {"tfidf": "TF-IDF", "frozen": "BERT, frozen", "top": "BERT, top layers", "full": "BERT, fine-tuned"}
NUM_VALIDATION, NUM_TEST = 1_000, 2_000
MAX_TOKENS, FIRST_TRAINED_LAYER = 48, 3
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
PASSES = ((200, 4), (500, 3), (10_000, 2), (math.inf, 1))  # fewer labels than ...: passes over them


def config_for(method: str, num_labels: int, seed: int) -> TrainConfig:
    """The hyperparameters of a run; few labels get more passes over them."""
    max_lr, head_lr = {"top": (3e-4, 2e-2), "full": (1e-4, 5e-3)}[method]
    num_epochs = next(epochs for limit, epochs in PASSES if num_labels < limit)
    return TrainConfig(max_lr=max_lr, head_lr=head_lr, num_epochs=num_epochs, batch_size=16, seed=seed)


def main(argv: list[str] | None = None) -> int:
    """Measure what is asked for and not yet in the log."""
    parser = argparse.ArgumentParser(description="Accuracy against the number of labels, logged.")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args(argv)
    runtime.set_threads(2)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    split = split_tweets(load_tweets()[0], NUM_VALIDATION, NUM_TEST)
    wanted = [(m, n, s) for n in args.labels for s in args.seeds for m in args.methods]
    done = {(row["method"], row["labels"], row["seed"]) for row in read_rows()}
    for method, num_labels, seed in wanted:
        if (METHODS[method], num_labels, seed) not in done:
            row = measure(method, num_labels, seed, split)
            add_row(row)
            print(row, flush=True)
    return 0


def measure(method: str, num_labels: int, seed: int, split: Split) -> dict:
    """One row: train on `num_labels` tweets drawn with `seed`, judge on the test tweets."""
    labelled = random.Random(seed).sample(split.train, num_labels)
    start = time.perf_counter()
    runner = {"tfidf": run_tfidf, "frozen": run_frozen, "top": run_top, "full": run_full}[method]
    predictions, labels = runner(labelled, split, seed), [tweet.label for tweet in split.test]
    row = {"method": METHODS[method], "labels": num_labels, "seed": seed}
    row["accuracy"] = round(accuracy(labels, predictions), 4)
    row["macro_f1"] = round(macro_f1(labels, predictions, len(CLASS_NAMES)), 4)
    return {**row, "seconds": round(time.perf_counter() - start, 1)}


def run_tfidf(labelled: list[Tweet], split: Split, seed: int) -> np.ndarray:
    """TF-IDF with the penalty that is best on the validation tweets."""
    vectorizer = tfidf_features().fit([tweet.text for tweet in labelled])
    parts = {"train": labelled, "validation": split.validation, "test": split.test}
    features = {part: vectorizer.transform([tweet.text for tweet in tweets]) for part, tweets in parts.items()}
    return choose_penalty(sparse_logistic, features, labelled, split)


def run_frozen(labelled: list[Tweet], split: Split, seed: int) -> np.ndarray:
    """Logistic regression on the mean of BERT's last states, which stays as it came."""
    parts = {"train": labelled, "validation": split.validation, "test": split.test}
    features = {part: frozen_features(tuple(tweets)) for part, tweets in parts.items()}
    return choose_penalty(lambda c: LogisticRegression(C=c, max_iter=2_000), features, labelled, split)


@functools.lru_cache(maxsize=3)
def frozen_features(tweets: tuple[Tweet, ...]) -> np.ndarray:
    """The mean of the pretrained encoder's last states for each tweet, (N, D)."""
    batched = batches(list(tweets))
    return batched.restore(lower_states(load_model(0).encoder, batched, 0)[1]).numpy()


def choose_penalty(make_model: Callable, features: dict, labelled: list[Tweet], split: Split) -> np.ndarray:
    """The test predictions of the logistic regression that is best on the validation tweets."""
    labels, wanted = ([tweet.label for tweet in tweets] for tweets in (labelled, split.validation))
    models = [make_model(penalty).fit(features["train"], labels) for penalty in PENALTIES]
    best = max(models, key=lambda model: accuracy(wanted, model.predict(features["validation"])))
    return best.predict(features["test"])


def run_top(labelled: list[Tweet], split: Split, seed: int) -> np.ndarray:
    """The top layers trained on stored states of the lower ones."""
    model, config = load_model(seed), config_for("top", len(labelled), seed)
    stored = batches(labelled)
    states = stored.restore(lower_states(model.encoder, stored, FIRST_TRAINED_LAYER)[0])
    labels = [tweet.label for tweet in labelled]
    training = LengthBatches(states, labels, batch_size=config.batch_size, seed=seed, name="hidden")
    train(TopLayers(model, FIRST_TRAINED_LAYER), training, config)
    return predict_test(model, split)


def run_full(labelled: list[Tweet], split: Split, seed: int) -> np.ndarray:
    """All layers trained; the embedding table stays."""
    model, config = load_model(seed), config_for("full", len(labelled), seed)
    train(model, batches(labelled, batch_size=config.batch_size, seed=seed), config)
    return predict_test(model, split)


def predict_test(model: BertClassifier, split: Split) -> np.ndarray:
    """The predicted class of each test tweet."""
    batched = batches(split.test)
    return batched.restore(predict_logits(model, batched)).argmax(-1).numpy()


def load_model(seed: int) -> BertClassifier:
    """The pretrained encoder with a fresh head; its embeddings frozen."""
    torch.manual_seed(seed)
    encoder = BertModel.from_pretrained(model_path("minilm"), add_pooling_layer=False)
    model = BertClassifier(encoder, num_classes=len(CLASS_NAMES))
    freeze(encoder.embeddings)
    return model


def batches(tweets: list[Tweet], batch_size: int = 64, seed: int | None = None) -> LengthBatches:
    """Tweets as batches of token ids and labels."""
    tokenizer = AutoTokenizer.from_pretrained(model_path("minilm"))
    token_ids = tokenizer([tweet.text for tweet in tweets], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    return LengthBatches(token_ids, [tweet.label for tweet in tweets], batch_size=batch_size, seed=seed)


def read_rows() -> list[dict]:
    return json.loads(LOG.read_text(encoding="utf-8"))["rows"] if LOG.is_file() else []


def add_row(row: dict) -> None:
    """The log with one more row, in order, written atomically."""
    rows = sorted(
        [*read_rows(), row], key=lambda r: (list(METHODS.values()).index(r["method"]), r["labels"], r["seed"])
    )
    facts = {"command": "python -m course_utils.runs.sentiment", "machine": runtime.environment_report()}
    write_json(LOG, {**facts, "rows": rows})


if __name__ == "__main__":
    sys.exit(main())
