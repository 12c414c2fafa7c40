"""A configuration that cannot work is refused when it is made, with the field and the value in the message."""

import dataclasses

import pytest

from course_utils.config import TrainConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_lr", 0), ("head_lr", -1e-3), ("num_epochs", 0), ("num_epochs", 1.5), ("batch_size", 0)]
    + [("warmup_fraction", 1), ("warmup_fraction", -0.1), ("weight_decay", -1), ("betas", (0.9, 1.0))]
    + [("betas", (0.9,)), ("eps", 0), ("grad_clip_norm", 0)],
)  # fmt: skip
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"TrainConfig\.{field} .*got"):
        TrainConfig(**{field: value})


def test_a_config_cannot_be_changed_later():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().max_lr = 1.0


@pytest.mark.parametrize(("max_steps", "expected"), [(100, 10), (4, 1), (1, 1), (57, 6)])
def test_warmup_steps_is_a_share_of_all_and_at_least_one(max_steps, expected):
    assert TrainConfig(warmup_fraction=0.1).warmup_steps(max_steps) == expected
