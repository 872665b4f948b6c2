"""Saves and loads of a training's state in gloo worlds: bytes through a worker, collectives, memory, every bit."""

from __future__ import annotations

import gc
import json
import logging
import os
import tempfile
import time
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig, ModelConfig, TrainingConfig
from dfm_core.config.choices import ModelSize
from dfm_core.training.engine import STATE_KINDS, StateKind
from dfm_core.training.state import empty_model
from orchestration.artifacts.training_artifacts import TrainingArtifacts
from orchestration.config.workers import WorkersConfig, ZeroStage
from orchestration.storage.store import Store
from orchestration.training.checkpoint_upload import StateUploads
from orchestration.training.deepspeed_engine import DeepSpeedEngine

_STAGES: tuple[ZeroStage, ...] = (1, 2, 3)
_STD = (0.5, 0.25)
_BATCH, _BYTES, _AT_ONCE = 8, 4, 2**18


@dataclass(frozen=True)
class Saved:
    """A save, as its worst worker saw it."""

    writer: str
    copy_seconds: float
    share_of_state: float
    """Bytes written over state / workers."""
    collectives: int
    state: int
    """A sum over all bits that any split of the tensors gives."""


@dataclass(frozen=True)
class Loaded:
    """A load, as its worst worker saw it."""

    writer: str
    reader: str
    seconds: float
    share_of_memory: float
    """Growth of the resident memory while engine and state came to be, at its peak, over model + own state."""
    state: int


class _CountCollectives(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += func.namespace == "c10d"
        return func(*args, **(kwargs or {}))


def measure_pieces(size: ModelSize, worlds: tuple[int, ...]) -> tuple[list[Saved], list[Loaded]]:
    """Save in each world at each ZeRO stage, and load each of these states in each world at each stage."""
    with tempfile.TemporaryDirectory(prefix="dfm-pieces-") as folder:
        cases = [(world, stage) for world in worlds for stage in _STAGES]
        saved = [
            Saved(f"{world}-{stage}", **_spawned(world, partial(_save, folder, size, stage)))
            for world, stage in track(cases, description="Saving", transient=True)
        ]
        writers = [one.writer for one in saved]
        loaded = []
        for world, stage in track(cases, description="Loading", transient=True):
            found = _spawned(world, partial(_load, folder, size, stage, writers))
            rows = [{key: value[number] for key, value in found.items()} for number in range(len(writers))]
            loaded += [Loaded(writer, f"{world}-{stage}", **row) for writer, row in zip(writers, rows, strict=True)]
    return saved, loaded


def show_pieces(size: ModelSize, saved: list[Saved], loaded: list[Loaded]) -> Table:
    """Make a table with one row for each writer; of its readers the worst."""
    table = Table(
        title=f"State of a DiT-{size} in pieces; workers - ZeRO stage",
        caption="Bytes: of a worker over state / workers. Memory: a worker's growth at its peak over model + own "
        "state. Worst worker, worst reader.",
    )
    for column in ("written by", "copy s", "bytes", "collectives", "read by", "load s", "memory", "every bit"):
        table.add_column(column, justify="right")
    for one in saved:
        reads = [read for read in loaded if read.writer == one.writer]
        table.add_row(
            one.writer,
            f"{one.copy_seconds:.3f}",
            f"{one.share_of_state:.3f}",
            str(one.collectives),
            str(len(reads)),
            f"{max(read.seconds for read in reads):.2f}",
            f"{max(read.share_of_memory for read in reads):.2f}",
            "same" if {read.state for read in reads} == {one.state} else "other",
        )
    return table


def _spawned(world: int, work: Any) -> dict[str, Any]:
    """Return the largest of each number that the workers found, of lists entry by entry."""
    with tempfile.TemporaryDirectory(prefix="dfm-world-") as folder:
        torch.multiprocessing.spawn(_worker, (world, folder, work), nprocs=world)
        found = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    assert len(found) == world, "each worker says what it found"
    return {key: _largest([one[key] for one in found]) for key in found[0]}


def _largest(values: list[Any]) -> Any:
    return [max(row) for row in zip(*values, strict=True)] if isinstance(values[0], list) else max(values)


def _worker(rank: int, world: int, folder: str, work: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # DeepSpeed's calls of deprecated names
    logging.getLogger("orchestration").setLevel(logging.ERROR)  # a save that waits is measured elsewhere
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world))
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(work(world)))
    torch.distributed.barrier()
    os._exit(0)  # a thread of gloo may abort the interpreter's own end


def _engine(size: ModelSize, world: int, stage: ZeroStage) -> DeepSpeedEngine[Any]:
    config = ExperimentConfig(model=ModelConfig(size=size), training=TrainingConfig(batch_size=_BATCH))
    workers = WorkersConfig(world, zero_stage=stage, micro_batch_size=_BATCH // world)
    model = empty_model(config, DataShape(1, 10), _STD)
    return DeepSpeedEngine(model, config.training, workers, torch.device("cpu"))


class _Made:
    """A state whose values depend on kind, name and place alone."""

    def fill(self, out: Tensor, kind: StateKind, name: str, offset: int) -> None:
        seed = zlib.crc32(f"{kind}/{name}".encode())
        for first in range(0, out.numel(), _AT_ONCE):
            part = out[first : first + _AT_ONCE]
            places = torch.arange(offset + first, offset + first + part.numel()).add_(seed).mul_(2_654_435_761)
            part.copy_(places.remainder_(2**32)).div_(2**32).sub_(0.5)


def _bits(engine: DeepSpeedEngine[Any]) -> int:
    """Return a sum over the bits of the whole state that is the same however it is dealt out. Collective."""
    total = torch.zeros(1, dtype=torch.int64)
    for kind in STATE_KINDS:
        for name, offset, values in engine.pieces(kind):
            seed, bits = zlib.crc32(f"{kind}/{name}".encode()), values.contiguous().view(torch.int32)
            for first in range(0, len(bits), _AT_ONCE):
                part = bits[first : first + _AT_ONCE]
                places = torch.arange(offset + first, offset + first + len(part)).add_(seed).mul_(2).add_(1)
                total += places.mul_(part).sum()
    torch.distributed.all_reduce(total)
    return int(total)


def _save(folder: str, size: ModelSize, stage: ZeroStage, world: int) -> dict[str, Any]:
    engine = _engine(size, world, stage)
    engine.load(_Made(), num_steps=1)
    artifacts = TrainingArtifacts(Store(folder), f"{world}-{stage}")
    uploads = StateUploads(artifacts.store, engine, "attempt")
    seconds = 0.0
    with _CountCollectives() as counted:
        for step in (1, 2):  # the first save pays for the room on the host
            began = time.perf_counter()
            uploads.save(step, [artifacts.checkpoint(engine, step, keep=1)])
            seconds = time.perf_counter() - began
            uploads.save(step, [])  # waits for the files
    uploads.finish()
    manifest = artifacts.store.manifest(artifacts.paths.checkpoint(2))
    assert manifest is not None, "it is published"
    written = max(entry.num_bytes for entry in manifest["files"])
    state_bytes = _BYTES * len(STATE_KINDS) * sum(engine.sizes.values())
    share = written / (state_bytes / world)
    return {"copy_seconds": seconds, "share_of_state": share, "collectives": counted.count, "state": _bits(engine)}


def _load(folder: str, size: ModelSize, stage: ZeroStage, writers: list[str], world: int) -> dict[str, list[Any]]:
    _engine("nano", world, stage).close()  # what is imported and started at first use
    before = _reset_peak()
    engine = _engine(size, world, stage)
    own = sum(piece.values.nbytes for kind in STATE_KINDS for piece in engine.pieces(kind))
    needed = _BYTES * sum(engine.sizes.values()) + own
    found: dict[str, list[Any]] = {"seconds": [], "share_of_memory": [], "state": []}
    for writer in writers:
        began = time.perf_counter()
        with TrainingArtifacts(Store(folder), writer).opened_checkpoint(2) as point:
            engine.load(point.state, point.num_steps)
        found["seconds"].append(time.perf_counter() - began)
        found["share_of_memory"].append((_memory("VmHWM") - before) / needed)
        found["state"].append(_bits(engine))
        _reset_peak()
        torch.distributed.barrier()
    return found


def _reset_peak() -> int:
    """Let the peak of this process's resident memory begin anew. Returns its bytes now."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024
