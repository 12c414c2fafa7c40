"""Accuracy against the number of labels on the embedded tweets, longer than lesson 05 has time for.

    python -m course_utils.runs.sentiment --labels 100 300 1000 --seeds 0 1 2 --methods tfidf frozen top full

Each (method, labels, seed) is one row of `sentiment.json` beside this file, written as soon as it is measured; rows
that are there are not repeated, so the run can be stopped and taken up again. Hyperparameters come from `config_for`,
chosen before on other tweets; TF-IDF and the frozen encoder choose their penalty on validation tweets in each run.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time

import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoTokenizer, BertModel
from transformers.utils import logging

from course_utils import runtime
from course_utils.assets import model_path
from course_utils.config import TrainConfig
from course_utils.data.batches import LengthBatches
from course_utils.data.sentiment import CLASS_NAMES, Split, Tweet, load_tweets, split_tweets
from course_utils.models.classifier import BertClassifier, TopLayers, freeze, lower_states
from course_utils.models.tfidf import tfidf_logistic
from course_utils.runs import FOLDER
from course_utils.training.evaluate import predict_logits
from course_utils.training.loop import train
from course_utils.training.metrics import accuracy, macro_f1

LOG = FOLDER / "sentiment.json"
METHODS = {"tfidf": "TF-IDF", "frozen": "BERT, frozen", "top": "BERT, top layers", "full": "BERT, fine-tuned"}
NUM_VALIDATION, NUM_TEST = 1_000, 2_000
MAX_TOKENS, FIRST_TRAINED_LAYER = 48, 4
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
MANY_LABELS = 500  # from here on two passes are enough


def config_for(method: str, num_labels: int, seed: int) -> TrainConfig:
    """The hyperparameters of a run; few labels get more passes over them."""
    max_lr = {"top": 2e-4, "full": 1e-4}[method]
    num_epochs = 3 if num_labels < MANY_LABELS else 2 if num_labels < 10_000 else 1
    return TrainConfig(max_lr=max_lr, head_lr=5e-3, num_epochs=num_epochs, batch_size=16, seed=seed)


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
    """One row: train on `num_labels` tweets drawn with `seed`, judge on the validation and the test tweets."""
    labelled = random.Random(seed).sample(split.train, num_labels)
    start = time.perf_counter()
    runner = {"tfidf": run_tfidf, "frozen": run_frozen, "top": run_top, "full": run_full}[method]
    predictions = runner(labelled, split.validation, split.test, seed)
    row = {"method": METHODS[method], "labels": num_labels, "seed": seed}
    for part, tweets in [("validation", split.validation), ("test", split.test)]:
        labels = [tweet.label for tweet in tweets]
        row[f"{part}_accuracy"] = round(accuracy(labels, predictions[part]), 4)
        row[f"{part}_macro_f1"] = round(macro_f1(labels, predictions[part], len(CLASS_NAMES)), 4)
    return {**row, "seconds": round(time.perf_counter() - start, 1)}


def run_tfidf(labelled: list[Tweet], validation: list[Tweet], test: list[Tweet], seed: int) -> dict:
    """TF-IDF with the penalty that is best on the validation tweets."""
    texts = {"train": [t.text for t in labelled], "validation": [t.text for t in validation]}
    labels = [t.label for t in labelled]
    vectorizer = tfidf_logistic()[0].fit(texts["train"])
    features = {part: vectorizer.transform(texts[part]) for part in texts}
    return choose_penalty(features | {"test": vectorizer.transform([t.text for t in test])}, labels, validation)


def run_frozen(labelled: list[Tweet], validation: list[Tweet], test: list[Tweet], seed: int) -> dict:
    """Logistic regression on the mean of BERT's last states, which stays as it came."""
    model = load_model(seed)
    parts = {"train": labelled, "validation": validation, "test": test}
    batched = {part: batches(tweets) for part, tweets in parts.items()}
    features = {part: batched[part].restore(lower_states(model.encoder, batched[part], 0)[1]) for part in parts}
    return choose_penalty(features, [t.label for t in labelled], validation)


def choose_penalty(features: dict, labels: list[int], validation: list[Tweet]) -> dict:
    """Predictions for validation and test of the logistic regression that is best on validation."""
    wanted = [tweet.label for tweet in validation]
    models = [LogisticRegression(C=penalty, max_iter=2_000).fit(features["train"], labels) for penalty in PENALTIES]
    best = max(models, key=lambda model: accuracy(wanted, model.predict(features["validation"])))
    return {part: best.predict(features[part]) for part in ("validation", "test")}


def run_top(labelled: list[Tweet], validation: list[Tweet], test: list[Tweet], seed: int) -> dict:
    """The top layers trained on stored states of the lower ones."""
    model, config = load_model(seed), config_for("top", len(labelled), seed)
    stored = batches(labelled)
    states, _ = lower_states(model.encoder, stored, FIRST_TRAINED_LAYER)
    labels = torch.cat([batch["labels"] for batch in stored])
    training = LengthBatches(states, labels, batch_size=config.batch_size, seed=seed, name="hidden")
    train(TopLayers(model, FIRST_TRAINED_LAYER), training, config)
    return predict_all(model, validation, test)


def run_full(labelled: list[Tweet], validation: list[Tweet], test: list[Tweet], seed: int) -> dict:
    """All layers trained; the embedding table stays."""
    model, config = load_model(seed), config_for("full", len(labelled), seed)
    train(model, batches(labelled, batch_size=config.batch_size, seed=seed), config)
    return predict_all(model, validation, test)


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


def predict_all(model, validation: list[Tweet], test: list[Tweet]) -> dict:
    """Predicted classes for both parts, in their order."""
    parts = {"validation": batches(validation), "test": batches(test)}
    return {part: batched.restore(predict_logits(model, batched)).argmax(-1) for part, batched in parts.items()}


def read_rows() -> list[dict]:
    return json.loads(LOG.read_text(encoding="utf-8"))["rows"] if LOG.is_file() else []


def add_row(row: dict) -> None:
    """The log with one more row, in order, written atomically."""
    rows = sorted(
        [*read_rows(), row], key=lambda r: (list(METHODS.values()).index(r["method"]), r["labels"], r["seed"])
    )
    log = {"command": "python -m course_utils.runs.sentiment", "machine": runtime.environment_report()}
    lines = ",\n".join("    " + json.dumps(entry) for entry in rows)
    text = json.dumps({**log, "rows": []}, indent=1).replace('"rows": []', f'"rows": [\n{lines}\n ]') + "\n"
    handle, name = tempfile.mkstemp(dir=LOG.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, LOG)


if __name__ == "__main__":
    sys.exit(main())
