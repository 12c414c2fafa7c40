"""What lesson 02 writes out in its cells is what the library does: the same numbers from both."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.exercises.lesson_02 import pre_norm_block
from course_utils.models import attention
from course_utils.notebook.percent import read_source

SOURCE = Path(__file__).resolve().parents[2] / "notebooks" / "src" / "02_attention.py"
NAMES = {"torch": torch, "F": F, "nn": nn, "pre_norm_block": pre_norm_block} | vars(attention)


def defined_in(name: str, *cell_ids: str):
    """A definition of the lesson's cells, run in this order, made with the library's helpers."""
    sources = {cell.id: cell.source for cell in read_source(SOURCE).cells}
    namespace = dict(NAMES)
    for cell_id in cell_ids:
        exec(sources[cell_id], namespace)
    return namespace[name]


def test_multi_head_attention_of_the_lesson_is_the_library_s():
    torch.manual_seed(0)
    theirs = defined_in("MultiHeadAttention", "mha")(12, 3)
    for fused in (True, False):
        ours = attention.MultiHeadAttention(12, 3, fused=fused)
        ours.load_state_dict(theirs.state_dict())
        x, context, mask = torch.randn(2, 5, 12), torch.randn(2, 7, 12), torch.rand(2, 1, 5, 7) > 0.3
        torch.testing.assert_close(ours(x, mask, context), theirs(x, mask, context))
        torch.testing.assert_close(ours(x), theirs(x))


def test_rotate_of_the_lesson_is_the_library_s():
    x, positions = torch.randn(2, 3, 5, 8), torch.arange(5)
    torch.testing.assert_close(defined_in("rotate", "rotary")(x, positions), attention.rotate(x, positions))


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_block_of_the_lesson_is_the_library_s(norm_first):
    torch.manual_seed(0)
    theirs = defined_in("EncoderBlock", "mha", "feed-forward", "encoder-block")(12, 3, 20, norm_first)
    ours = attention.EncoderBlock(12, 3, 20, norm_first=norm_first)
    ours.load_state_dict(theirs.state_dict())
    x, mask = torch.randn(2, 5, 12), torch.rand(2, 1, 5, 5) > 0.3
    torch.testing.assert_close(ours(x, mask), theirs(x, mask))


def test_decoder_block_of_the_lesson_is_the_library_s():
    torch.manual_seed(0)
    theirs = defined_in("DecoderBlock", "mha", "feed-forward", "encoder-block", "decoder-block")(12, 3, 20)
    ours = attention.DecoderBlock(12, 3, 20)
    ours.load_state_dict(theirs.state_dict())
    x, context, mask = torch.randn(2, 5, 12), torch.randn(2, 7, 12), torch.rand(2, 1, 5, 5) > 0.3
    torch.testing.assert_close(ours(x, context, mask), theirs(x, context, mask))
