"""Process groups of ranks on one machine, made and left without what goes wrong there.

Two functions of torch.distributed are replaced inside ranks, before a target is imported. Their meaning stays the same.
It does not choose a backend and starts nothing.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d

_kept: list[Any] = []


def keep_groups_alive() -> None:
    """Let `destroy_process_group` forget a group without running its destructor; the exit that follows frees it.

    gloo's destructor waits for its threads while it holds Python's lock. A thread that is just giving back the last
    tensor of an all-reduce waits for that lock: a deadlock, seen in 1 of 4 DDP runs with four ranks on two busy cores.
    """
    destroy = distributed_c10d.destroy_process_group

    def destroy_process_group(group: Any = None) -> None:
        _kept.append(group or dist.group.WORLD)
        destroy(group)

    _replace("destroy_process_group", destroy_process_group)


def meet_through_file(path: Path, timeout: timedelta) -> None:
    """Let `init_process_group`, where it would meet at MASTER_ADDR and MASTER_PORT, meet through a file instead.

    For the sake of its log, torch's TCP store asks a name server for the name of every address, 127.0.0.1 included. On
    a laptop that is offline, or whose name server is slow, each launch would wait for 5 seconds and more.
    """
    init = distributed_c10d.init_process_group

    def init_process_group(backend: str | None = None, init_method: str | None = None, **options: Any) -> None:
        if init_method in (None, "env://") and options.get("store") is None:
            rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
            store = dist.FileStore(str(path), world_size)
            store.set_timeout(options.get("timeout") or timeout)
            options |= {"store": store, "rank": rank, "world_size": world_size}
            init_method = None
        init(backend, init_method, **options)

    _replace("init_process_group", init_process_group)


def _replace(name: str, function: Callable[..., None]) -> None:
    """In both modules under which programs find the function."""
    setattr(dist, name, function)
    setattr(distributed_c10d, name, function)
