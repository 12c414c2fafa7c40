"""Zero-, one- and few-shot accuracy of the embedded chat model on lesson 05's tweets, for lesson 10.

    python -m course_utils.runs.in_context

No weight changes: examples from the training tweets stand in the prompt, and the label that the model finds most
likely is its answer. Each (format, shots, draw) is one row, with the answer to every test tweet as a digit; rows that
are there are not repeated, so the run can be stopped and taken up again. The log goes beside the course's GPT.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer

from course_utils import runtime
from course_utils.assets import model_path
from course_utils.chat.template import encode_chat, plain_ids
from course_utils.checkpoints import course_gpt
from course_utils.checkpoints.export import write_json
from course_utils.data.few_shot import draw_examples
from course_utils.data.sentiment import CLASS_NAMES, Tweet, load_tweets, split_tweets
from course_utils.generation.labels import calibrated, label_log_probs, label_scores, read_prefix
from course_utils.models.gpt import GPT

COMMAND = "python -m course_utils.runs.in_context"
LOG = "in_context"  # in_context.json beside the course's GPT
MODEL = "smollm2"
INSTRUCTION = "Classify the sentiment of each tweet as negative, neutral or positive."
CONTENT_FREE = ("N/A", "[MASK]", "")  # Zhao et al. 2021, section 5.1
NUM_VALIDATION, NUM_TEST = 1_000, 2_000  # set aside as in `runs.sentiment`; we judge on the first of the test tweets
SHOTS, NUM_DRAWS = (0, 1, 3, 12), 3
ROOM = 160  # tokens of a tweet and its label, at most
Ids = list[int]


class PlainFormat:
    """Text as GPT-3 had it: the instruction, then tweets and their labels line by line."""

    def __init__(self, tokenizer):
        self.ids = functools.partial(plain_ids, tokenizer)
        self.labels = [self.ids(f" {name}") for name in CLASS_NAMES]

    def prefix(self, examples: Sequence[Tweet]) -> Ids:
        """What all prompts begin with."""
        shown = (f"\n\nTweet: {tweet.text}\nSentiment: {CLASS_NAMES[tweet.label]}" for tweet in examples)
        return self.ids(INSTRUCTION + "".join(shown))

    def rest(self, text: str) -> Ids:
        """The tweet in question, up to where its label would stand."""
        return self.ids(f"\n\nTweet: {text}\nSentiment:")


class ChatFormat:
    """The same as a conversation: the instruction is the system's, tweets are the user's, labels the assistant's."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.labels = [plain_ids(tokenizer, name) for name in CLASS_NAMES]

    def prefix(self, examples: Sequence[Tweet]) -> Ids:
        """What all prompts begin with."""
        messages = [{"role": "system", "content": f"{INSTRUCTION} Answer with one word."}]
        for tweet in examples:
            messages.append({"role": "user", "content": tweet.text})
            messages.append({"role": "assistant", "content": CLASS_NAMES[tweet.label]})
        return encode_chat(self.tokenizer, messages, add_generation_prompt=False)

    def rest(self, text: str) -> Ids:
        """The tweet in question, up to where its label would stand."""
        return encode_chat(self.tokenizer, [{"role": "user", "content": text}])


FORMATS = {"plain": PlainFormat, "chat": ChatFormat}


def main(argv: list[str] | None = None) -> int:
    """Measure every row that is not there yet, then write the log."""
    parser = argparse.ArgumentParser(description="In-context learning on lesson 05's tweets.")
    parser.add_argument("--num-tweets", type=int, default=200, help="test tweets, at most 2,000")
    parser.add_argument("--folder", type=Path, default=course_gpt.FOLDER, help="where the log goes")
    args = parser.parse_args(argv)
    runtime.set_threads(min(2, runtime.num_cores()))
    rows_file = runtime.scratch("runs", f"in-context-{args.num_tweets}") / "rows.json"
    rows = json.loads(rows_file.read_text(encoding="utf-8"))["rows"] if rows_file.is_file() else []
    split = split_tweets(load_tweets()[0], NUM_VALIDATION, NUM_TEST)
    tokenizer, model = AutoTokenizer.from_pretrained(model_path(MODEL)), GPT.from_pretrained(MODEL)
    wanted = [(name, shots, draw) for shots in SHOTS for draw in range(NUM_DRAWS if shots else 1) for name in FORMATS]
    for name, num_shots, draw in wanted:
        if any((row["format"], row["shots"], row["draw"]) == (name, num_shots, draw) for row in rows):
            continue
        examples = draw_examples(split, num_shots, draw)
        measured = measure(model, FORMATS[name](tokenizer), examples, split.test[: args.num_tweets])
        rows.append({"format": name, "shots": num_shots, "draw": draw, **measured})
        print({key: value for key, value in rows[-1].items() if key not in ("raw", "calibrated")}, flush=True)
        write_json(rows_file, {"rows": rows})
    labels = digits(tweet.label for tweet in split.test[: args.num_tweets])
    log = {"command": COMMAND, "machine": runtime.environment_report(), "model": MODEL, "labels": labels, "rows": rows}
    write_json(args.folder / f"{LOG}.json", log)
    print(f"written to {args.folder / LOG}.json")
    return 0


def measure(model: GPT, form: PlainFormat | ChatFormat, examples: list[Tweet], tweets: list[Tweet]) -> dict:
    """One row: the answers before and after calibration, as digits, and what they took."""
    start = time.perf_counter()
    prefix = form.prefix(examples)
    cache = read_prefix(model, prefix, ROOM)
    scores_of = scorer(model, cache, form)
    free = torch.stack([scores_of(text).softmax(-1) for text in CONTENT_FREE]).mean(0).log()
    prepared = time.perf_counter()
    scores = torch.stack([scores_of(tweet.text) for tweet in tweets])  # (N, C)
    seconds, labels = time.perf_counter() - prepared, torch.tensor([tweet.label for tweet in tweets])
    answers = {"raw": scores.argmax(-1), "calibrated": calibrated(scores, free).argmax(-1)}
    return {
        "accuracy": round((answers["raw"] == labels).float().mean().item(), 4),
        "calibrated_accuracy": round((answers["calibrated"] == labels).float().mean().item(), 4),
        "content_free": [round(p, 3) for p in free.softmax(-1).tolist()],
        "prefix_tokens": len(prefix),
        "tokens_per_tweet": round(sum(len(form.rest(tweet.text)) for tweet in tweets) / len(tweets), 1),
        "prefix_seconds": round(prepared - start, 2),
        "seconds_per_tweet": round(seconds / len(tweets), 3),
        **{name: digits(predictions.tolist()) for name, predictions in answers.items()},
    }


def scorer(model: GPT, cache, form: PlainFormat | ChatFormat) -> Callable[[str], torch.Tensor]:
    """A function from a text to the score of each label, (C,)."""
    return lambda text: label_scores(label_log_probs(model, cache, form.rest(text), form.labels), form.labels)


def digits(classes) -> str:
    """Class indices as one text, a digit each."""
    return "".join(str(label) for label in classes)


if __name__ == "__main__":
    sys.exit(main())
