"""The cosine: rises as the straight line does, falls to its floor, never outside; the straight line is lesson 05's."""

import math

import pytest

from course_utils.training.schedule import warmup_cosine, warmup_linear


@pytest.mark.parametrize(("warmup_steps", "max_steps"), [(1, 1), (1, 9), (4, 21), (7, 7)])
def test_cosine_by_its_definition(warmup_steps, max_steps):
    for step in range(max_steps):
        share = warmup_cosine(step, warmup_steps, max_steps, min_share=0.2)
        if step < warmup_steps:
            assert share == warmup_linear(step, warmup_steps, max_steps)
        else:
            angle = math.pi * (step - warmup_steps) / (max_steps - warmup_steps)
            assert share == pytest.approx(0.2 + 0.4 * (1 + math.cos(angle)))
    assert warmup_cosine(max_steps, warmup_steps, max_steps, 0.2) >= 0.2 - 1e-12


def test_cosine_ends_at_its_floor():
    assert warmup_cosine(20, 4, 20, min_share=0.1) == pytest.approx(0.1)
    assert warmup_cosine(30, 4, 20, min_share=0.1) == pytest.approx(0.1)
