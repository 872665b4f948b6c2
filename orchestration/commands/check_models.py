"""`--check`: builds every training of a sweep on the meta device, runs it forward and back, and prints its memory.

On the meta device tensors have shapes and no memory: a full-scale model is built, its loss computed and differentiated
in a second. Mistakes in shapes show here and not on a cluster.
"""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table

from dfm_core.catalog.datasets import DATASETS
from dfm_core.catalog.metrics import networks_of
from dfm_core.compute import model_cost
from dfm_core.config.dataset_card import card_of
from dfm_core.config.model import DecompositionConfig
from dfm_core.data.image_dataset import load_dataset
from dfm_core.decompositions import build_decomposition
from dfm_core.fitting_batches import AUTOENCODER_BYTES
from dfm_core.paradigms.standardization import measure_scale_std
from orchestration.commands.weighing.evaluator import evaluator_footprint
from orchestration.commands.weighing.training import TrainingFootprint, footprint_of
from orchestration.common.console import make_console
from orchestration.config.workers import WorkersConfig
from orchestration.launch.summary import balance_text
from orchestration.plan.plan import Plan
from orchestration.tasks.task import EvaluateTask, Task, TrainTask

_GIB = 2**30
GPU_GIB = (40, 80, 141)
"""Memory of the GPUs for which the largest micro-batch is told."""
_GPUS_PER_NODE = 8


def check(plan: Plan) -> None:
    """Build and measure every training of a plan; print a table.

    Raises: any error of building or running a model: a mistake of ours that the config's rules should have found.
    """
    workers, console = plan.spec.runtime.workers, make_console()
    table = Table(title=f"{plan.spec.name}: every training on the meta device", title_justify="left", box=SIMPLE)
    table.add_column("training", overflow="fold")
    largest = f"largest micro-batch on {', '.join(map(str, GPU_GIB))} GiB"
    for name in ("parameters", "FLOPs a step", "FLOPs in all", "hours", "state GiB", "activations GiB", largest):
        table.add_column(name, justify="right")
    weighed: list[tuple[TrainingFootprint, TrainTask]] = []
    for task in plan.of_kind(TrainTask):
        footprint, share = footprint_of(task.config, workers), task.config.training.batch_size // workers.num_workers
        table.add_row(
            _name(plan, task),
            f"{footprint.num_parameters:,}",
            f"{footprint.flops_per_step:.4g}",
            f"{task.flops:.4g}",
            f"{_seconds_per_step(footprint, workers) * task.num_steps / 3600:.3g}",
            f"{footprint.resident_bytes / _GIB:.2f}",
            f"{footprint.activation_bytes / _GIB:.2f}",
            ", ".join(str(footprint.largest_micro_batch(size * _GIB, share) or "-") for size in GPU_GIB),
        )
        weighed.append((footprint, task))
    console.print(table)
    console.print(
        f"GiB are for each of {workers.num_workers} workers at ZeRO stage {workers.zero_stage}, what DeepSpeed "
        f"gathers and sends, encoders of captions and autocast's copies of weights included; activations "
        f"for one micro-batch, {'computed anew' if workers.activation_checkpointing else 'kept'} in the backward pass, "
        "attention as flash kernels keep it. Hours are those of all workers together, with what is computed anew, at "
        f"{_assumed_text(workers)}.",
        markup=False,
    )
    if weighed:
        largest_model = max(weighed, key=lambda one: one[0].num_parameters)
        console.print(_of_a_node(*largest_model, workers), markup=False)
    if workers.gpus_per_evaluator and (evaluations := plan.of_kind(EvaluateTask)):
        console.print(_of_an_evaluator(max(evaluations, key=_sampling_size), workers), markup=False)
    for line in balance_text(plan, embedded_stds(plan)):
        console.print(line, markup=False)


def embedded_stds(plan: Plan) -> dict[str, tuple[float, ...]]:
    """Measure the scales of trainings on embedded images, by digest; what others train on may not be here yet."""
    measured: dict[tuple[str, DecompositionConfig], tuple[float, ...]] = {}
    stds = {}
    for task in plan.of_kind(TrainTask):
        data, decomposition = task.config.data, task.config.decomposition
        card = DATASETS.get(data.dataset)
        if card is None or card.path is None or data.autoencoder or task.pyramid:
            continue
        if (key := (data.dataset, decomposition)) not in measured:
            measured[key] = measure_scale_std(build_decomposition(decomposition), load_dataset(data.dataset, "train"))
        stds[task.digest] = measured[key]
    return stds


def _seconds_per_step(footprint: TrainingFootprint, workers: WorkersConfig) -> float:
    return footprint.executed_flops_per_step / (workers.num_workers * workers.assumed_flops(on_gpu=workers.use_gpu))


def _assumed_text(workers: WorkersConfig) -> str:
    return f"{workers.assumed_flops(on_gpu=workers.use_gpu):.2g} FLOP/s each (workers.assumed_flops_per_worker)"


def _of_a_node(footprint: TrainingFootprint, task: TrainTask, workers: WorkersConfig) -> str:
    """Return what a node needs beside its GPUs."""
    seconds = _seconds_per_step(footprint, workers)
    share = task.config.training.batch_size / workers.num_workers
    cores = _GPUS_PER_NODE * footprint.draw_seconds * share / seconds
    state = footprint.checkpoint_bytes * _GPUS_PER_NODE / max(workers.num_workers, _GPUS_PER_NODE) / _GIB
    ahead = _GPUS_PER_NODE * (1 + workers.cpus_per_worker) * footprint.micro_batch * footprint.input_bytes / _GIB
    return (
        f"A node of {_GPUS_PER_NODE} workers, {footprint.num_parameters:,} parameters, at "
        f"{_assumed_text(workers)}: draws take "
        f"{1000 * footprint.draw_seconds:.2f} ms of a CPU a sample, {cores:.1f} CPUs in all; batches "
        f"made ahead {ahead:.1f} GiB of memory; a checkpoint on its way {state:.1f} GiB of memory and disk; shards of "
        f"latents up to {workers.latent_cache_gb:g} GB of disk."
    )


def _sampling_size(task: EvaluateTask) -> tuple[int, bool]:
    config = task.config
    return model_cost(config, card_of(config.data).shape).num_parameters, config.sampling.guidance != 1.0


def _of_an_evaluator(task: EvaluateTask, workers: WorkersConfig) -> str:
    """Return what the GPU of an evaluator holds."""
    networks = networks_of(tuple(task.protocols))
    weighed = evaluator_footprint(task.config, workers.evaluation_batch_size, networks)
    measured = "".join(f", {name} {size / _GIB:.1f}" for name, size in weighed.networks.items())
    line = (
        f"An evaluator's GPU at {weighed.batch} samples (workers.evaluation_batch_size): sampler "
        f"{weighed.sampler_weights / _GIB:.1f} GiB and {weighed.sampler_activations / _GIB:.1f} a call{measured}; "
        f"{weighed.peak_bytes() / _GIB:.1f} at its peak."
    )
    if not weighed.pixels:
        return line
    decoded = ", ".join(str(weighed.decoded_at_once(size * _GIB)) for size in GPU_GIB)
    return (
        f"{line} The autoencoder takes {AUTOENCODER_BYTES * weighed.pixels / _GIB:.2f} GiB a sample: {decoded} at a "
        f"time on {', '.join(map(str, GPU_GIB))} GiB."
    )


def _name(plan: Plan, task: Task) -> str:
    users = plan.users(task.digest)
    shared = f" and {len(users) - 1} more" if len(users) > 1 else ""
    return f"{users[0]}{shared}: {task.title}" if users else task.title  # others start from it
