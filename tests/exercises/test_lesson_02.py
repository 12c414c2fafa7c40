"""What lesson 02 writes out in its cells is what the library does: the same numbers from both."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.models import attention
from course_utils.notebook.percent import read_source

SOURCE = Path(__file__).resolve().parents[2] / "notebooks" / "src" / "02_attention.py"
NAMES = {"torch": torch, "F": F, "nn": nn} | vars(attention)


def defined_in(cell_id: str, name: str):
    """A definition of one of the lesson's cells, made with the library's helpers."""
    (cell,) = [cell for cell in read_source(SOURCE).cells if cell.id == cell_id]
    namespace = dict(NAMES)
    exec(cell.source, namespace)
    return namespace[name]


def test_multi_head_attention_of_the_lesson_is_the_library_s():
    torch.manual_seed(0)
    theirs = defined_in("mha", "MultiHeadAttention")(12, 3)
    for fused in (True, False):
        ours = attention.MultiHeadAttention(12, 3, fused=fused)
        ours.load_state_dict(theirs.state_dict())
        x, context, mask = torch.randn(2, 5, 12), torch.randn(2, 7, 12), torch.rand(2, 1, 5, 7) > 0.3
        torch.testing.assert_close(ours(x, mask, context), theirs(x, mask, context))
        torch.testing.assert_close(ours(x), theirs(x))


def test_rotate_of_the_lesson_is_the_library_s():
    x, positions = torch.randn(2, 3, 5, 8), torch.arange(5)
    torch.testing.assert_close(defined_in("rotary", "rotate")(x, positions), attention.rotate(x, positions))
