"""A sampling sweep on one snapshot, beside one process for every point of it, in one run.

    python benchmarks/sampling_sweep.py --points 24 --samples 50

Ours: the evaluators of a sweep, from the first call to the last record, on a Ray that is running, as a submitted sweep
finds it; and with the start of Ray and evaluators, as on a laptop. The peer: a Python process for each point, one after
the other with all cores to itself, which loads the snapshot and the feature network, samples, and measures; it is the
shortest such program that we can write. Both have reference statistics. Weights are random: no time depends on their
values. The gain depends on the share of starting, of common steps (here a first stage of 30), and of features, which
nothing saves: try other sizes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dfm_core.catalog.datasets import DATASETS
from dfm_core.config import DecompositionConfig, EvaluationConfig, ExperimentConfig, ModelConfig, SamplingConfig
from dfm_core.data.image_dataset import to_pixels
from dfm_core.flow.step_tree import StepTree
from dfm_core.metrics.features.lite0 import load_lite0
from dfm_core.metrics.scores.frechet import frechet_distance
from dfm_core.metrics.scores.moments import Moments
from dfm_core.paradigms import build_paradigm
from dfm_core.training.state import SnapshotCard, build_model, write_snapshot_files
from orchestration.artifacts.snapshot_loader import read_snapshot
from orchestration.artifacts.task_record import read_record
from orchestration.common.console import make_console
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.workers import WorkersConfig
from orchestration.data.file_cache import FileCache
from orchestration.evaluation.jobs import job_of, run_job
from orchestration.evaluation.messages import JobContext
from orchestration.evaluation.resource_cache import ResourceCache
from orchestration.evaluation.sample_batches import sample_labels
from orchestration.evaluation.worker import Evaluator
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import FileEntry, Store
from orchestration.tasks.evaluation import evaluate_task
from orchestration.tasks.measurement import MeasurementFiles
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import Task

TRAIN, STEP = "a-training-of-no-sweep", 1
METRIC = "fd_lite0_block10"
BATCH = 50
TAUS = (0.5, 0.7, 0.8, 0.9)
FIRST_STEPS = 30
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Options:
    """The command line."""

    points: int
    samples: int
    size: str
    evaluators: int


@dataclass(frozen=True)
class Swept:
    """Costs and distances of one way to do the sweep."""

    seconds: float
    starting: float
    """Seconds before the first point began."""
    evaluations: int
    """Network evaluations per image, over all points."""
    values: list[float]


def points_of(options: Options) -> list[ExperimentConfig]:
    """Return settings of tau and of the second stage's steps, as in the paper's Figure 3."""
    per_tau = max(2, -(-options.points // len(TAUS)))
    chosen = list(itertools.product(TAUS, range(1, 1 + per_tau)))[: options.points]
    config = ExperimentConfig(
        decomposition=DecompositionConfig(resolutions=(16, 32)),
        model=ModelConfig(size=options.size, patch_sizes=(2, 4)),  # type: ignore[arg-type]
        evaluation=EvaluationConfig(
            num_samples=options.samples, metrics=(METRIC,), bootstrap_replicates=0, label_sampling="balanced"
        ),
    )
    return [replace(config, sampling=SamplingConfig(steps=(FIRST_STEPS, fine), tau=(tau,))) for tau, fine in chosen]


def prepare(store: Store, configs: list[ExperimentConfig], num_real: int) -> list[Task]:
    """Make a snapshot and reference statistics; return the evaluations of the points."""
    config, measures = configs[0], MeasurementInputs.of(configs[0], MeasurementFiles({}, {}))
    shape, std = DATASETS[config.data.dataset].shape, (1.0,) * config.num_stages
    model = build_model(config, shape, std)
    generator = torch.Generator().manual_seed(0)
    weights = {name: 0.05 * torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}
    directory = TaskPaths(TRAIN).snapshot(STEP)
    with tempfile.TemporaryDirectory() as scratch:
        files = write_snapshot_files(weights, config, SnapshotCard(STEP, shape, std), Path(scratch), None)
        for path in files:
            store.put(path, f"{directory}/{path.name}")
        store.publish(directory, [FileEntry.of(path) for path in files])
    workers = WorkersConfig(cpus_per_worker=os.cpu_count() or 1)
    context = JobContext(
        store=store,
        keep_features=True,
        keep_samples=False,
        clock=lambda: 0.0,
        reached=lambda *_: None,
        failed=lambda *_: None,
    )
    evaluator = Evaluator(store.root, {}, RuntimeConfig(workers=workers), "")
    reference = measures.references["lite0"]
    (source,) = reference.sources
    few = replace(reference, sources=(replace(source, num_samples=num_real),))
    run_job(job_of([few], context), evaluator)
    return [evaluate_task(one, f"point {n}", STEP, ((TRAIN, STEP),), measures) for n, one in enumerate(configs)]


def sweep_together(store: Store, tasks: list[Task], options: Options) -> Swept:
    """Measure ours, start of Ray included."""
    import ray

    from orchestration.cluster.connection import cluster
    from orchestration.control.progress_board import start_progress_board
    from orchestration.evaluation.pool import EvaluationPool
    from orchestration.plan.evaluation_families import group_into_families

    started = time.monotonic()
    threads = max(1, (os.cpu_count() or 1) // options.evaluators)
    runtime = RuntimeConfig(
        workers=WorkersConfig(
            num_workers=1, cpus_per_worker=threads, num_evaluators=options.evaluators, evaluation_batch_size=BATCH
        )
    )
    with cluster(runtime.workers):
        name, _ = start_progress_board()
        pool = EvaluationPool(store, runtime, options.evaluators, name, print)
        while pool.starting:
            pool.collect()
            time.sleep(_POLL_SECONDS)
        starting = time.monotonic() - started
        for family in group_into_families(tasks):
            pool.submit(family)
        while pool.busy:
            for task, reason in pool.collect():
                assert not reason, f"{task.title}: {reason}"
            time.sleep(_POLL_SECONDS)
        pool.close()
        assert ray.is_initialized(), "the cluster is ours until here"
    seconds = time.monotonic() - started
    results = [read_record(store, task.digest) for task in tasks]
    values = [result.metrics[METRIC] for result in results if result is not None]
    sharings = [result.about["sharing"] for result in results if result is not None]
    made = sum(sharing["network_evaluations"] / sharing["points"] for sharing in sharings)
    return Swept(seconds, starting, round(made / options.samples), values)


def one_point(store: Store, config: ExperimentConfig, reference: str) -> tuple[float, int]:
    """Measure a point in a process of its own. Returns (its distance, network evaluations per image)."""
    torch.set_num_threads(os.cpu_count() or 1)
    snapshot = read_snapshot(store, (TRAIN, STEP))
    paradigm = build_paradigm(config, snapshot.decomposition, snapshot.card.scale_std)
    network = load_lite0()
    moments, evaluations = Moments.empty(112), 0
    for begin in range(0, config.evaluation.num_samples, BATCH):
        indices = range(begin, min(begin + BATCH, config.evaluation.num_samples))
        labels = sample_labels(config.evaluation, indices, 10)
        sampled = paradigm.sample(snapshot.model, labels, indices, config.evaluation.seed, config.sampling)
        moments = moments.merge(Moments.of(network(to_pixels(sampled.images))["block10"]))
        evaluations = sampled.num_evaluations
    known = ResourceCache(store, RuntimeConfig(), torch.device("cpu"), FileCache()).reference(reference)
    return frechet_distance(moments, known.moments["block10"]), evaluations  # type: ignore[arg-type]


def sweep_apart(store: Store, tasks: list[Task], arguments: list[str]) -> Swept:
    """Measure the peer: a process for each point."""
    started, values, evaluations = time.monotonic(), [], 0
    for number in track(range(len(tasks)), "one process a point", console=Console(stderr=True), transient=True):
        command = [sys.executable, __file__, *arguments, "--one", str(number), "--root", store.root]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        value, made = json.loads(done.stdout.splitlines()[-1])
        values.append(value)
        evaluations += made
    return Swept(time.monotonic() - started, 0.0, evaluations, values)


def print_table(ours: Swept, peer: Swept, options: Options) -> None:
    table = Table(title=f"{options.points} points, {options.samples} samples each, DiT {options.size}, CPU")
    for column in ("", "seconds", "seconds a point", "network evaluations an image", "ratio"):
        table.add_column(column, justify="left" if not column else "right")
    rows = (
        ("one process a point", peer, peer.seconds),
        ("one sweep on a running Ray", ours, ours.seconds - ours.starting),
        ("one sweep, Ray started for it", ours, ours.seconds),
    )
    for name, swept, seconds in rows:
        row = (f"{seconds:.1f}", f"{seconds / options.points:.2f}", str(swept.evaluations))
        table.add_row(name, *row, f"{peer.seconds / seconds:.2f}")
    console = make_console()
    console.print(table)
    apart = max(abs(a - b) / abs(b) for a, b in zip(ours.values, peer.values, strict=True))
    console.print(f"The largest relative difference between the two in a distance is {apart:.1g}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=24)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--real", type=int, default=2000, help="images behind the reference")
    parser.add_argument("--size", default="micro", choices=["nano", "micro", "S"])
    parser.add_argument("--evaluators", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    given = parser.parse_args()
    options = Options(given.points, given.samples, given.size, given.evaluators)
    configs = points_of(options)
    if given.one is not None:
        config = configs[given.one]
        reference = MeasurementInputs.of(config, MeasurementFiles({}, {})).references["lite0"].digest
        print(json.dumps(one_point(Store(given.root), config, reference)))
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="dfm-sampling-sweep-") as scratch:
        store = Store(f"{scratch}/store")
        tasks = prepare(store, configs, given.real)
        tree = StepTree.of(configs[0], [config.sampling for config in configs])
        ours = sweep_together(store, tasks, options)
        assert ours.evaluations == tree.num_evaluations, "the calls made are the unique steps"
        arguments = ["--points", str(options.points), "--samples", str(options.samples), "--size", options.size]
        peer = sweep_apart(store, tasks, arguments)
    print_table(ours, peer, options)


if __name__ == "__main__":
    main()
