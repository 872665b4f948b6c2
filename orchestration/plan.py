"""A sweep into the tasks it needs: a pure function, published as JSON before anything runs.

The JSON is the contract with the analysis: a table cell is a digest in it, and its number is whatever MLflow holds for
that digest.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfm_core.compute import model_cost, num_evaluations, training_flops
from dfm_core.config import ExperimentConfig
from dfm_core.data.catalog import DATASETS
from dfm_core.metrics.catalog import METRICS
from orchestration.digests import digest_of
from orchestration.spec import PartSpec, RowSpec, SweepSpec
from orchestration.tasks import Task, evaluate_task, reference_task, train_payload, train_task

PLAN_FORMAT = 1
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Trial:
    """One row at one seed: a training and what is measured along it."""

    part: str
    row: str
    seed: int
    train: str
    evaluations: tuple[tuple[int, str], ...]
    """(step, digest of the evaluate task), by step."""


@dataclass(frozen=True)
class Plan:
    """All tasks of a sweep, each once, inputs before their readers."""

    spec: SweepSpec
    tasks: dict[str, Task]
    trials: tuple[Trial, ...]
    used_by: dict[str, list[str]]
    """ "part / row" of every trial that needs a task, in the sweep's order; references serve all and are not in it."""

    def of_kind(self, kind: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.kind == kind]

    def users(self, digest: str) -> list[str]:
        """ "part / row" of every trial that needs a task, in the sweep's order."""
        return self.used_by.get(digest, [])


def make_plan(spec: SweepSpec) -> Plan:
    """The plan of a sweep: trials that differ only in sampling share their training, equal rows share everything."""
    cells = list(_cells(spec))
    wanted: dict[str, list[tuple[str, ExperimentConfig]]] = defaultdict(list)
    digests = []
    for _, row, config in cells:
        digest = digest_of(train_payload(config))
        digests.append(digest)
        wanted[digest].append((_training_title(row, config), config))
    tasks: dict[str, Task] = {}
    evaluations: dict[str, Task] = {}
    trials = []
    for (part, row, config), digest in zip(cells, digests, strict=True):
        reference = reference_task(config, config.evaluation.num_samples)
        tasks.setdefault(reference.digest, reference)
        ids = []
        for step in config.evaluation_steps:
            task = evaluate_task(config, f"{row.label} @ {step}", step, digest, reference.digest)
            evaluations.setdefault(task.digest, task)
            ids.append((step, task.digest))
        trials.append(Trial(part.name, row.label, config.seed, digest, tuple(ids)))
    for digest, users in wanted.items():
        snapshots = tuple(sorted({step for _, config in users for step in config.evaluation_steps}))
        until = max(config.training.steps for _, config in users)
        title, config = users[0]
        tasks[digest] = train_task(config, title, until, tuple(sorted({*snapshots, until})))
        assert tasks[digest].digest == digest, "a training's digest depends on its payload alone"
    return Plan(spec, {**tasks, **evaluations}, tuple(trials), _used_by(trials))


def _used_by(trials: list[Trial]) -> dict[str, list[str]]:
    users: dict[str, dict[str, None]] = defaultdict(dict)
    for trial in trials:
        for digest in (trial.train, *(digest for _, digest in trial.evaluations)):
            users[digest][f"{trial.part} / {trial.row}"] = None
    return {digest: list(names) for digest, names in users.items()}


def _cells(spec: SweepSpec) -> Iterator[tuple[PartSpec, RowSpec, ExperimentConfig]]:
    for part in spec.parts:
        for row in part.rows:
            for config in row.configs:
                yield part, row, config


def _training_title(row: RowSpec, config: ExperimentConfig) -> str:
    """The row's settings that concern the training, for people."""
    own = [f"{key.rsplit('.', 1)[-1]}={value}" for key, value in row.settings.items() if key.startswith("training.")]
    return ", ".join([config.paradigm, *own, f"seed={config.seed}"])


def plan_json(plan: Plan, tracking_uri: str) -> str:
    """The published form of a plan; the same text for the same sweep and tracking server."""
    spec = plan.spec
    used = {name for task in plan.of_kind("evaluate") for name in task.config.evaluation.metrics}
    document = {
        "format": PLAN_FORMAT,
        "sweep": spec.name,
        "title": spec.title,
        "file": shown_path(spec.path),
        "seeds": list(spec.seeds),
        "tracking_uri": tracking_uri,
        "experiment": spec.name,
        "metrics": [
            {"name": card.name, "title": card.title, "better": card.better, "floor": card.floor, "about": card.about}
            for card in METRICS.values()
            if card.name in used
        ],
        "parts": [
            {
                "name": part.name,
                "title": part.title,
                "rows": [{"label": row.label, "settings": dict(row.settings)} for row in part.rows],
            }
            for part in spec.parts
        ],
        "trials": [
            {
                "part": trial.part,
                "row": trial.row,
                "seed": trial.seed,
                "train": trial.train,
                "evaluations": [{"step": step, "digest": digest} for step, digest in trial.evaluations],
            }
            for trial in plan.trials
        ],
        "tasks": {digest: _task_json(task) for digest, task in plan.tasks.items()},
    }
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False)


def shown_path(path: str) -> str:
    """A sweep file's name for people: relative to the project if it lies in it, wherever the user called from."""
    resolved = Path(path).resolve()
    return resolved.relative_to(_ROOT).as_posix() if resolved.is_relative_to(_ROOT) else resolved.name


def _task_json(task: Task) -> dict[str, Any]:
    card = DATASETS[task.config.data.dataset]
    cost = model_cost(task.config, card.channels, card.num_classes)
    details: dict[str, Any] = {}
    if task.kind == "train":
        details = {
            "until_step": task.until_step,
            "snapshot_steps": list(task.snapshot_steps),
            "batch_size": task.config.training.batch_size,
            "flops_per_step": training_flops(task.config, cost, 1),
            "num_parameters": cost.num_parameters,
            "paradigm": task.config.paradigm,
        }
    elif task.kind == "evaluate":
        details = {
            "step": task.at_step,
            "train": task.inputs[0],
            "reference": task.inputs[1],
            "training_flops": training_flops(task.config, cost, task.at_step),
            "training_images": task.at_step * task.config.training.batch_size,
            "num_evaluations": num_evaluations(task.config),
            "num_samples": task.config.evaluation.num_samples,
        }
    return {"kind": task.kind, "title": task.title, "inputs": list(task.inputs), "payload": task.payload, **details}
