"""What lesson 14 says, checked outside of it: its modules as a learner runs them, and DDP's arithmetic on ranks."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler

from course_utils.distributed.data_parallel import ddp_loss, shard_indices
from course_utils.distributed.launch import launch, rank_environment
from course_utils.exercises import catalogue
from course_utils.exercises.framework import evaluate
from course_utils.notebook.percent import read_source

SOURCE = Path(__file__).parents[1] / "notebooks" / "src" / "14_pytorch_ddp.py"
MAGIC = "%%module "
CAPTURED = {"capture_output": True, "text": True, "timeout": 120}


@pytest.fixture
def modules(tmp_path):
    """A folder with the modules that the lesson's cells write, as a learner would save them."""
    folder = tmp_path / "Größe und Maß"
    folder.mkdir()
    for cell in read_source(SOURCE).cells:
        if cell.source.startswith(MAGIC):
            magic, _, text = cell.source.partition("\n")
            (folder / magic.removeprefix(MAGIC)).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("num_examples", [1, 2, 11, 12, 1437])
def test_shards_are_those_of_the_distributed_sampler(num_examples, world_size):
    for rank in range(world_size):
        sampler = DistributedSampler(range(num_examples), num_replicas=world_size, rank=rank, shuffle=False)
        assert shard_indices(num_examples, rank, world_size) == list(sampler)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda losses, num_global, world_size: losses * world_size / num_global, "got shape (7,)"),
        (lambda losses, num_global, world_size: losses.sum().item() * world_size / num_global, "without a gradient"),
        (lambda losses, num_global, world_size: losses.detach().sum() / num_global, "without a gradient"),
        (lambda losses, num_global, world_size: losses.mean() * len(losses) * world_size / num_global, "Got nan"),
    ],
)
def test_a_loss_that_ranks_could_not_differentiate_is_told_so(answer, told):
    verdict = evaluate(catalogue.find("14.3"), answer)
    assert verdict.status == "wrong"
    assert told in verdict.headline


def uneven_gradient(sizes: list[int]) -> torch.Tensor:
    """A rank's gradient of a linear model when rank r has sizes[r] of the examples, through DDP and `ddp_loss`."""
    inputs, targets = uneven_data(sum(sizes))
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    model = DistributedDataParallel(linear_model())
    logits = model(inputs.split(sizes)[rank])
    losses = F.cross_entropy(logits, targets.split(sizes)[rank], reduction="none")
    ddp_loss(losses, sum(sizes), world_size).backward()
    return model.module.weight.grad


def uneven_data(num: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, 5, generator=generator), torch.randint(3, (num,), generator=generator)


def linear_model() -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(5, 3)


@pytest.mark.multiprocess
@pytest.mark.parametrize("sizes", [[9], [8, 1], [5, 0, 4]])
def test_ddp_loss_gives_one_process_gradients(sizes):
    inputs, targets = uneven_data(sum(sizes))
    model = linear_model()
    F.cross_entropy(model(inputs), targets).backward()
    for gradient in launch(uneven_gradient, len(sizes), sizes=sizes):
        torch.testing.assert_close(gradient, model.weight.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.multiprocess
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_the_lessons_script_trains_the_same_model_on_any_number_of_ranks(modules, monkeypatch, world_size):
    monkeypatch.syspath_prepend(str(modules))
    settings = {"num_epochs": 1, "global_batch_size": 32, "init_group": False}
    (reference,) = launch("ddp_train:main", 1, **settings)
    ranks = launch("ddp_train:main", world_size, **settings)
    full_steps = 1437 // 32
    losses = torch.tensor([rank["losses"] for rank in ranks]).mean(0)
    torch.testing.assert_close(
        losses[:full_steps], torch.tensor(reference["losses"])[:full_steps], rtol=1e-4, atol=1e-5
    )
    for rank in ranks:
        torch.testing.assert_close(rank["gradient"], reference["gradient"], rtol=1e-4, atol=1e-6)
        assert torch.equal(rank["weights"], ranks[0]["weights"])


@pytest.mark.slow
@pytest.mark.multiprocess
def test_the_commands_of_the_last_section_run_from_a_terminal(modules):
    (command,) = {line.split("#")[0].strip() for line in command_lines() if "--nproc-per-node=2" in line}
    (job,) = {line.removeprefix("job=").strip('"') for line in command_lines() if line.startswith("job=")}
    words = [sys.executable, "-m", "torch.distributed.run", *command.replace("$job", job).split()[1:]]
    done = subprocess.run(words, cwd=modules, env=rank_environment() | {"LC_ALL": "C"}, **CAPTURED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"epoch {epoch} of 5 done" for epoch in range(1, 6)]


def command_lines() -> list[str]:
    """The lines of the lesson's shell commands."""
    (cell,) = [cell for cell in read_source(SOURCE).cells if cell.id == "elsewhere-intro"]
    return cell.source.partition("```bash\n")[2].partition("```")[0].splitlines()
