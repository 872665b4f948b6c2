"""The plan and the outcome in words: what is shared, what is done, what it will cost."""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.display import make_console, status_table
from orchestration.done import needed
from orchestration.families import families, family_flops
from orchestration.plan import Plan
from orchestration.problems import Problem
from orchestration.results import TaskResult
from orchestration.storage import Store

_EVALUATION_OVERHEAD = 1.3
"""Measured on the quickstart: feature extraction and merging beside the sampling's own FLOPs."""


def print_plan(plan: Plan, done: dict[str, TaskResult], store: Store) -> None:
    """Tasks, sharing, FLOPs, estimated hours and bytes."""
    console = make_console()
    console.print(status_table(plan, dict.fromkeys(done, "done")))
    todo = needed(plan, done)
    trainings, evaluations = plan.of_kind("train"), plan.of_kind("evaluate")
    cells = sum(len(trial.evaluations) for trial in plan.trials)
    console.print(
        f"{len(plan.trials)} trials share {len(trainings)} trainings; "
        f"{cells} cells share {len(evaluations)} evaluations.",
        markup=False,
    )
    console.print(f"{len(plan.tasks) - len(todo)} tasks are done or not needed, {len(todo)} to do.")
    if todo:
        console.print(_estimate(plan, done))
    console.print(f"Storage: {store.root}")


def print_missing(problems: Sequence[Problem]) -> None:
    """What would stop the sweep here before it starts anything."""
    if problems:
        console = make_console()
        console.print("It cannot run here yet:")
        for problem in problems:
            console.print(f"  {problem}", markup=False)


def _estimate(plan: Plan, done: dict[str, TaskResult]) -> str:
    workers = plan.spec.runtime.workers
    todo = needed(plan, done)
    training = sum(task.flops for task in todo if task.kind == "train")
    evaluation = sum(map(family_flops, families([task for task in todo if task.kind == "evaluate"])))
    num_bytes = sum(task.num_bytes for task in todo)
    seconds = (training + _EVALUATION_OVERHEAD * evaluation) / workers.assumed_flops_per_worker
    return (
        f"To do: {training:.3g} FLOPs of training, at most {evaluation:.3g} of sampling (kept features are not sampled "
        f"again), about {num_bytes / 1e6:,.0f} MB; "
        f"about {seconds / 3600:.2g} worker-hours at an assumed {workers.assumed_flops_per_worker:.2g} FLOP/s a worker "
        f"(workers.assumed_flops_per_worker)."
    )
