"""What cannot change a number: workers, memory layout, intervals, paths. Left out of every digest by type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt

ZeroStage = Literal[1, 2, 3]


@dataclass(frozen=True)
class WorkersConfig:
    """How trainings and evaluations are laid out on the cluster."""

    num_workers: Annotated[int, Gt(0)] = 2
    """Ray Train workers of one training."""
    cpus_per_worker: Annotated[int, Gt(0)] = 1
    """CPUs, and threads, of each worker."""
    use_gpu: bool = False
    """One CUDA GPU for each worker (NCCL); otherwise CPU and gloo."""
    zero_stage: ZeroStage = 1
    """DeepSpeed's ZeRO stage: 1 shards the optimiser state, 2 also gradients, 3 also weights."""
    activation_checkpointing: bool = False
    """Compute the blocks' activations anew in the backward pass: less memory, more time."""
    compile: bool = False
    """`torch.compile` on the transformer's blocks; needs zero_stage 1 or 2, and a C++ compiler on CPUs."""
    micro_batch_size: Annotated[int, Gt(0)] | None = None
    """Images per worker and forward pass; default: the worker's whole share of the batch."""
    checkpoint_every: Annotated[int, Gt(0)] = 100
    """Steps between checkpoints."""
    keep_checkpoints: Annotated[int, Gt(0)] = 2
    log_every: Annotated[int, Gt(0)] = 10
    """Steps between points of the training curve."""
    num_evaluators: Annotated[int, Gt(0)] = 2
    """Warm actors that sample and measure snapshots."""
    gpus_per_evaluator: Annotated[float, Ge(0.0)] = 0.0
    evaluation_batch_size: Annotated[int, Gt(0)] = 50
    """Images that an evaluator generates at a time."""
    max_failures: Annotated[int, Ge(0)] = 3
    """How often a training is restarted from its last checkpoint after a worker died."""
    wait_for_workers_seconds: Annotated[float, Gt(0.0)] = 600.0
    """After this long without free resources a task fails and names what is missing."""
    assumed_flops_per_worker: Annotated[float, Gt(0.0)] = 2.5e10
    """Sustained FLOP/s of one worker, for the plan's estimate of hours."""


@dataclass(frozen=True)
class StorageConfig:
    """Where everything is kept."""

    root: str = "runs"
    """A directory or an fsspec URL."""
    options: dict[str, str] = field(default_factory=dict)
    """Passed to fsspec, e.g. endpoint_url."""


@dataclass(frozen=True)
class TrackingConfig:
    """Where MLflow keeps its records."""

    uri: str | None = None
    """MLflow tracking URI; default: sqlite under a local storage root."""


@dataclass(frozen=True)
class RuntimeConfig:
    """Everything about a run that is not about its numbers."""

    workers: WorkersConfig = field(default_factory=WorkersConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
