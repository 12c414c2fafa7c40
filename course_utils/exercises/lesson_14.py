"""Exercises of lesson 14: shards of a data set, the learning rate, the loss under DDP, the role of a process."""

import math

import torch

from course_utils.distributed.data_parallel import ddp_loss, shard_indices
from course_utils.exercises.expect import expect, expect_close, expect_equal
from course_utils.exercises.framework import Exercise

BASE_LR, NUM_RANKS = 0.1, 4


def check_shard_indices(shard_indices) -> None:
    """Every image is used, all shards are equally long, every rank takes every world_size-th index."""
    for num_examples, world_size in [(8, 2), (11, 2), (10, 3), (4, 4), (2, 3), (2, 5)]:
        # The oracle deals indices out like cards, and starts again at the first while the last round is incomplete.
        hands = [[] for _ in range(world_size)]
        for card in range(math.ceil(num_examples / world_size) * world_size):
            hands[card % world_size].append(card % num_examples)
        for rank, hand in enumerate(hands):
            expect_equal(
                list(shard_indices(num_examples, rank, world_size)),
                hand,
                tried=f"shard_indices(num_examples={num_examples}, rank={rank}, world_size={world_size})",
                question="Deal the indices out like cards, one to each rank in turn. What completes the last round?",
            )


def drops_the_tail(num_examples, rank, world_size):
    """drops the images of the last, incomplete round instead of completing it"""
    return list(range(rank, num_examples // world_size * world_size, world_size))


def uneven_shards(num_examples, rank, world_size):
    """leaves some ranks one image short: they would stop a step early and the others would wait for ever"""
    return list(range(rank, num_examples, world_size))


def contiguous_shards(num_examples, rank, world_size):
    """cuts contiguous blocks: correct as a division, but a global batch is then no longer a run of the shuffled list"""
    per_rank = math.ceil(num_examples / world_size)
    return [index % num_examples for index in range(rank * per_rank, (rank + 1) * per_rank)]


def completes_once(num_examples, rank, world_size):
    """completes the list once; with fewer images than half the ranks, that is not enough"""
    indices = list(range(num_examples))
    indices += indices[: -num_examples % world_size]
    return indices[rank::world_size]


def same_shard_everywhere(num_examples, rank, world_size):
    """ignores the rank: every process would do the same work on the same images"""
    return shard_indices(num_examples, 0, world_size)


def check_ddp_loss(ddp_loss) -> None:
    """Averaged over 1, 2 and 3 ranks with uneven batches, losses and gradients are those of the whole batch."""
    inputs = torch.tensor([0.5, 2.0, 1.25, 3.0, 0.25, 4.0, 1.5])
    for sizes in ([7], [4, 3], [5, 2], [1, 4, 2], [4, 0, 3]):
        weight = torch.tensor(3.0, requires_grad=True)
        shares = [one_share(ddp_loss, weight * piece, len(inputs), len(sizes)) for piece in inputs.split(sizes)]
        tried = f"7 losses dealt out to ranks as {' + '.join(map(str, sizes))}; the mean over ranks, which DDP takes"
        question = "DDP adds the gradients up and divides by the number of ranks. What must each rank hand in?"
        averaged = sum(shares) / len(shares)
        expect_close(averaged.item(), (3.0 * inputs).double().mean().item(), tried=tried, question=question)
        (gradient,) = torch.autograd.grad(averaged, weight)
        expect_close(gradient.item(), inputs.double().mean().item(), tried=f"{tried}; its gradient", question=question)


def one_share(ddp_loss, losses: torch.Tensor, num_global: int, world_size: int) -> torch.Tensor:
    """What the answer returns for one rank, made sure to be one number that has a gradient."""
    share = ddp_loss(losses, num_global, world_size)
    expect(share is not None, "Your function returned None.", "Did you forget `return`?")
    shape = tuple(getattr(share, "shape", ()))
    expect(shape == (), f"A loss is one number, shape (); got shape {shape}.", "Did you add the losses up?")
    has_gradient = isinstance(share, torch.Tensor) and share.requires_grad
    value = torch.as_tensor(share).item()
    expect(
        has_gradient,
        f"Got {value:.4g} for {len(losses)} losses, but without a gradient: DDP would have none to average.",
        "Is everything computed from `losses`, on every rank, without `.item()`, `.detach()` or `torch.tensor(...)`?",
    )
    is_nan = not len(losses) and bool(share.isnan())
    expect(not is_nan, "Got nan for a rank without images.", "A mean of no losses is 0/0. What is a sum of none?")
    return share


def own_mean(losses, num_global, world_size):
    """takes the mean over this rank's own images: with uneven ranks the result is a mean of means"""
    return losses.sum() / max(len(losses), 1)


def forgets_the_division(losses, num_global, world_size):
    """forgets that DDP divides by the number of ranks: right for gradients that are summed, too small here"""
    return losses.sum() / num_global


def multiplies_a_mean(losses, num_global, world_size):
    """multiplies this rank's mean by the number of ranks, which changes the scale but not the weights of images"""
    return losses.sum() / max(len(losses), 1) * world_size


def role_of_process(environment: dict[str, str]) -> tuple[str, bool]:
    """The device this process computes on ("cuda:0", "cuda:1", ...) and whether it is the one that saves and prints.

    `environment` holds what torchrun sets: RANK, LOCAL_RANK, WORLD_SIZE and LOCAL_WORLD_SIZE, all as text.
    """
    device = f"cuda:{environment['LOCAL_RANK']}"  # counted anew on each machine, as its GPUs are
    is_main = int(environment["RANK"]) == 0  # one in the whole job
    return device, is_main


def check_role_of_process(role_of_process) -> None:
    """On one machine and on three, every process has a GPU of its own and exactly one process saves."""
    for num_machines, num_gpus in [(1, 2), (2, 4), (3, 2)]:
        world_size = num_machines * num_gpus
        for rank in range(world_size):
            machine, place = divmod(rank, num_gpus)
            environment = {
                "RANK": str(rank),
                "LOCAL_RANK": str(place),
                "WORLD_SIZE": str(world_size),
                "LOCAL_WORLD_SIZE": str(num_gpus),
            }
            expect_equal(
                role_of_process(environment),
                (f"cuda:{place}", rank == 0),
                tried=f"rank {rank} of {world_size}: machine {machine} of {num_machines}, each with {num_gpus} GPUs",
                question="Which number is unique in the whole job, and which one is counted anew on each machine?",
            )


def device_from_rank(environment):
    """takes the device from RANK: on the second machine there is no such GPU"""
    return f"cuda:{environment['RANK']}", environment["RANK"] == "0"


def main_from_local_rank(environment):
    """takes LOCAL_RANK for the main process: one process on *each* machine would write the same file"""
    return f"cuda:{environment['LOCAL_RANK']}", environment["LOCAL_RANK"] == "0"


def compares_text_with_number(environment):
    """compares text with a number: "0" == 0 is False, so nobody ever saves"""
    return f"cuda:{environment['LOCAL_RANK']}", environment["RANK"] == 0


def check_scaled_lr(scaled_lr: float) -> None:
    """Four ranks of 64 make a global batch of 256, four times the old one; the rule multiplies by the same factor."""
    factor = sum(64 for _ in range(NUM_RANKS)) / 64
    expect(
        isinstance(scaled_lr, int | float) and math.isclose(scaled_lr, BASE_LR * factor),
        f"It is not {scaled_lr}.",
        "How many images does one step use now, and how many steps does an epoch have?",
    )


EXERCISES = [
    Exercise(
        "14.1",
        title="deal a data set out to ranks",
        solution=shard_indices,
        check=check_shard_indices,
        minutes=15,
        difficulty=2,
        wrong=[drops_the_tail, uneven_shards, contiguous_shards, completes_once, same_shard_everywhere],
        hints=[
            "First make the list of indices long enough that `world_size` divides its length. By how much?",
            "A rank's shard is a slice with a step: `indices[rank::world_size]`.",
            "With fewer images than ranks the list must be repeated more than once; `index % num_examples` does that.",
        ],
    ),
    Exercise(
        "14.2",
        title="the learning rate of a larger batch",
        name="scaled_lr",
        solution=0.4,
        check=check_scaled_lr,
        minutes=5,
        difficulty=1,
        wrong=[
            (
                0.1,
                "keeps the learning rate: an averaged gradient is no larger, but there are now four times fewer steps",
            ),
            (0.025, "divides: that would be right if gradients were summed instead of averaged"),
            (0.2, "multiplies by the square root, another rule that is used with Adam, not the linear one asked for"),
        ],
        hints=["How large is the global batch, compared with before?", "Linear: as many times the learning rate."],
    ),
    Exercise(
        "14.3",
        title="a loss that survives uneven batches",
        solution=ddp_loss,
        check=check_ddp_loss,
        minutes=10,
        difficulty=3,
        wrong=[own_mean, forgets_the_division, multiplies_a_mean],
        hints=[
            "Write the mean over all images as one fraction. Which part of its numerator does this rank know?",
            "DDP returns (sum over ranks) / world_size. Multiply by what it is going to divide by.",
        ],
    ),
    Exercise(
        "14.4",
        title="which GPU, and who saves?",
        solution=role_of_process,
        check=check_role_of_process,
        minutes=5,
        difficulty=1,
        wrong=[device_from_rank, main_from_local_rank, compares_text_with_number],
        hints=[
            "Environment variables are text. Read them from the argument: this notebook is not one of the ranks.",
            "On a second machine with four GPUs, RANK runs from 4 to 7 and LOCAL_RANK from 0 to 3.",
        ],
    ),
]
