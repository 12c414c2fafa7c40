"""Data parallel training as arithmetic: who gets which examples, and what each rank's loss must be.

The pieces that lesson 14 has its readers write. It starts no process and calls no collective.
"""

import math

import torch


def shard_indices(num_examples: int, rank: int, world_size: int) -> list[int]:
    """The indices that `rank` works on: dealt out in turn, and equally many for every rank.

    The shards of `torch.utils.data.DistributedSampler(shuffle=False)`. Where the examples do not suffice for the last
    round, it is completed from the beginning of the list, so that some examples occur twice.
    """
    total = math.ceil(num_examples / world_size) * world_size
    return [index % num_examples for index in range(rank, total, world_size)]


def ddp_loss(losses: torch.Tensor, num_global: int, world_size: int) -> torch.Tensor:
    """What a rank must differentiate so that DDP's average over ranks is the mean over all examples.

    losses: (n,), those of this rank's n examples; n may differ between ranks and be 0.
    num_global: how many examples all ranks have together in this step.
    Returns a scalar.
    """
    return losses.sum() * world_size / num_global
