"""What is loaded is what was saved, and what does not fit says so before anything changes."""

import pytest
import torch
from torch import nn

from course_utils.errors import UserError
from course_utils.training import checkpoint


def test_weights_and_facts_come_back_exactly(tmp_path):
    saved, loaded = nn.Linear(3, 2), nn.Linear(3, 2)
    checkpoint.save_model(tmp_path / "new" / "folder", saved, {"class_names": ["a", "b"]})
    checkpoint.load_weights(tmp_path / "new" / "folder", loaded)
    assert torch.equal(saved.weight, loaded.weight) and torch.equal(saved.bias, loaded.bias)
    assert checkpoint.read_facts(tmp_path / "new" / "folder") == {"class_names": ["a", "b"]}
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["facts.json", "model.safetensors"]


@pytest.mark.parametrize("other", [nn.Linear(3, 5), nn.Linear(3, 2, bias=False)])
def test_another_model_is_refused_and_left_as_it_was(tmp_path, other):
    checkpoint.save_model(tmp_path, nn.Linear(3, 2), {})
    before = other.weight.clone()
    with pytest.raises(UserError, match="another model"):
        checkpoint.load_weights(tmp_path, other)
    assert torch.equal(before, other.weight)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path):
    checkpoint.save_model(tmp_path, nn.Linear(3, 2), {"run": 1})
    with pytest.raises(TypeError):
        checkpoint.save_model(tmp_path, nn.Linear(3, 2), {"run": object()})
    assert checkpoint.read_facts(tmp_path) == {"run": 1} and len(list(tmp_path.iterdir())) == 2


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no saved model"):
        checkpoint.read_facts(tmp_path)
