"""Two losses at once, counted honestly; and a run that stops and goes on as if it had not, to the last digit."""

import pytest
import torch

from course_utils.config import TrainConfig
from course_utils.errors import UserError
from course_utils.models.bert import BertForPreTraining
from course_utils.models.bert_config import BertConfig
from course_utils.training.optim import make_adamw
from course_utils.training.pretraining import evaluate_pretraining, pretrain
from course_utils.training.resume import STATE, load_state, save_state

SIZES = {"vocab_size": 23, "d_model": 8, "num_layers": 1, "num_heads": 2, "d_ff": 12, "context_length": 9}
CONFIG = TrainConfig(max_lr=1e-2)


class Batches:
    """Five random batches, a function of the step."""

    def __len__(self) -> int:
        return 5

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        g = torch.Generator().manual_seed(step)
        ids = torch.randint(5, 23, (3 + step % 2, 7), generator=g)
        labels = torch.where(torch.rand(ids.shape, generator=g) < 0.3, ids, -100)
        labels[0, 0] = ids[0, 0]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": labels,
            "next_sentence_label": torch.randint(2, (len(ids),), generator=g),
        }


def make_model(dropout: float = 0.1) -> BertForPreTraining:
    torch.manual_seed(0)
    return BertForPreTraining(BertConfig(**SIZES, dropout=dropout))


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_run_that_goes_on_is_the_run_that_never_stopped(tmp_path):
    whole, stopped = make_model(), make_model()
    torch.manual_seed(7)
    history = pretrain(whole, Batches(), make_adamw(whole, CONFIG), CONFIG)

    optimizer = make_adamw(stopped, CONFIG)
    torch.manual_seed(7)
    with pytest.raises(KeyboardInterrupt):
        pretrain(
            stopped,
            Batches(),
            optimizer,
            CONFIG,
            on_step=lambda done, _: stop_after(done, stopped, optimizer, tmp_path),
        )
    torch.manual_seed(99)  # another process: nothing of the first one is left but the file
    resumed = make_model()
    optimizer = make_adamw(resumed, CONFIG)
    first_step = load_state(tmp_path, resumed, optimizer, {"run": 1})
    assert first_step == 2
    rest = pretrain(resumed, Batches(), optimizer, CONFIG, first_step=first_step)
    assert rest.mlm_losses == history.mlm_losses[2:] and rest.nsp_losses == history.nsp_losses[2:]
    assert torch.equal(weights(whole), weights(resumed))


def stop_after(done: int, model, optimizer, folder) -> None:
    if done == 2:
        save_state(folder, model, optimizer, done, {"run": 1})
        raise KeyboardInterrupt


def test_nothing_saved_means_start_at_zero(tmp_path):
    model = make_model()
    assert load_state(tmp_path, model, make_adamw(model, CONFIG), {}) == 0


@pytest.mark.parametrize("damage", ["cut", "other file", "settings", "model"])
def test_what_cannot_go_on_is_refused_and_changes_nothing(tmp_path, damage):
    model = make_model()
    save_state(tmp_path, model, make_adamw(model, CONFIG), 3, {"lr": 0.1})
    path, settings = tmp_path / STATE, {"lr": 0.1}
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "other file":
        from safetensors.torch import save_file

        save_file({"x": torch.ones(1)}, path)
    elif damage == "settings":
        settings = {"lr": 0.2}
    elif damage == "model":
        model = BertForPreTraining(BertConfig(**SIZES | {"d_ff": 16}))
    messages = {
        "cut": "is damaged or cut off",
        "other file": "is no state of a training run",
        "settings": "lr was 0.1, now 0.2",
        "model": "holds another model",
    }
    before, content = weights(model).clone(), path.read_bytes()
    with pytest.raises(UserError, match=messages[damage]):
        load_state(tmp_path, model, make_adamw(model, CONFIG), settings)
    assert torch.equal(weights(model), before) and path.read_bytes() == content


def test_training_lowers_both_losses_and_nsp_can_be_left_out():
    model = make_model(0.0)
    many = Batches()
    before = evaluate_pretraining(model, [many.batch(s) for s in range(5)])
    config = TrainConfig(max_lr=1e-2)
    for _ in range(12):
        history = pretrain(model, many, make_adamw(model, config), config)
    after = evaluate_pretraining(model, [many.batch(s) for s in range(5)])
    assert after.mlm_loss < before.mlm_loss and after.nsp_loss < before.nsp_loss
    assert history.num_tokens == sum(3 + s % 2 for s in range(5)) * 7
    head = model.next_sentence.weight.clone()
    without = pretrain(model, many, make_adamw(model, TrainConfig(weight_decay=0.0)), config, use_nsp=False)
    assert torch.equal(model.next_sentence.weight, head) and set(without.nsp_losses) == {0.0}


def test_evaluation_counts_words_not_batches():
    model = make_model().eval()
    batches = [Batches().batch(step) for step in range(4)]
    found = evaluate_pretraining(model, batches)
    totals, hits, words = 0.0, 0, 0
    with torch.inference_mode():
        for batch in batches:
            logits = model(batch["input_ids"]).mlm_logits
            for b, t in (batch["labels"] >= 0).nonzero().tolist():
                totals -= logits[b, t].log_softmax(-1)[batch["labels"][b, t]].item()
                hits += int(logits[b, t].argmax() == batch["labels"][b, t])
                words += 1
    assert found.num_targets == words and found.num_pairs == 14
    assert found.mlm_loss == pytest.approx(totals / words, rel=1e-5) and found.mlm_accuracy == hits / words


def test_a_loss_that_is_not_finite_stops_the_run():
    model = make_model()
    with torch.no_grad():
        model.vocab_bias[3] = float("nan")
    with pytest.raises(FloatingPointError, match="the loss of step 0 is nan"):
        pretrain(model, Batches(), make_adamw(model, CONFIG), CONFIG)


def test_nothing_to_evaluate_is_refused():
    batch = Batches().batch(0)
    with pytest.raises(ValueError, match="0 hidden words"):
        evaluate_pretraining(make_model(), [batch | {"labels": torch.full_like(batch["labels"], -100)}])
