"""Committed logs of longer runs: complete, one row per measurement, and made by the command they name."""

import pytest

from course_utils.errors import UserError
from course_utils.runs import read_log, sentiment


def test_the_log_holds_each_measurement_once():
    rows = read_log("sentiment")["rows"]
    keys = [(row["method"], row["labels"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row["method"] for row in rows} == set(sentiment.METHODS.values())
    assert all(0.4 < row["macro_f1"] < row["accuracy"] + 0.05 < 1 for row in rows)


def test_a_rerun_of_a_logged_row_gives_its_numbers():
    row = next(row for row in read_log("sentiment")["rows"] if (row["method"], row["labels"]) == ("TF-IDF", 100))
    tweets, _ = sentiment.load_tweets()
    split = sentiment.split_tweets(tweets, sentiment.NUM_VALIDATION, sentiment.NUM_TEST)
    again = sentiment.measure("tfidf", row["labels"], row["seed"], split)
    assert again["accuracy"] == pytest.approx(row["accuracy"], abs=0.005)
    assert again["macro_f1"] == pytest.approx(row["macro_f1"], abs=0.005)


def test_rows_are_added_in_order_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(sentiment, "LOG", tmp_path / "log.json")
    rows = [{"method": "BERT, frozen", "labels": 9, "seed": 0}, {"method": "TF-IDF", "labels": 9, "seed": 1}]
    for row in rows:
        sentiment.add_row(row)
    assert sentiment.read_rows() == rows[::-1]


def test_an_unknown_log_is_named():
    with pytest.raises(UserError, match="no logged run 'sentimant'. Known: sentiment"):
        read_log("sentimant")
