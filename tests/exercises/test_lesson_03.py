"""The BERT that lesson 03 writes on one page is the library's: the same names, the same numbers."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises.lesson_03 import embed
from course_utils.models.attention import EncoderBlock
from course_utils.models.bert import BertForPreTraining, BertModel
from course_utils.models.bert_config import BertConfig
from course_utils.notebook.percent import read_source

SOURCE = Path(__file__).resolve().parents[2] / "notebooks" / "src" / "03_bert_architecture.py"
CONFIG = BertConfig(vocab_size=19, d_model=12, num_layers=2, num_heads=3, d_ff=20, context_length=9)


def lesson(*cell_ids: str) -> dict:
    """The names that these cells of the lesson define, with the library's helpers and small sizes."""
    names = {"torch": torch, "nn": nn, "F": F, "embed": embed, "EncoderBlock": EncoderBlock, "BertConfig": BertConfig}
    names["config"] = CONFIG
    sources = {cell.id: cell.source for cell in read_source(SOURCE).cells}
    for cell_id in cell_ids:
        exec(sources[cell_id], names)
    return names


def test_bert_of_the_lesson_is_the_library_s():
    torch.manual_seed(0)
    ours, theirs = BertModel(CONFIG).eval(), lesson("model")["Bert"](CONFIG).eval()
    theirs.load_state_dict(ours.state_dict())
    input_ids, types = torch.randint(0, 19, (2, 7)), torch.randint(0, 2, (2, 7))
    mask = (torch.arange(7) < torch.tensor([[7], [4]])).long()
    own = ours(input_ids, mask, types)
    states, pooled = theirs(input_ids, mask, types)
    for a, b in zip(own.hidden_states, states, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(own.pooler_output, pooled)


def test_heads_of_the_lesson_are_the_library_s():
    torch.manual_seed(0)
    ours, names = BertForPreTraining(CONFIG).eval(), lesson("model", "task-heads")
    model, heads = names["model"], names["heads"]
    model.load_state_dict(ours.bert.state_dict())
    ours.transform.load_state_dict(heads.transform.state_dict())
    ours.transform_norm.load_state_dict(heads.transform_norm.state_dict())
    ours.next_sentence.load_state_dict(heads.next_text.state_dict())
    ours.vocab_bias.data.copy_(heads.token_bias.data)
    ids = torch.randint(0, 19, (2, 7))
    states, pooled = model(ids, torch.ones_like(ids), torch.zeros_like(ids))
    token_scores, next_scores = heads(states[-1], pooled)
    own = ours(ids)
    torch.testing.assert_close(own.mlm_logits, token_scores)
    torch.testing.assert_close(own.nsp_logits, next_scores)
