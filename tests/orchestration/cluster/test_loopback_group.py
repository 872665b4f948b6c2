"""A group of processes that meet on loopback listens nowhere else."""

from __future__ import annotations

import datetime as dt
import multiprocessing
from multiprocessing.queues import Queue

import psutil
import torch
import torch.distributed as dist

from orchestration.cluster.loopback_group import Meeting
from orchestration.training.worker_setup import gather_texts

TEXTS = ["", "the latents cannot be read: größer\n", "x"]
Found = tuple[int, float, list[str], list[str]]


def member(rank: int, world_size: int, places: Queue[Meeting], found: Queue[Found]) -> None:
    """One process of the group. Args: places: rank 0 puts the meeting there, for the others."""
    meeting = Meeting.open() if rank == 0 else places.get(timeout=60)
    for _ in range(world_size - 1 if rank == 0 else 0):
        places.put(meeting)
    meeting.join("gloo", rank, world_size, dt.timedelta(seconds=60))
    total = torch.tensor([float(rank + 1)])
    dist.all_reduce(total)
    texts = gather_texts(TEXTS[rank], torch.device("cpu"))
    heard = [c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
    found.put((rank, float(total), texts, heard))
    dist.barrier()
    dist.destroy_process_group()


def test_a_group_on_loopback_listens_nowhere_else_and_tells_texts() -> None:
    context = multiprocessing.get_context("spawn")
    places: Queue[Meeting] = context.Queue()
    found: Queue[Found] = context.Queue()
    members = [context.Process(target=member, args=(rank, 3, places, found)) for rank in range(3)]
    for process in members:
        process.start()
    answers = sorted(found.get(timeout=120) for _ in members)
    for process in members:
        process.join(60)
        assert process.exitcode == 0
    assert [(rank, total, texts) for rank, total, texts, _ in answers] == [(rank, 6.0, TEXTS) for rank in range(3)]
    heard = {ip.removeprefix("::ffff:") for *_, addresses in answers for ip in addresses}
    assert heard == {"127.0.0.1"}
