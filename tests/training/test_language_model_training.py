"""Training a language model: accumulated gradients are the big batch's, a resumed run is the run, averages count."""

import pytest
import torch

from course_utils.config import TrainConfig
from course_utils.data.language_model import BlockBatches, evaluation_blocks
from course_utils.models.gpt import GPT
from course_utils.models.gpt_config import GPTConfig
from course_utils.models.language_model import LanguageModelLoss
from course_utils.training.language_model import (
    GPT_RUN,
    accumulate_gradients,
    evaluate_language_model,
    train_language_model,
)
from course_utils.training.optim import make_adamw
from course_utils.training.resume import load_state, save_state

CONFIG = TrainConfig(max_lr=1e-2, warmup_fraction=0.25, **GPT_RUN)


def make_model(dropout: float = 0.0) -> LanguageModelLoss:
    torch.manual_seed(0)
    sizes = {"vocab_size": 29, "d_model": 8, "num_layers": 2, "num_heads": 2, "context_length": 11}
    return LanguageModelLoss(GPT(GPTConfig.gpt2(**sizes, dropout=dropout)))


def make_batches(num_steps: int = 8) -> BlockBatches:
    ids = torch.randint(29, (400,), generator=torch.Generator().manual_seed(1))
    return BlockBatches(ids, batch_size=5, context_length=11, num_steps=num_steps)


def gradients(model, batch, num_micro_batches: int) -> tuple[float, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    loss = accumulate_gradients(model, batch, num_micro_batches)
    return loss, torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("num_parts", [2, 3, 5])
def test_parts_of_unequal_size_add_up_to_the_big_batch(num_parts):
    model, batch = make_model(), make_batches().batch(0)
    targets = batch["targets"].clone()
    targets[0, 2:], targets[3] = -100, -100  # a row with two targets, and one with none but 4 others in the batch
    targets[3, 0] = 5
    batch = {**batch, "targets": targets}
    loss, whole = gradients(model, batch, 1)
    parts_loss, parts = gradients(model, batch, num_parts)
    assert parts_loss == pytest.approx(loss, abs=1e-6)
    assert torch.allclose(parts, whole, atol=1e-6)
    mean_of_means = sum(
        model(**{name: rows[i : i + 1] for name, rows in batch.items()}).loss.item() for i in range(5)
    ) / len(targets)
    assert abs(mean_of_means - loss) > 1e-3, "the batch cannot tell the right average from the wrong one"


def test_more_parts_than_sequences_are_refused():
    for wrong in (0, 6):
        with pytest.raises(ValueError, match=f"1 to 5 parts; got {wrong}"):
            accumulate_gradients(make_model(), make_batches().batch(0), wrong)


def test_a_run_that_goes_on_is_the_run_that_never_stopped(tmp_path):
    def run(model, optimizer, first_step=0, stop_at=None) -> list[float]:
        def on_step(done, history):
            if done == stop_at:
                save_state(tmp_path, model, optimizer, done, {"seed": 0})
                raise KeyboardInterrupt

        history = train_language_model(
            model, make_batches(), optimizer, CONFIG, first_step=first_step, num_micro_batches=2, on_step=on_step
        )
        return history.losses

    whole = make_model(dropout=0.2)
    torch.manual_seed(3)
    wanted = run(whole, make_adamw(whole, CONFIG, head_names=()))
    stopped = make_model(dropout=0.2)
    torch.manual_seed(3)
    with pytest.raises(KeyboardInterrupt):
        run(stopped, make_adamw(stopped, CONFIG, head_names=()), stop_at=3)
    again = make_model(dropout=0.2)
    optimizer = make_adamw(again, CONFIG, head_names=())
    first_step = load_state(tmp_path, again, optimizer, {"seed": 0})
    assert run(again, optimizer, first_step) == wanted[3:]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


def test_the_learning_rate_warms_up_and_falls_as_a_cosine():
    model = make_model()
    history = train_language_model(model, make_batches(), make_adamw(model, CONFIG, head_names=()), CONFIG)
    assert history.lrs[0] == pytest.approx(0.005) and history.lrs[1] == pytest.approx(0.01)
    assert history.lrs[5] == pytest.approx(0.0055), "half way of the cosine: the middle of peak and floor"
    assert not model.training


def test_evaluation_counts_every_target_once():
    model = make_model().eval()
    ids = torch.randint(29, (38,), generator=torch.Generator().manual_seed(2))
    found = evaluate_language_model(model, evaluation_blocks(ids, 11, batch_size=2))
    total = 0.0
    for start in range(0, 37, 11):  # block by block, in float64 and by hand
        block = ids[start : start + 12]
        log_p = model.model(block[None, :-1]).double().log_softmax(-1)[0]
        total -= log_p[torch.arange(len(block) - 1), block[1:]].sum().item()
    assert found.num_targets == 37
    assert found.loss == pytest.approx(total / 37, abs=1e-5)
    with pytest.raises(ValueError, match="no batch"):
        evaluate_language_model(model, [])


def test_a_loss_that_is_not_finite_stops_the_run():
    model = make_model()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the loss of step 0 is nan"):
        train_language_model(model, make_batches(), make_adamw(model, CONFIG, head_names=()), CONFIG)
