"""The loop trains, in the order it promises; evaluation does not depend on batch sizes; torch is the oracle."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.config import TrainConfig
from course_utils.training.evaluate import evaluate, predict_logits
from course_utils.training.loop import train
from course_utils.training.optim import clip_grad_norm, make_adamw, parameter_groups
from course_utils.training.schedule import make_schedule, warmup_linear


class Tiny(nn.Module):
    """A classifier of 4 numbers into 3 classes, with a norm, dropout and a head called `classifier`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.norm, self.dropout = nn.Linear(4, 8), nn.LayerNorm(8), nn.Dropout(0.1)
        self.classifier = nn.Linear(8, 3)

    def forward(self, inputs, labels=None):
        logits = self.classifier(self.dropout(torch.tanh(self.norm(self.body(inputs)))))
        return SimpleNamespace(loss=None if labels is None else F.cross_entropy(logits, labels), logits=logits)


def make_batches(sizes=(16, 16, 5), seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(size, 4, generator=generator) for size in sizes]
    return [{"inputs": x, "labels": x[:, :3].argmax(-1)} for x in inputs]


def test_training_learns_and_records_every_step():
    model, config = Tiny(), TrainConfig(max_lr=1e-2, num_epochs=30)
    before = evaluate(model, make_batches())
    history = train(model, make_batches(), config)
    after = evaluate(model, make_batches())
    assert len(history) == len(history.lrs) == len(history.grad_norms) == 90
    assert after.loss < before.loss / 2 and after.accuracy > 0.85
    assert max(history.lrs) == pytest.approx(1e-2) and history.lrs[8] == max(history.lrs) and not model.training


def test_training_twice_gives_the_same_weights_dropout_included():
    runs = []
    for _ in range(2):
        model = Tiny()
        torch.randn(7)  # what was drawn before must not matter
        train(model, make_batches(), TrainConfig(max_lr=1e-2, num_epochs=2))
        runs.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    assert torch.equal(*runs)


def test_the_loop_equals_one_written_with_torch_alone():
    config = TrainConfig(max_lr=1e-2, num_epochs=2, grad_clip_norm=0.1, weight_decay=0.1)
    model, twin = Tiny(), Tiny()
    train(model, make_batches(), config)
    optimizer, steps = make_adamw(twin, config), 6
    torch.manual_seed(config.seed)
    for step, batch in enumerate(make_batches() * 2):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * warmup_linear(step, config.warmup_steps(steps), steps)
        optimizer.zero_grad()
        twin(**batch).loss.backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
        optimizer.step()
    for got, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(got, expected)


def test_a_loss_that_is_not_finite_stops_at_once():
    batches = make_batches()
    batches[1]["inputs"][0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match="loss of step 1 is nan"):
        train(Tiny(), batches, TrainConfig())


def test_biases_and_norms_do_not_decay_and_the_head_has_its_own_rate():
    model = Tiny()
    model.body.weight.requires_grad_(False)
    groups = parameter_groups(model, TrainConfig(max_lr=1e-4, head_lr=1e-2, weight_decay=0.3))
    found = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    expected = {"body.bias": (1e-4, 0), "norm.weight": (1e-4, 0), "norm.bias": (1e-4, 0)}
    expected |= {"classifier.weight": (1e-2, 0.3), "classifier.bias": (1e-2, 0)}
    assert found == {id(p): expected[name] for name, p in model.named_parameters() if p.requires_grad}


def test_a_model_without_anything_to_train_is_refused():
    model = Tiny().requires_grad_(False)
    with pytest.raises(ValueError, match="Unfreeze"):
        make_adamw(model, TrainConfig())


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 1e6])
def test_clipping_equals_torch(max_norm):
    pairs = []
    for clip in (clip_grad_norm, nn.utils.clip_grad_norm_):
        model = Tiny()
        model(**make_batches()[0]).loss.backward()
        model.norm.bias.grad = None
        norm = clip(model.parameters(), max_norm)
        pairs.append([norm, *(p.grad for p in model.parameters() if p.grad is not None)])
    for got, expected in zip(*pairs, strict=True):
        torch.testing.assert_close(got, expected)


def test_the_schedule_wastes_no_step_and_falls_in_a_straight_line():
    factors = [warmup_linear(step, 4, 12) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0] and factors[12] == 0
    falls = [a - b for a, b in zip(factors[3:-1], factors[4:], strict=True)]
    assert falls == pytest.approx([1 / 9] * 9)
    assert warmup_linear(0, 1, 1) == 1.0


def test_a_warmup_longer_than_the_run_is_refused():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    for warmup_steps in (0, 6):
        with pytest.raises(ValueError, match=f"got {warmup_steps} of 5"):
            make_schedule(optimizer, warmup_steps, 5)


def test_evaluation_does_not_depend_on_how_examples_are_batched():
    whole, model = make_batches((37,))[0], Tiny()
    parts = [{name: tensor[a:b] for name, tensor in whole.items()} for a, b in [(0, 16), (16, 35), (35, 37)]]
    one, many = evaluate(model, [whole]), evaluate(model, parts)
    assert (one.loss, one.accuracy, one.num_examples) == (pytest.approx(many.loss), many.accuracy, many.num_examples)
    torch.testing.assert_close(predict_logits(model, parts), predict_logits(model, [whole]))


def test_evaluation_switches_dropout_off_and_leaves_the_mode_as_it_was():
    model = Tiny().train()
    assert torch.equal(predict_logits(model, make_batches()), predict_logits(model, make_batches()))
    assert model.training


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="no examples"):
        evaluate(Tiny(), [])
