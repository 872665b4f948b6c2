"""Fine-tuning tasks in a real gloo process group, with DeepSpeed and a store, without Ray."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing

from orchestration.storage.layout import TaskPaths
from orchestration.tasks.task import FinetuneAutoencoderTask
from orchestration.training import autoencoder_worker, checkpointed_run, early_stop
from orchestration.training import worker_setup as worker_start
from orchestration.training.autoencoder_worker import finetune_autoencoder
from orchestration.training.train_request import TrainRequest
from tests.support.process_group import join, leave

MEASURED = 20
"""Samples on which the effect is measured here; a task takes more."""


@dataclass(frozen=True)
class Attempt:
    """One execution of a task."""

    request: TrainRequest
    stops: bool = False
    """The driver wants it to stop, from the first point of its curve on."""
    damages: int = 0
    """Step of a checkpoint; before it begins, a bit flips in what the last worker wrote of it."""


class Board:
    """A board that is asked without Ray: what was told lies in a file."""

    def __init__(self, told: Path, *, stops: bool) -> None:
        self._told, self._stops = told, stops

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: object) -> object:
            if name in ("failed", "stopped"):
                with self._told.open("a") as file:
                    file.write(f"{name} {arguments}\n")
            return self._stops if name == "stopping" else None

        return SimpleNamespace(remote=remote)


def run_attempts(world_size: int, attempts: list[Attempt], folder: Path) -> str:
    """Runs them in order on `world_size` processes. Returns what the boards were told."""
    folder.mkdir(parents=True, exist_ok=True)
    meeting, told = folder / f"meeting-{uuid.uuid4().hex}", folder / f"told-{uuid.uuid4().hex}"
    told.touch()
    torch.multiprocessing.spawn(_run, (world_size, str(meeting), attempts, told), nprocs=world_size)
    return told.read_text()


def _flip_a_bit(checkpoint: Path) -> None:
    *_, path = sorted(checkpoint.glob("state-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _run(rank: int, world_size: int, meeting: str, attempts: list[Attempt], told: Path) -> None:
    join(rank, world_size, meeting)
    context = SimpleNamespace(get_world_size=lambda: world_size, get_world_rank=lambda: rank)
    device = SimpleNamespace(get_device=lambda: torch.device("cpu"))
    answers = {"get": lambda answer: answer, "wait": lambda answers, timeout: (answers, [])}  # noqa: ARG005
    without_ray = SimpleNamespace(
        **answers,
        train=SimpleNamespace(get_context=lambda: context, torch=device),
        exceptions=early_stop.ray.exceptions,
    )
    for module in (checkpointed_run, early_stop, worker_start):
        module.ray = without_ray  # type: ignore[attr-defined, assignment]  # of this process alone
    checkpointed_run.get_preemption_info = lambda: None
    early_stop._ASK_SECONDS, autoencoder_worker.MEASURED_SAMPLES = 0.0, MEASURED
    for attempt in attempts:
        board = Board(told, stops=attempt.stops)
        checkpointed_run.find_progress_board = worker_start.find_progress_board = lambda _, board=board: board
        task = attempt.request.task
        assert isinstance(task, FinetuneAutoencoderTask), f"{task.kind} trains no autoencoder"
        if attempt.damages and rank == 0:
            _flip_a_bit(Path(attempt.request.storage.root, TaskPaths(task.digest).checkpoint(attempt.damages)))
        torch.distributed.barrier()
        finetune_autoencoder(attempt.request, task)
        torch.distributed.barrier()
    leave()
