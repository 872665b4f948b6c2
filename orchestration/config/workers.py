"""Settings of workers that change no number: how many, their memory layout, intervals and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

ZeroStage = Literal[1, 2, 3]
_GPU_FLOPS, _CPU_FLOPS = 1.0e14, 2.5e10
"""Sustained FLOP/s: a third of an A100's peak in bf16; measured on a core."""


@dataclass(frozen=True)
class WorkersConfig:
    """The layout of trainings and evaluations on the cluster."""

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
    compile: bool | None = None
    """`torch.compile` on the transformer's blocks, in sampling too; training needs zero_stage 1 or 2 for it, CPUs a C++
    compiler. Default: on GPUs, unless token grids or weights differ between stages."""
    micro_batch_size: Annotated[int, Gt(0)] | None = None
    """Images per worker and forward pass; default: the worker's whole share of the batch."""
    checkpoint_every: Annotated[int, Gt(0)] = 100
    """Steps between checkpoints."""
    keep_checkpoints: Annotated[int, Gt(0)] = 2
    """Latest checkpoints of a training that stay; snapshots stay all."""
    log_every: Annotated[int, Gt(0)] = 10
    """Steps between points of the training curve."""
    num_evaluators: Annotated[int, Gt(0)] = 2
    """Warm actors that sample and measure snapshots."""
    gpus_per_evaluator: Annotated[float, Ge(0.0)] = 0.0
    """GPUs of each evaluator; less than 1 shares one. 0: it computes on the CPU."""
    evaluation_batch_size: Annotated[int, Gt(0)] = 50
    """Images that an evaluator generates at a time."""
    keep_features: bool = True
    """Keep the features of samples in the store, so that another metric costs no sampling."""
    keep_samples: bool = False
    """Keep all samples in the store, beside the first ones of the grid."""
    reuse_under_minutes: Annotated[float, Ge(0.0)] = 5.0
    """Trainings that should take less share warm workers, one after the other, in one Ray Train run; others have a run
    of their own, with their name. 0: all have."""
    max_failures: Annotated[int, Ge(0)] = 3
    """Times that a dead training restarts from its last checkpoint, or that a dead evaluator's call is repeated."""
    latent_cache_gb: Annotated[float, Gt(0.0)] = 100.0
    """GB of each machine's disk for shards of latents that are not on its own file system."""
    hung_after_seconds: Annotated[float, Gt(0.0)] = 60.0
    """A training whose step takes longer than this, and longer than ten times its median step, hangs: its workers'
    stacks are written into the store, and the workers are replaced."""
    wait_for_workers_seconds: Annotated[float, Gt(0.0)] = 600.0
    """Time without free resources after which a task fails and names the missing ones."""
    max_accelerators: Annotated[int, Gt(0)] | None = None
    """Most GPUs (CPU workers and evaluators, where `use_gpu` is off) that a sweep holds at once. On a cluster that does
    not say which nodes it can add, as many are expected to come."""
    assumed_flops_per_worker: Annotated[float, Gt(0.0)] | None = None
    """Sustained FLOP/s of one worker or evaluator, for the plan's estimate of hours where no finished training was
    measured. Default: 1.0e+14 on a GPU, 2.5e+10 on a CPU."""
    max_accelerator_hours: Annotated[float, Gt(0.0)] | None = None
    """Budget of the whole sweep, earlier submissions included: once it is spent, the sweep ends at checkpoints."""
    max_accelerator_hours_per_training: Annotated[float, Gt(0.0)] | None = None
    """Budget of each training: once it is spent, the training fails at a checkpoint; the others go on."""
    insecure_no_auth: bool = False
    """Use a Ray that takes calls without a token. Only on the command line: a file would ask it of all its users."""

    def assumed_flops(self, *, on_gpu: bool) -> float:
        """Return the FLOP/s that a worker, or an evaluator, is taken to have."""
        return self.assumed_flops_per_worker or (_GPU_FLOPS if on_gpu else _CPU_FLOPS)

    def compiles(self, *, on_gpu: bool, has_one_graph: bool) -> bool:
        """Return True if a model's blocks are compiled. Args: has_one_graph: `VelocityModel.has_one_graph`."""
        return on_gpu and has_one_graph if self.compile is None else self.compile

    def micro_batch(self, batch_size: int) -> int:
        """Return the samples of a worker's forward pass."""
        return self.micro_batch_size or batch_size // self.num_workers
