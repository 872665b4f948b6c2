"""Delay of a training by its checkpoints: uploaded in the background, saved before the next step, and none at all.

    python benchmarks/checkpoint_stall.py --megabytes 16 100 --step-milliseconds 250 --every 100

A worker with a state of so many megabytes (16: the quickstart's) saves once and then does steps of plain matrix
products on one thread. The ways take turns, in every round, for every size and storage; not saving does so twice, which
shows how much of a difference is the machine's other work. S3 is moto's, in a process of its own, behind a proxy that
adds bandwidth and latency. The extra time includes what the upload takes from the steps after the save, and here also
what the server takes from the same cores.

    python benchmarks/checkpoint_stall.py --worlds 1 2 4

saves a model's state in gloo worlds of so many workers at each ZeRO stage, and loads each of these states in each of
the worlds at each stage: bytes that a worker writes, collectives, the memory of a load, and whether every bit is there.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import fsspec
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from slow_s3 import slow_s3
from state_pieces import measure_pieces, show_pieces

from dfm_core.config.model import MODEL_SIZES
from dfm_core.training.engine import STATE_KINDS, OwnedPiece, StateKind, TrainingEngine
from orchestration.artifacts.training_artifacts import TrainingArtifacts
from orchestration.storage.store import Store
from orchestration.training.checkpoint_upload import StateUploads

NONE, AGAIN, BESIDE, BEFORE = "no checkpoint", "no checkpoint, again", "beside the training", "before it goes on"
WAYS = (NONE, AGAIN, BESIDE, BEFORE)
_TENSOR_BYTES = 1_000_000


@dataclass(frozen=True)
class Options:
    """The command line."""

    megabytes: tuple[int, ...]
    step_milliseconds: float
    every: int
    steps: int
    rounds: int
    bandwidth_megabytes: float
    latency_milliseconds: float


@dataclass(frozen=True)
class Timed:
    """One save and the steps after it."""

    save_seconds: float
    all_seconds: float


class Worker:
    """The part of a training engine that a checkpoint needs, with steps of a given cost."""

    rank, world_size, num_steps, device = 0, 1, 0, torch.device("cpu")
    kinds = STATE_KINDS

    def __init__(self, megabytes: int, step_seconds: float) -> None:
        num_tensors = max(1, megabytes * 1_000_000 // (_TENSOR_BYTES * len(STATE_KINDS)))
        generator = torch.Generator().manual_seed(0)
        self._state = [torch.randn(_TENSOR_BYTES // 4, generator=generator) for _ in range(num_tensors)]
        self._matrix = torch.randn(384, 384, generator=generator)
        self._num_products = 1
        self._products(20)
        self._num_products = max(1, round(100 * step_seconds / self._products(100)))

    def pieces(self, kind: StateKind, *, frozen: bool = False) -> Iterator[OwnedPiece]:
        assert not frozen, "all weights are trained"
        for number, tensor in enumerate(self._state):
            yield OwnedPiece(f"{kind}-{number}", 0, tensor)

    def barrier(self) -> None: ...

    def step(self) -> float:
        """Do one step. Returns its seconds."""
        return self._products(self._num_products)

    def _products(self, number: int) -> float:
        began = time.perf_counter()
        for _ in range(number):
            torch.mm(self._matrix, self._matrix)
        return time.perf_counter() - began


def timed(way: str, worker: Worker, store: Store, num_steps: int) -> Timed:
    """Measure one save in this way, and the steps after it; the store is left as it was."""
    digest = uuid.uuid4().hex
    engine = cast("TrainingEngine", worker)
    uploads, artifacts = StateUploads(store, engine, "attempt"), TrainingArtifacts(store, digest)
    began = time.perf_counter()
    if way in (BESIDE, BEFORE):
        uploads.save(1, [artifacts.checkpoint(engine, 1, keep=1)])
    if way == BEFORE:
        uploads.finish()
    saved = time.perf_counter()
    for _ in range(num_steps):
        worker.step()
    ended = time.perf_counter()
    uploads.finish()
    store.remove(f"checkpoints/{digest}")
    return Timed(saved - began, ended - began)


@contextmanager
def s3_store(options: Options) -> Iterator[Store]:
    """Yield a store on loopback whose network is as slow as the options say."""
    with slow_s3(options.bandwidth_megabytes, options.latency_milliseconds) as endpoint:
        access = {"key": "benchmark", "secret": "benchmark", "endpoint_url": endpoint}
        fsspec.filesystem("s3", **access).mkdir("benchmark")
        yield Store("s3://benchmark/dfm", access)


def measure(options: Options) -> list[tuple[str, int, str, list[Timed]]]:
    """Return (storage, megabytes, way, one measurement a round); the ways take turns."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="dfm-stall-") as scratch, s3_store(options) as remote:
        places = {"local directory": Store(str(Path(scratch) / "store")), "S3": remote}
        cases = [(name, size) for size in options.megabytes for name in places]
        for name, size in track(cases, description="Measuring", transient=True):
            worker = Worker(size, options.step_milliseconds / 1e3)
            timings: dict[str, list[Timed]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way, measured in timings.items():
                    measured.append(timed(way, worker, places[name], options.steps))
            rows += [(name, size, way, measured) for way, measured in timings.items()]
    return rows


def show(options: Options, rows: list[tuple[str, int, str, list[Timed]]]) -> Table:
    """Make a table with one row for each storage, size and way."""
    table = Table(
        title=f"A save and {options.steps} steps, {options.rounds} rounds in turn; "
        f"S3 at {options.bandwidth_megabytes:g} MB/s, {options.latency_milliseconds:g} ms",
        caption="Save: seconds in the call, and as share of one step. Extra: whole time above that "
        "without a checkpoint in the same round, "
        f"as seconds and as share of {options.every} steps. Medians.",
    )
    for column in (
        "storage",
        "MB",
        "checkpoint",
        "step ms",
        "save s",
        "% of a step",
        "extra s",
        f"% of {options.every} steps",
    ):
        table.add_column(column, justify="left" if column in ("storage", "checkpoint") else "right")
    without: list[Timed] = []
    for name, size, way, measured in rows:
        without = measured if way == NONE else without
        step = statistics.median(one.all_seconds for one in without) / options.steps
        pairs = zip(measured, without, strict=True)
        extra = statistics.median(one.all_seconds - other.all_seconds for one, other in pairs)
        save = statistics.median(one.save_seconds for one in measured)
        cells = (
            f"{1e3 * step:.0f}",
            f"{save:.3f}",
            f"{100 * save / step:.1f}",
            f"{extra:.3f}",
            f"{100 * extra / (options.every * step):.2f}",
        )
        table.add_row(name, str(size), way, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--megabytes", type=int, nargs="+", default=[16, 100], help="of parameters, average and moments"
    )
    parser.add_argument("--step-milliseconds", type=float, default=250.0, help="the quickstart's, by default")
    parser.add_argument("--every", type=int, default=100, help="steps from checkpoint to checkpoint")
    parser.add_argument("--steps", type=int, default=20, help="steps that are done after a save")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bandwidth-megabytes", type=float, default=50.0, help="a second, to and from S3")
    parser.add_argument("--latency-milliseconds", type=float, default=20.0, help="there and back, to S3")
    parser.add_argument("--worlds", type=int, nargs="+", help="measure saves and loads in worlds of so many workers")
    parser.add_argument("--size", choices=MODEL_SIZES, default="S", help="of the model, with --worlds")
    given = vars(parser.parse_args())
    worlds, size = given.pop("worlds"), given.pop("size")
    if worlds:
        Console(width=120).print(show_pieces(size, *measure_pieces(size, tuple(worlds))))
        return
    logging.getLogger("orchestration").setLevel(logging.ERROR)  # the next save waits here, outside what is measured
    options = Options(**{**given, "megabytes": tuple(given["megabytes"])})
    torch.set_num_threads(1)
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    Console(width=120).print(show(options, measure(options)))


if __name__ == "__main__":
    main()
