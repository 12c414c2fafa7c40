"""The BERT that lesson 03 writes on one page is the library's: the same names, the same numbers."""

from pathlib import Path

import torch
from torch import nn

from course_utils.exercises.lesson_03 import embed
from course_utils.models.attention import EncoderBlock
from course_utils.models.bert import BertModel
from course_utils.models.bert_config import BertConfig
from course_utils.notebook.percent import read_source

SOURCE = Path(__file__).resolve().parents[2] / "notebooks" / "src" / "03_bert_architecture.py"
CONFIG = BertConfig(vocab_size=19, d_model=12, num_layers=2, num_heads=3, d_ff=20, context_length=9)


def test_bert_of_the_lesson_is_the_library_s():
    torch.manual_seed(0)
    (cell,) = [cell for cell in read_source(SOURCE).cells if cell.id == "model"]
    names = {"torch": torch, "nn": nn, "embed": embed, "EncoderBlock": EncoderBlock, "BertConfig": BertConfig}
    names["config"] = CONFIG
    exec(cell.source, names)
    ours, theirs = BertModel(CONFIG).eval(), names["Bert"](CONFIG).eval()
    theirs.load_state_dict(ours.state_dict())
    input_ids, types = torch.randint(0, 19, (2, 7)), torch.randint(0, 2, (2, 7))
    mask = (torch.arange(7) < torch.tensor([[7], [4]])).long()
    own = ours(input_ids, mask, types)
    states, pooled = theirs(input_ids, mask, types)
    for a, b in zip(own.hidden_states, states, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(own.pooler_output, pooled)
