"""Overhead of a trial: ours and bare Ray Tune's, in one run.

    python benchmarks/sweep_overhead.py --evaluations 1000 --tune 1000 --fresh 8 --trainings 8

Ours: a launch as a sweep makes it, with store, records, progress and MLflow (a local sqlite, told to the last call), on
evaluators that sample and measure nothing, and with trainings of one step of the smallest network. The peer does less:
a Tune trial that reports one number, with actors that are used again and with new ones; and one that starts Ray Train
with as many workers, which report one number. Only ours writes records, and reports to MLflow. The table also shows the
growth of the driver's memory.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from rich.table import Table

from orchestration.artifacts.task_record import TaskRecord, write_record
from orchestration.cluster.capacity import Capacity, NodeSize, total
from orchestration.cluster.connection import cluster
from orchestration.common.console import make_console
from orchestration.common.project import ROOT
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import BudgetMeter
from orchestration.control.outcome import Outcome
from orchestration.evaluation.messages import Cost, GroupReport, GroupWork
from orchestration.evaluation.pool import EvaluationPool
from orchestration.evaluation.worker import Evaluator
from orchestration.launch import task_loop
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.progress_display import Display
from orchestration.plan.plan import Plan, make_plan
from orchestration.search.searches import open_searches
from orchestration.spec.load import load_sweep
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, MeasuringTask, MetricTask, TrainTask
from orchestration.tracking.async_tracker import TrackingQueue
from orchestration.tracking.mlflow_tracker import Tracker
from orchestration.tracking.run_params import varying_settings

SMALLEST = (
    "model.size=nano",
    "training.steps=1",
    "training.warmup_steps=0",
    "training.batch_size=2",
    "evaluation.at_steps=[1]",
    "evaluation.num_samples=10",
    "compute.allow_unequal=true",
)
_SOURCE = {"git_commit": "", "uncommitted_diff": ""}
_CPUS = {"num_workers": 1, "num_evaluators": 1, "cpus_per_worker": 1}


@dataclass(frozen=True)
class Options:
    """The command line: numbers of trials."""

    evaluations: int
    trainings: int
    tune: int
    fresh: int
    tune_trainings: int
    searched: int


@dataclass(frozen=True)
class Row:
    """One way to run trials."""

    name: str
    trials: int
    seconds: float
    first: float = 0.0
    """Seconds until the first trial had ended; 0 if unknown."""
    recorded: float = 0.0
    """Seconds until all records were written; MLflow heard of some of them later."""
    grown: float = 0.0
    """Memory of this process, in MB."""


class Idle(Evaluator):
    """An evaluator that does the calls of a measurement without its work."""

    def features(self, work: GroupWork) -> GroupReport:
        self._reached(work.missing[0].task, work.group.num_samples, "all")
        return GroupReport(seconds=0.0)

    def gather(self, task: MeasuringTask, position: int, groups: Any) -> tuple[None, Any]:  # noqa: ARG002
        return None, 0.0

    def finish(
        self,
        task: MeasuringTask,
        about: Mapping[str, Any],  # noqa: ARG002
        seconds: float,
        spent: Cost,  # noqa: ARG002
        *gathered: Any,  # noqa: ARG002
    ) -> None:
        metrics = dict.fromkeys(task.protocols if isinstance(task, MetricTask) else (), 1.0)
        write_record(self._store, TaskRecord(task.digest, task.kind, metrics, seconds, step=task.step))


class IdlePool(EvaluationPool):
    """Pool of a launch, with idle evaluators."""

    def __init__(
        self, store: Store, runtime: RuntimeConfig, num_evaluators: int, board: str, stumbled: Callable[[str], None]
    ) -> None:
        super().__init__(store, runtime, num_evaluators, board, stumbled, kind=Idle)


def sweep(store: Store, parts: str, kind: str) -> tuple[Plan, dict[str, TaskRecord]]:
    """Make a plan, and records of all its tasks but those of a kind."""
    workers = [f"workers.{key}={value}" for key, value in _CPUS.items()]
    overrides = [*SMALLEST, *workers, f"storage.root={store.root}", f"parts={parts}"]
    plan = make_plan(load_sweep(ROOT / "sweeps" / "quickstart.yaml", overrides))
    others = [task for task in plan.tasks.values() if task.kind != kind]
    return plan, {task.digest: TaskRecord(task.digest, task.kind, {}, 0.0, step=task.step) for task in others}


class _Noting:
    """Stands where searches do, and notes the times at which records were there."""

    def __init__(self, ended: list[float], num_before: int) -> None:
        self._ended, self._num_before = ended, num_before

    def advance(self, outcome: Outcome, num_slots: int) -> None:  # noqa: ARG002
        if len(outcome.done) > self._num_before:
            self._ended.append(time.monotonic())

    @property
    def is_undecided(self) -> bool:
        return False

    def on_ray(self) -> AbstractContextManager[None]:
        return nullcontext()


def launched(name: str, parts: str, kind: str, capacity: Capacity) -> Row:
    """Run our trials, to the last record and the last call to MLflow."""
    with tempfile.TemporaryDirectory() as root, redirect_stdout(io.StringIO()):
        store = Store(root)
        plan, done = sweep(store, parts, kind)
        tracker = TrackingQueue(
            Tracker(f"sqlite:///{root}/mlflow.db", "overhead", store, {"source": _SOURCE}, varying_settings(plan))
        )
        outcome = Outcome(dict(done))
        meter = BudgetMeter({}, plan.spec.runtime.workers)
        ended: list[float] = []

        context = LaunchContext(plan, store, outcome, tracker, Display(), meter, _Noting(ended, len(done)))
        launcher = task_loop.Launcher(context, lambda: capacity, lambda: None)
        started, held = time.monotonic(), held_mb()
        launcher.run()
        recorded = time.monotonic() - started
        tracker.flush()
        seconds = time.monotonic() - started
    assert not outcome.failed, f"trials failed: {outcome.failed}"
    num_trials = len(plan.of_kind(TrainTask if kind == "train" else EvaluateTask))
    return Row(name, num_trials, seconds, ended[0] - started if ended else 0.0, recorded, held_mb() - held)


def searched(name: str, num_trials: int, capacity: Capacity, *, known: bool) -> Row:
    """Run a search under Ray Tune. Args: known: whether every evaluation has a record before."""
    points = [round(1 + 0.01 * number, 2) for number in range(num_trials)]
    guidance = f"{{uniform: [{points[0]}, {points[-1]}], step: 0.01}}"
    space = f"space: {{sampling.guidance: {guidance}}}, objectives: {{fd_lite0_block10: minimize}}"
    search = f"{{p: {{search: {{{space}, sampler: grid, num_trials: {num_trials}}}}}}}"
    with tempfile.TemporaryDirectory() as root, redirect_stdout(io.StringIO()):
        store = Store(root)
        rows, done = sweep(store, f"{{p: {{grid: {{sampling.guidance: {points}}}}}}}", "evaluate")
        if known:
            done |= {task.digest: _made_up(task) for task in rows.of_kind(EvaluateTask)}
        for record in done.values():
            write_record(store, record)
        for place in {place for task in rows.tasks.values() if task.digest in done for place in task.artifacts}:
            store.publish(place, [])
        plan, _ = sweep(store, search, "")
        tracker = TrackingQueue(
            Tracker(f"sqlite:///{root}/mlflow.db", "overhead", store, {"source": _SOURCE}, varying_settings(plan))
        )
        outcome, meter = Outcome(dict(done)), BudgetMeter({}, plan.spec.runtime.workers)
        searches = open_searches(plan.spec, plan, store, tracker, lambda _: None, os.environ, lambda _: None)
        searches.begin(outcome)
        context = LaunchContext(plan, store, outcome, tracker, Display(), meter, searches)
        started, held = time.monotonic(), held_mb()
        with searches.on_ray():
            searches.advance(outcome, 1)
            context = replace(context, plan=searches.plan)
            task_loop.Launcher(context, lambda: capacity, lambda: None).run()
            recorded = time.monotonic() - started
        seconds = time.monotonic() - started
    (trials,) = searches.trials().values()
    assert all(trial.state == "complete" for trial in trials), [(trial.state, trial.reason) for trial in trials]
    return Row(name, num_trials, seconds, recorded=recorded, grown=held_mb() - held)


def _made_up(task: EvaluateTask) -> TaskRecord:
    return TaskRecord(task.digest, task.kind, dict.fromkeys(task.protocols, 1.0), 0.0, step=task.step)


def tune_trials(name: str, num_trials: int, trainable: Callable[..., None], *, reuse: bool, at_once: int = 0) -> Row:
    """Run bare Tune. Args: at_once: number of concurrent trials; 0: as many as fit."""
    from ray import tune

    with tempfile.TemporaryDirectory() as root:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                num_samples=num_trials, reuse_actors=reuse, max_concurrent_trials=at_once, metric="x", mode="min"
            ),
            run_config=tune.RunConfig(storage_path=root, name="bare", verbose=0),
        )
        started, held = time.monotonic(), held_mb()
        with redirect_stdout(io.StringIO()):
            trials = tuner.fit()
        seconds = time.monotonic() - started
    assert len(trials) == num_trials, "Tune lost trials"
    assert not trials.errors, f"Tune's trials failed: {trials.errors}"
    return Row(name, num_trials, seconds, grown=held_mb() - held)


def held_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def report_a_number(config: Mapping[str, Any]) -> None:  # noqa: ARG001
    from ray import tune

    tune.report({"x": 1.0})


def start_train(config: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Run the nested way: a Tune trial that starts Ray Train."""
    from ray import tune
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def work() -> None:
        import torch.distributed

        assert torch.distributed.is_initialized(), "Ray Train makes the process group"

    with tempfile.TemporaryDirectory() as root:
        scaling = ScalingConfig(num_workers=_CPUS["num_workers"])
        TorchTrainer(work, scaling_config=scaling, run_config=RunConfig(storage_path=root, name="inner")).fit()
    tune.report({"x": 1.0})


def measure(options: Options) -> list[Row]:
    """Measure all ways, one after the other on one Ray."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    logging.disable(logging.WARNING)
    task_loop.EvaluationPool = IdlePool  # type: ignore[misc]  # the launcher's own, but for the work
    guidance = [round(1 + 0.01 * number, 2) for number in range(options.evaluations)]
    seeds = list(range(options.trainings))
    rows = []
    with cluster(WorkersConfig(**_CPUS)) as view:
        capacity = view.look()
        roomy = Capacity((NodeSize(max(4.0, total(capacity.nodes).num_cpus)),))
        ray.get(ray.remote(lambda: None).remote())
        if options.evaluations:
            parts = f"{{p: {{grid: {{sampling.guidance: {guidance}}}}}}}"
            rows.append(launched("evaluations, ours", parts, "evaluate", roomy))
        if options.searched:
            rows.append(searched("search under Tune, known", options.searched, roomy, known=True))
            rows.append(searched("search under Tune, evaluations", options.searched, roomy, known=False))
        if options.tune:
            rows.append(tune_trials("Tune, actors used again", options.tune, report_a_number, reuse=True))
        if options.fresh:
            rows.append(tune_trials("Tune, an actor a trial", options.fresh, report_a_number, reuse=False))
        if options.trainings:
            parts = f"{{p: {{grid: {{training.learning_rate: {[round(1e-4 * (n + 1), 6) for n in seeds]}}}}}}}"
            rows.append(launched("trainings, ours", parts, "train", capacity))
        if options.tune_trainings:
            name = "Tune that starts Ray Train"
            # More at once would hold all CPUs, and wait for their own workers for ever.
            rows.append(tune_trials(name, options.tune_trainings, start_train, reuse=True, at_once=1))
    return rows


def table(rows: list[Row]) -> Table:
    speeds = ("seconds", "first after", "trials/s", "seconds a trial", "each later one", "until its record")
    shown = Table("", "trials", *speeds, "driver grew (MB)")
    for row in rows:
        some = row.first and row.trials > 1
        later = (row.seconds - row.first) / (row.trials - 1) if some else None
        recorded = (row.recorded - row.first) / (row.trials - 1) if row.recorded and row.trials > 1 else None
        shown.add_row(
            row.name,
            str(row.trials),
            f"{row.seconds:.1f}",
            f"{row.first:.1f}" if row.first else "",
            f"{row.trials / row.seconds:.2f}",
            f"{row.seconds / row.trials:.3f}",
            "" if later is None else f"{later:.3f}",
            "" if recorded is None else f"{recorded:.3f}",
            f"{row.grown:.0f}",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=200, help="our evaluations")
    parser.add_argument("--trainings", type=int, default=8, help="our trainings")
    parser.add_argument("--tune", type=int, default=100, help="Tune's trials whose actors are used again")
    parser.add_argument("--fresh", type=int, default=8, help="Tune's trials with an actor each")
    parser.add_argument("--searched", type=int, default=8, help="trials of our searches, known and not")
    parser.add_argument("--tune-trainings", type=int, default=2, help="Tune's trials that start Ray Train")
    rows = measure(Options(**vars(parser.parse_args())))
    make_console().print(table(rows))


if __name__ == "__main__":
    main()
