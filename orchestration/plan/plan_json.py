"""The published form of a plan: the JSON that analysis, --gc and later submissions read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.contract.plan_schema import (
    PLAN_FORMAT,
    PartEntry,
    PlanDocument,
    PricesEntry,
    PrimaryEntry,
    RowEntry,
    TaskEntry,
)
from dfm_core.catalog.metrics import METRICS
from dfm_core.compute import model_cost, num_evaluations, training_flops
from dfm_core.config.dataset_card import card_of
from dfm_core.config.evaluation import EvaluationConfig
from dfm_core.config.plain import as_plain
from orchestration.common.project import IS_CHECKOUT, home
from orchestration.common.redaction import without_credentials
from orchestration.config.prices import PricesConfig
from orchestration.config.primary_metric import PrimaryMetric
from orchestration.config.published_table import PublishedPart
from orchestration.plan.plan import Plan
from orchestration.spec.load import SweepSpec
from orchestration.spec.rows import PartSpec, RowSpec
from orchestration.tasks.measurement import sampling_payload
from orchestration.tasks.task import EvaluateTask, FinetuneAutoencoderTask, MeasuringTask, MetricTask, Task, TrainTask

_STORAGE_OVERRIDES = ("storage.options", "storage.root", "storage=")


def plan_json(plan: Plan, tracking_uri: str) -> str:
    """Return the published form of a plan; the same text for the same sweep and tracking server."""
    spec = plan.spec
    used = {name for task in plan.of_kind(EvaluateTask) for name in task.config.evaluation.metrics}
    document: PlanDocument = {
        "format": PLAN_FORMAT,
        "sweep": spec.name,
        "title": spec.title,
        "file": shown_path(spec.path),
        "command": submit_command(spec),
        "seeds": list(spec.seeds),
        "tracking_uri": tracking_uri,
        "experiment": spec.name,
        "budget_flops": spec.budget_flops,
        "equal_compute": not spec.compute.allow_unequal,
        "published": None if spec.published is None else as_plain(spec.published),
        "primary": _primary_entry(plan),
        "prices": _prices_entry(spec.runtime.prices),
        "metrics": [
            {"name": card.name, "title": card.title, "better": card.better, "about": card.about, "scale": card.scale}
            for card in METRICS.values()
            if card.name in used
        ],
        "parts": [_part_entry(plan, part) for part in spec.parts],
        "trials": [
            {
                "part": trial.part,
                "row": trial.row,
                "seed": trial.seed,
                "train": trial.trains[-1],
                "evaluations": [{"step": step, "digest": digest} for step, digest in trial.evaluations],
            }
            for trial in plan.trials
        ],
        "tasks": {digest: task_json(task, plan.tasks) for digest, task in plan.tasks.items()},
    }
    return _text(document)


def _primary_entry(plan: Plan) -> PrimaryEntry:
    """Return the metric that claims rest on: the declared one, else the first that the sweep measures."""
    declared = plan.spec.primary
    first = (config.evaluation.metrics[0] for config in plan.spec.configs)
    primary = declared or PrimaryMetric(next(first, EvaluationConfig().metrics[0]))
    return {
        "metric": primary.metric,
        "parts": list(primary.parts),
        "baseline": primary.baseline,
        "difference": primary.difference,
        "spread": primary.spread,
        "targets": list(primary.targets),
        "bands": primary.bands,
        "declared": declared is not None,
    }


def _prices_entry(prices: PricesConfig) -> PricesEntry:
    by_type = {name: price.per_accelerator_hour for name, price in prices.node_types.items()}
    return {"currency": prices.currency, "per_accelerator_hour": by_type}


def _part_entry(plan: Plan, part: PartSpec) -> PartEntry:
    entry: PartEntry = {
        "name": part.name,
        "title": part.title,
        "published": None if plan.spec.published is None else as_plain(part.published or PublishedPart()),
        "rows": [_row_entry(row) for row in part.rows],
    }
    if part.name in plan.searches:
        entry["search"] = plan.searches[part.name]
    return entry


def _row_entry(row: RowSpec) -> RowEntry:
    entry: RowEntry = {"label": row.label, "settings": dict(row.settings)}
    if row.short != row.label:
        entry["short"] = row.short
    return entry


def _text(document: PlanDocument) -> str:
    """Return JSON with a line for each task, trial, and other entry: json is ten times slower with indents."""

    def line(value: Any) -> str:
        return json.dumps(value, sort_keys=True, allow_nan=False)

    entries = {key: line(value) for key, value in document.items() if key not in ("tasks", "trials")}
    tasks = ",\n".join(f"  {line(key)}: {line(task)}" for key, task in sorted(document["tasks"].items()))
    trials = ",\n".join(f"  {line(trial)}" for trial in document["trials"])
    entries |= {"tasks": f"{{\n{tasks}\n }}", "trials": f"[\n{trials}\n ]"}
    return "{\n" + ",\n".join(f" {line(key)}: {text}" for key, text in sorted(entries.items())) + "\n}"


def shown_path(path: str) -> str:
    """Return a sweep file's name for people: relative to the project if it lies in it, from any directory.

    Where the project is installed, relative to the working directory, that of the job in a job.
    """
    resolved = Path(path).resolve()
    return resolved.relative_to(home()).as_posix() if resolved.is_relative_to(home()) else resolved.name


def submit_command(spec: SweepSpec) -> str:
    """Return the command that submits a sweep again from a checkout, or with an installed project, however it was.

    Overrides are as they were given. An absolute storage root is in it wherever it came from; options of the storage,
    which may be secret, and credentials in URLs are not.
    """
    resolved, root = Path(spec.path).resolve(), spec.runtime.storage.root
    program = ["python", "orchestration/sweep.py"] if IS_CHECKOUT else ["dfm", "sweep"]
    path = shown_path(spec.path) if resolved.is_relative_to(home()) else str(resolved)
    shown = [text for text in spec.overrides if not text.startswith(_STORAGE_OVERRIDES)]
    layers = {"--site": spec.layers.site, "--with": spec.layers.overlay}
    shown += [text for option, place in layers.items() if place for text in (option, place)]
    if "://" in root or Path(root).is_absolute():
        shown.append(f"storage.root={root}")
    return shlex.join([*program, path, *map(without_credentials, shown)])


def task_json(task: Task, tasks: Mapping[str, Task]) -> TaskEntry:
    """Return the published form of a task."""
    sources = task.sources if isinstance(task, MeasuringTask) else ()
    entry: TaskEntry = {
        "kind": task.kind,
        "title": task.title,
        "inputs": list(task.inputs),
        "payload": task.payload,
        "sources": [{"digest": source.digest, "networks": as_plain(source.networks)} for source in sources],
    }
    if isinstance(task, MetricTask) and task.protocols:
        entry["protocols"] = {name: vars(protocol) for name, protocol in task.protocols.items()}
    match task:
        case FinetuneAutoencoderTask():
            entry["until_step"] = task.until_step
        case TrainTask():
            cost = model_cost(task.config, card_of(task.config.data).shape)
            entry |= {
                "until_step": task.until_step,
                "snapshot_steps": list(task.snapshot_steps),
                "batch_size": task.config.training.batch_size,
                "flops_per_step": training_flops(task.config, cost, 1),
                "num_parameters": cost.num_parameters,
                "paradigm": task.config.paradigm,
            }
        case EvaluateTask():
            spent = _steps_spent(task, tasks)
            entry |= {
                "step": task.at_step,
                "train": task.snapshots[-1][0],
                "trained": spent,
                "floor": task.real_images or None,
                "sampling": sampling_payload(task.config),
                "training_flops": sum(_flops_until(tasks[train], step) for train, step in spent.items()),
                "training_images": sum(step - _start(tasks[train]) for train, step in spent.items())
                * task.config.training.batch_size,
                "num_evaluations": num_evaluations(task.config),
                "num_samples": task.config.evaluation.num_samples,
                "sampling_flops": task.flops,
            }
    return entry


def _steps_spent(task: EvaluateTask, tasks: Mapping[str, Task]) -> dict[str, int]:
    """Return the training steps behind an evaluation, by training: to its snapshots, and to those they started from.

    A backbone is no part of them: rows are compared from where they start.
    """
    spent = dict(task.snapshots)
    for train, _ in task.snapshots:
        training = tasks[train]
        own_start = isinstance(training, TrainTask) and training.config.model.described is None
        if isinstance(training, TrainTask) and training.initial is not None and own_start:
            digest, step = training.initial
            spent[digest] = max(spent.get(digest, 0), step)
        while isinstance(training, TrainTask) and training.continued is not None:
            digest, step = training.continued
            spent[digest], training = step, tasks[digest]
    return spent


def _start(task: Task) -> int:
    return task.start_step if isinstance(task, TrainTask) else 0


def _flops_until(task: Task, step: int) -> int:
    """Return a training's own FLOPs up to a step."""
    steps = step - _start(task)
    return training_flops(task.config, model_cost(task.config, card_of(task.config.data).shape), steps)
