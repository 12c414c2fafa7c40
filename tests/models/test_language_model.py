"""The chunked loss is plain cross-entropy: values, gradients, ignored targets, memory; and it trains."""

import pytest
import torch
import torch.nn.functional as F

from course_utils.config import TrainConfig
from course_utils.models import language_model
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.language_model import LanguageModelLoss, vocabulary_cross_entropy
from course_utils.training.loop import train

TINY = GPTConfig.gpt2(vocab_size=41, d_model=24, num_layers=2, num_heads=3, context_length=13)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Several chunks, the last one smaller, also for a few rows."""
    monkeypatch.setattr(language_model, "CHUNK_BYTES", 1)
    monkeypatch.setattr(language_model, "MIN_CHUNK_ROWS", 4)


def batch_for(ignored=0):
    ids = torch.randint(0, 41, (3, 8), generator=torch.Generator().manual_seed(0))
    targets = ids[:, 1:].clone()
    targets.flatten()[:ignored] = -100
    return {"input_ids": ids[:, :-1], "targets": targets}


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("ignored", [0, 9])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_equals_plain_cross_entropy(is_tied, ignored, dtype, atol):
    torch.manual_seed(0)
    model = GPT(GPTConfig.llama(vocab_size=41, d_model=24, num_layers=2, num_heads=3, is_tied=is_tied)).to(dtype)
    batch = batch_for(ignored)
    plain = F.cross_entropy(model(batch["input_ids"]).flatten(0, 1), batch["targets"].flatten())
    (3 * plain).backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    found = LanguageModelLoss(model)(**batch)
    (3 * found.loss).backward()
    assert found.num_targets == 21 - ignored
    torch.testing.assert_close(found.loss, plain, atol=atol, rtol=0)
    torch.testing.assert_close([p.grad for p in model.parameters()], expected, atol=atol, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(LanguageModelLoss(model)(**batch).loss, plain.detach(), atol=atol, rtol=0)


def test_gradients_follow_the_numbers():
    torch.manual_seed(0)
    hidden, weight = torch.randn(7, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    hidden.requires_grad_(), weight.requires_grad_()
    targets = torch.tensor([0, 5, 1, 1, 2, 3, 0])
    assert torch.autograd.gradcheck(lambda h, w: vocabulary_cross_entropy(h, w, targets), (hidden, weight))


def test_a_certain_and_wrong_model_has_a_finite_loss():
    hidden, weight = torch.tensor([[1000.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    loss = vocabulary_cross_entropy(hidden, weight, torch.tensor([1]))
    loss.backward()
    assert loss.item() == 2000 and hidden.grad.item() == 2


def test_padding_is_left_out():
    torch.manual_seed(0)
    model, batch = GPT(TINY), batch_for(7)
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[0] = False  # the row whose targets are ignored
    loss = LanguageModelLoss(model)(**batch, attention_mask=mask).loss
    rest = {name: tensor[1:] for name, tensor in batch.items()}
    torch.testing.assert_close(loss, LanguageModelLoss(model)(**rest).loss)


def test_half_precision_matmuls_under_autocast():
    torch.manual_seed(0)
    model, batch = GPT(TINY), batch_for()
    full = LanguageModelLoss(model)(**batch).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LanguageModelLoss(model)(**batch).loss
    loss.backward()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(full.item(), abs=0.02)
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


def test_it_trains_with_the_courses_loop():
    torch.manual_seed(0)
    module = LanguageModelLoss(GPT(TINY))
    history = train(module, [batch_for()] * 30, TrainConfig(max_lr=0.01, num_epochs=1))
    assert history.losses[-1] < 0.3 * history.losses[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda targets: targets[:, 1:], r"targets must have shape \(3, 7\)"),
        (lambda targets: targets + 41, "targets must be from 0 to 40, or -100"),
        (lambda targets: targets * 0 - 100, "every target is -100"),
    ],
)
def test_bad_targets_are_clear_errors(change, message):
    batch = batch_for()
    with pytest.raises(ValueError, match=message):
        LanguageModelLoss(GPT(TINY))(batch["input_ids"], change(batch["targets"]))
