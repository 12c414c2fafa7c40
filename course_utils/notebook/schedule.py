"""Runs several jobs at once without overfilling the machine: the longest first, as many as memory and `limit` allow.

It decides when; what a job does is the caller's function.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psutil

from course_utils.notebook.selection import Job

CORES_PER_KERNEL = 2
MEMORY_SHARE = 0.8  # of what is free now; the rest is for the system and for what a run needs more than last time


def default_jobs(profile: str) -> int:
    """One below four cores, else a job for every two; one at a time on a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if cores < 4 or profile == "gpu" else cores // CORES_PER_KERNEL


async def run_all(jobs: Sequence[Job], limit: int, work: Callable[[Job], Awaitable[Any]]) -> None:
    """Await `work(job)` for every job. When this is cancelled or one raises, the others are cancelled and awaited."""
    free_mb = psutil.virtual_memory().available / 2**20 * MEMORY_SHARE
    waiting = sorted(jobs, key=lambda job: -job.expected_s) if limit > 1 else list(jobs)
    running: dict[asyncio.Task, Job] = {}
    try:
        while waiting or running:
            while job := _next(waiting, list(running.values()), limit, free_mb):
                waiting.remove(job)
                running[asyncio.ensure_future(work(job))] = job
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                running.pop(task)
                task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _next(waiting: list[Job], running: list[Job], limit: int, free_mb: float) -> Job | None:
    """The first waiting job that fits; any job fits an idle machine."""
    if not running:
        return waiting[0] if waiting else None
    if len(running) >= limit:
        return None
    left = free_mb - sum(job.expected_mb for job in running)
    return next((job for job in waiting if job.expected_mb <= left), None)
