"""The conversations: reading, cleaning, splitting without leakage, and the compact copy in the cache."""

import json

import pytest

from course_utils.data import dialogues
from course_utils.data.dialogues import (
    Conversation,
    clean_conversations,
    clean_text,
    exchanges,
    load_conversations,
    merge_turns,
    split_conversations,
)
from course_utils.errors import EnvironmentProblem


@pytest.fixture(scope="module")
def recorded():
    return load_conversations()


def test_the_whole_data_set_is_there(recorded):
    assert len(recorded) == 7_168
    assert sum(len(c.turns) for c in recorded) == 138_737
    assert len({c.id for c in recorded}) == 7_168


def test_cleaning_says_what_it_did(recorded):
    kept, report = clean_conversations(recorded)
    assert report.num_kept == len(kept) == 4_013
    assert report.num_kept + report.counts["nobody answered"] + report.counts["repeated"] == len(recorded)
    assert "3,151  nobody answered" in str(report)
    assert all(len(c.turns) >= 2 and all(turn == turn.strip() != "" for turn in c.turns) for c in kept)


def test_splits_share_no_conversation_and_do_not_move(recorded):
    kept, _ = clean_conversations(recorded)
    splits = split_conversations(kept)
    ids = [c.id for part in splits.values() for c in part]
    assert len(ids) == len(set(ids)) == len(kept)
    assert [round(len(part) / len(kept), 1) for part in splits.values()] == [0.8, 0.1, 0.1]
    fewer = split_conversations(kept[::3])
    assert all({c.id for c in fewer[name]} <= {c.id for c in splits[name]} for name in splits)
    other = split_conversations(kept, seed=1)
    assert {c.id for c in other["test"]} != {c.id for c in splits["test"]}


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match="add up to 1"):
        split_conversations([], fractions)


def test_text_is_cleaned():
    assert clean_text("  see\n https://example.org/a?b=1 or\twww.example.org ok ") == "see [link] or [link] ok"
    assert clean_text("write to me@example.org!") == "write to [e-mail]!"
    assert clean_text("mail@ me") == "mail@ me"


def test_empty_turns_vanish_and_turns_still_alternate():
    assert merge_turns(["a", "", "b", "c"]) == ("a b", "c")  # a and b are one person's
    assert merge_turns(["", "a", "b"]) == ("a", "b")
    assert merge_turns(["", ""]) == ()


def test_repetitions_are_dropped_once():
    twins = [Conversation(str(i), "", ("hi", "hello")) for i in range(3)]
    kept, report = clean_conversations([*twins, Conversation("x", "", ("anyone?",))])
    assert [c.id for c in kept] == ["0"]
    assert report.counts == {"nobody answered": 1, "repeated": 2, "turns with addresses hidden": 0}


def test_exchanges_hold_the_turns_before_the_reply():
    talk = [Conversation("c", "", ("one", "two", "three", "a long fourth turn"))]
    found = list(exchanges(talk, num_context_turns=2))
    assert [(e.context, e.reply) for e in found[:2]] == [(("one",), "two"), (("one", "two"), "three")]
    assert found[1].message == "two" and found[1].position == 2
    assert [e.reply for e in exchanges(talk, max_chars=5)] == ["two", "three"]
    with pytest.raises(ValueError, match="num_context_turns=0"):
        list(exchanges(talk, num_context_turns=0))


def test_the_compact_copy_is_written_used_and_replaced_when_damaged(tmp_path, monkeypatch):
    source = tmp_path / "dataset.json"
    rows = {"a": {"messages": [[{"text": "hi"}, {"text": "you"}], [{"text": "hello"}]], "prompt": "P"}}
    source.write_text(json.dumps(rows))
    monkeypatch.setattr(dialogues, "asset_path", lambda name: source)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    first = load_conversations()
    assert first == [Conversation("a", "P", ("hi you", "hello"))]
    (compact,) = (tmp_path / "cache" / "data").iterdir()  # and no temporary file beside it
    source.write_text("no longer read")
    assert load_conversations() == first
    source.write_text(json.dumps(rows))
    compact.write_bytes(compact.read_bytes()[:-5])
    assert load_conversations() == first
    assert json.loads(compact.read_text())


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    source = tmp_path / "dataset.json"
    source.write_text(json.dumps({"a": {"messages": [[{"text": "hi"}]]}}))
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(dialogues, "asset_path", lambda name: source)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file"))
    assert load_conversations() == [Conversation("a", "", ("hi",))]


def test_a_file_of_another_shape_names_the_repair(tmp_path):
    (tmp_path / "x.json").write_text('{"a": {"messages": [["hi"]]}}')
    with pytest.raises(EnvironmentProblem, match="course fetch chitchat"):
        dialogues.read_conversations(tmp_path / "x.json")
