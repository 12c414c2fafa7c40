"""Cleaning says what it does, near duplicates are found by brute force too, and nothing leaks between the splits."""

import itertools
import random

import pytest

from course_utils.data import sentiment
from course_utils.data.sentiment import Tweet, clean_text, drop_duplicates, near_duplicate_groups, words_of
from course_utils.errors import UserError


@pytest.fixture(scope="module")
def published():
    return sentiment.read_tweets()


@pytest.fixture(scope="module")
def cleaned():
    return sentiment.load_tweets()


def test_the_published_tweets_are_all_read(published):
    counts = [sum(tweet.label == label for tweet in published) for label in range(3)]
    assert (len(published), counts) == (38_158, [16_186, 15_018, 6_954])
    assert all(tweet.agreement is None or 0 < tweet.agreement <= 1 for tweet in published)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("I canÕ¢_Î_¢t wait", "I can't wait"),
        ("if I\x8a\x97\xc8m here", "if I'm here"),
        ("nice _ôÖ\x89_ôÖ\x89 day", "nice day"),
        ("RT @NFL: they won &amp; left http://t.co/x9UhÕ", "they won & left http"),
        ("thanks @JetBlue for snake_case #SB49", "thanks @user for snake_case #SB49"),
        ("cut off http:/\xe4\xf3_", "cut off http"),
    ],
)
def test_cleaning_repairs_and_hides_what_it_should(raw, expected):
    assert clean_text(raw) == expected


def test_cleaning_twice_changes_nothing_more(published):
    for tweet in published[::97]:
        assert clean_text(clean_text(tweet.text)) == clean_text(tweet.text)


def brute_force_groups(texts, shared):
    """Connected components of "equal words, or a common run", by comparing all pairs."""
    words = [words_of(text) for text in texts]
    runs = [{w[i : i + shared] for i in range(len(w) - shared + 1)} for w in words]
    group = list(range(len(texts)))
    for i, j in itertools.combinations(range(len(texts)), 2):
        if words[i] == words[j] or runs[i] & runs[j]:
            old, new = group[j], group[i]
            group = [new if g == old else g for g in group]
    members = [[i for i in range(len(texts)) if group[i] == g and words[i]] for g in dict.fromkeys(group)]
    return {tuple(m) for m in members if m}


@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_equal_brute_force(seed):
    rng = random.Random(seed)
    texts = [" ".join(rng.choices("abc", k=rng.randint(0, 7))) for _ in range(40)]
    assert {tuple(group) for group in near_duplicate_groups(texts, 3)} == brute_force_groups(texts, 3)


def test_groups_whose_labels_disagree_are_dropped_whole():
    tweets = [
        Tweet("Good game!", 2),
        Tweet("good GAME http", 0),
        Tweet("so so", 1),
        Tweet("So so.", 1),
        Tweet("@user", 0),
    ]
    kept, report = drop_duplicates(tweets)
    assert kept == [Tweet("so so", 1)]
    assert report.num_kept + sum(report.counts.values()) == len(tweets)
    assert list(report.counts.values()) == [1, 2, 1]


def test_no_test_tweet_has_a_near_duplicate_in_training(cleaned):
    split = sentiment.split_tweets(cleaned[0], 1_000, 2_000)
    texts = [tweet.text for tweet in split.train + split.validation + split.test]
    assert len(texts) == len(cleaned[0]) == cleaned[1].num_kept
    assert len(near_duplicate_groups(texts)) == len(texts)


def test_the_test_set_does_not_depend_on_the_other_sizes(cleaned):
    first, second = (sentiment.split_tweets(cleaned[0], n, 500) for n in (0, 700))
    assert first.test == second.test and first.train[:700] == second.validation


def test_a_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(ValueError, match="leave nothing to train on"):
        sentiment.split_tweets([Tweet("a", 0)] * 3, 1, 2)


def test_a_file_of_another_kind_is_named(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="sentiment .*confidence, text"):
        sentiment.read_tweets(path)


def test_a_local_data_set_reads_like_the_tweets(tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sad", "happy"])}
    )
    for part, texts in [("train", ["so good", "so bad"]), ("test", ["fine"])]:
        data = datasets.Dataset.from_dict({"text": texts, "label": [1, 0, 1][: len(texts)]}, features=features)
        data.to_parquet(str(tmp_path / f"{part}.parquet"))
    tweets, names = sentiment.load_texts(str(tmp_path))
    assert names == ("sad", "happy")
    assert sorted(tweets) == [("fine", 1, None), ("so bad", 0, None), ("so good", 1, None)]
