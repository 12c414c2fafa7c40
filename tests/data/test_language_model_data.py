"""Rows of tokens cut into blocks: nothing lost or twice, targets one further, the same again from seed and step."""

import math
from collections import Counter

import pytest
import torch

from course_utils.data.language_model import (
    END_OF_TEXT,
    BlockBatches,
    bits_per_byte,
    conversation_text,
    evaluation_blocks,
    token_row,
)
from course_utils.data.tokenizers import BytePairEncoding
from course_utils.data.tokenizers.gpt2_files import save_gpt2_tokenizer
from course_utils.errors import UserError

AWKWARD = [
    "Hi! How's it going?\n",
    "",
    "été 😀 你好\n\n  two  spaces",
    "x" * 300,
    "1234567 + 89",
    "<|endoftext|> typed",
]


@pytest.fixture(scope="module")
def tokenizer() -> BytePairEncoding:
    texts = ["Hi there, how are you doing today?\nI am doing fine, thanks, how are you?\n"] * 3
    return BytePairEncoding.train(texts, 300, special_tokens=[END_OF_TEXT])


def test_a_row_holds_every_document_and_its_end(tokenizer):
    documents = [conversation_text(["Hi there", "how are you"]), conversation_text(["fine"])]
    row = token_row(documents, tokenizer, tokenizer.token_id(END_OF_TEXT))
    assert tokenizer.decode(row.tolist()) == f"Hi there\nhow are you\n{END_OF_TEXT}fine\n{END_OF_TEXT}"
    with pytest.raises(ValueError, match="at least one document"):
        token_row([], tokenizer, 0)


def test_an_epoch_reads_every_block_once_and_targets_follow():
    T, B = 7, 3
    ids = torch.arange(1_000)
    batches = BlockBatches(ids, batch_size=B, context_length=T, num_steps=200, seed=5)
    per_epoch = batches.blocks_per_epoch
    assert per_epoch == (1_000 - 1) // T - 1
    seen = [torch.stack([b["input_ids"] for b in batches]).flatten(0, 1), None]
    first, second = seen[0][:per_epoch], seen[0][per_epoch : 2 * per_epoch]
    for epoch in (first, second):
        assert max(Counter(epoch.flatten().tolist()).values()) == 1
        assert epoch.numel() == per_epoch * T
    assert first[:, 0].tolist() != second[:, 0].tolist(), "another order in each epoch"
    assert first[:, 0].tolist() != sorted(first[:, 0].tolist())
    batch = batches.batch(11)
    assert batch["input_ids"].shape == batch["targets"].shape == (B, T)
    assert torch.equal(batch["targets"], batch["input_ids"] + 1)


def test_a_batch_depends_on_seed_and_step_alone():
    def make(seed: int) -> BlockBatches:
        return BlockBatches(torch.arange(500), batch_size=2, context_length=5, num_steps=150, seed=seed)

    in_order, jumping = make(0), make(0)
    wanted = [in_order.batch(step)["input_ids"] for step in range(150)]
    for step in (149, 3, 80, 0, 149):
        assert torch.equal(jumping.batch(step)["input_ids"], wanted[step])
    assert any(not torch.equal(make(1).batch(step)["input_ids"], wanted[step]) for step in range(3))


@pytest.mark.parametrize(
    ("ids", "settings", "said"),
    [
        (torch.arange(20), {}, "more than 20; got shape \\(20,\\)"),
        (torch.arange(40).view(2, 20), {}, "got shape \\(2, 20\\)"),
        (torch.arange(90), {"batch_size": 0}, "whole numbers from 1; got 0, 5 and 2"),
        (torch.arange(90), {"num_steps": 0}, "got 3, 5 and 0"),
    ],
)
def test_what_gives_no_batch_is_refused(ids, settings, said):
    with pytest.raises(ValueError, match=said):
        BlockBatches(ids, **({"batch_size": 3, "context_length": 5, "num_steps": 2} | settings))


def test_the_shortest_row_that_is_accepted_gives_its_batch():
    batches = BlockBatches(torch.arange(21), batch_size=3, context_length=5, num_steps=40)
    assert all(batch["targets"].max() < 21 for batch in batches)


@pytest.mark.parametrize("length", [2, 5, 6, 7, 25, 26, 33])
def test_evaluation_predicts_every_token_but_the_first_once(length):
    ids = torch.arange(100, 100 + length)
    batches = list(evaluation_blocks(ids, context_length=5, batch_size=2))
    targets = torch.cat([batch["targets"].flatten() for batch in batches])
    assert targets.tolist() == ids[1:].tolist()
    assert all(torch.equal(b["targets"], b["input_ids"] + 1) for b in batches)
    with pytest.raises(ValueError, match="nothing to predict"):
        next(evaluation_blocks(ids[:1], 5))


def test_bits_per_byte_by_hand():
    assert bits_per_byte(math.log(256), num_tokens=10, num_bytes=10) == pytest.approx(8)
    assert bits_per_byte(math.log(2), num_tokens=10, num_bytes=40) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="at least one token"):
        bits_per_byte(1.0, 0, 4)


def test_gpt2s_own_class_reads_the_tokenizer(tokenizer, tmp_path):
    from transformers import AutoTokenizer, GPT2Tokenizer

    save_gpt2_tokenizer(tokenizer, tmp_path, END_OF_TEXT, context_length=64)
    end = tokenizer.token_id(END_OF_TEXT)
    for theirs in (GPT2Tokenizer.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert isinstance(theirs, GPT2Tokenizer)
        assert (len(theirs), theirs.eos_token_id, theirs.model_max_length) == (tokenizer.vocab_size, end, 64)
        for text in AWKWARD[:-1]:
            assert theirs(text)["input_ids"] == tokenizer.encode(text)
            assert theirs.decode(tokenizer.encode(text)) == text
    assert BytePairEncoding.load(tmp_path).merges == tokenizer.merges
    (tmp_path / "tokenizer.json").unlink()  # the two older files are enough
    assert GPT2Tokenizer.from_pretrained(tmp_path)(AWKWARD[0])["input_ids"] == tokenizer.encode(AWKWARD[0])
    with pytest.raises(UserError, match="no special token '<end>'"):
        save_gpt2_tokenizer(tokenizer, tmp_path, "<end>", 64)
