"""A sweep into the tasks it needs: a pure function, published as JSON before anything runs.

The JSON is the contract with the analysis: a table cell is a digest in it, and its number is whatever MLflow holds for
that digest.
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfm_core.compute import model_cost, num_evaluations, training_flops
from dfm_core.config import ExperimentConfig, as_plain
from dfm_core.data.cards import card_of
from dfm_core.metrics.catalog import METRICS
from orchestration.chains import Link, snapshots_at, training_chain
from orchestration.encode_tasks import latents_task, making_tasks, pixels_task
from orchestration.measure_tasks import Measures, MeasuringFiles, evaluate_task, sampling_payload
from orchestration.published_keys import PublishedPart
from orchestration.redaction import without_credentials
from orchestration.rows import PartSpec, RowSpec
from orchestration.spec import SweepSpec
from orchestration.tasks import SnapshotRef, Task, pyramid_task, train_task

PLAN_FORMAT = 2
_TRAINING_SECTIONS = ("data", "decomposition", "model", "training")
_STORAGE_OVERRIDES = ("storage.options", "storage.root", "storage=")
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Trial:
    """One row at one seed: a training and what is measured along it."""

    part: str
    row: str
    seed: int
    trains: tuple[str, ...]
    """Digests of its trainings, in order: one, or one for each expert."""
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
    searches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By part: what is published of its search, see `search_plan`."""

    def of_kind(self, kind: str) -> list[Task]:
        return [task for task in self.tasks.values() if task.kind == kind]

    def training_of(self, task: Task) -> Task | None:
        """The training that an evaluation measures; None for experts, which have several, and for other tasks."""
        return self.tasks[task.snapshots[0][0]] if task.kind == "evaluate" and len(task.snapshots) == 1 else None

    def users(self, digest: str) -> list[str]:
        """ "part / row" of every trial that needs a task, in the sweep's order."""
        return self.used_by.get(digest, [])


def make_plan(spec: SweepSpec) -> Plan:
    """The plan of a sweep: trials that differ only in sampling share their training, equal rows share everything."""
    trainings: dict[str, list[tuple[str, Link]]] = defaultdict(list)
    inputs: dict[str, Task] = {}
    evaluations: dict[str, Task] = {}
    known: dict[object, Measures] = {}
    files = MeasuringFiles(spec.runtime.networks, spec.runtime.references)
    trials = []
    for part, row, config in _cells(spec):
        if (latents := latents_task(config)) is not None and latents.digest not in inputs:
            inputs |= {task.digest: task for task in (*making_tasks(config, spec.makings), latents)}
        chain = training_chain(config)
        for link in chain:
            trainings[link.digest].append((_training_title(row, link), link))
        if config.decomposition.name == "learned":
            pyramid = pyramid_task(config)
            inputs.setdefault(pyramid.digest, pyramid)
        held_against = (config.data, config.evaluation)
        if held_against not in known:  # thousands of rows share them
            known[held_against] = Measures.of(config, files)
            real = pixels_task(config)
            if real is not None and any(real.digest in task.inputs for task in known[held_against].tasks):
                inputs[real.digest] = real
            inputs |= {task.digest: inputs.get(task.digest, task) for task in known[held_against].tasks}
        ids = []
        for step in config.evaluation_steps:
            snapshots, title = snapshots_at(config, chain, step), f"{row.label} @ {step}"
            task = evaluate_task(config, title, step, snapshots, known[held_against])
            evaluations.setdefault(task.digest, task)
            ids.append((step, task.digest))
        trials.append(Trial(part.name, row.label, config.seed, tuple(link.digest for link in chain), tuple(ids)))
    raw = {ref for task in evaluations.values() if task.config.sampling.weights == "raw" for ref in task.snapshots}
    shared = {digest: _shared_training(users, raw) for digest, users in trainings.items()}
    tasks = {**inputs, **shared, **evaluations}
    assert all(task.digest == digest for digest, task in tasks.items()), "a digest depends on the payload alone"
    return Plan(spec, tasks, tuple(trials), _used_by(trials, tasks))


def _shared_training(users: list[tuple[str, Link]], raw: set[SnapshotRef]) -> Task:
    """One training that serves all who want something of it."""
    title, first = users[0]
    until = max(link.until_step for _, link in users)
    snapshots = {step for _, link in users for step in link.snapshot_steps} | {until}
    raw_steps = tuple(sorted(step for train, step in raw if train == first.digest))
    return train_task(first.config, title, until, tuple(sorted(snapshots)), first.initial, raw_steps)


def _used_by(trials: list[Trial], tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    users: dict[str, dict[str, None]] = defaultdict(dict)
    for trial in trials:
        own = {*trial.trains, *(digest for _, digest in trial.evaluations), *(tasks[d].pyramid for d in trial.trains)}
        own |= {tasks[d].latents for d in trial.trains}
        for digest in own - {""}:
            users[digest][f"{trial.part} / {trial.row}"] = None
    return {digest: list(names) for digest, names in users.items()}


def _cells(spec: SweepSpec) -> Iterator[tuple[PartSpec, RowSpec, ExperimentConfig]]:
    for part in spec.parts:
        for row in part.rows:
            for config in row.configs:
                yield part, row, config


def _is_shown(key: str) -> bool:
    section, _, name = key.partition(".")
    return section in _TRAINING_SECTIONS and "." not in name


def _own_decomposition(config: ExperimentConfig) -> str:
    """The decomposition that goes without saying."""
    return {"dfm": "laplacian", "flow_matching": "identity"}.get(config.paradigm, "levels")


def _training_title(row: RowSpec, link: Link) -> str:
    """The row's settings that concern the training, for people."""
    network = "network" if link.config.paradigm == "cascaded" else "expert"
    stage = [] if link.stage is None else [f"{network} of stage {link.stage}"]
    own = [
        str(value) if key == "decomposition.name" else f"{key.rsplit('.', 1)[-1]}={value}"
        for key, value in row.settings.items()
        if _is_shown(key) and not isinstance(value, list) and value != _own_decomposition(link.config)
    ]
    return ", ".join([link.config.paradigm, *stage, *own, f"seed={link.config.seed}"])


def plan_json(plan: Plan, tracking_uri: str) -> str:
    """The published form of a plan; the same text for the same sweep and tracking server."""
    spec = plan.spec
    used = {name for task in plan.of_kind("evaluate") for name in task.config.evaluation.metrics}
    document = {
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
        "metrics": [
            {"name": card.name, "title": card.title, "better": card.better, "about": card.about}
            for card in METRICS.values()
            if card.name in used
        ],
        "parts": [
            {
                "name": part.name,
                "title": part.title,
                "published": None if spec.published is None else as_plain(part.published or PublishedPart()),
                "rows": [{"label": row.label, "settings": dict(row.settings)} for row in part.rows],
                **({"search": plan.searches[part.name]} if part.name in plan.searches else {}),
            }
            for part in spec.parts
        ],
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
        "tasks": {digest: _task_json(task, plan.tasks) for digest, task in plan.tasks.items()},
    }
    return _text(document)


def _text(document: Mapping[str, Any]) -> str:
    """JSON with a line for each task, trial, and other entry: json writes indented text at a tenth of its speed."""

    def line(value: Any) -> str:
        return json.dumps(value, sort_keys=True, allow_nan=False)

    entries = {key: line(value) for key, value in document.items() if key not in ("tasks", "trials")}
    tasks = ",\n".join(f"  {line(key)}: {line(task)}" for key, task in sorted(document["tasks"].items()))
    trials = ",\n".join(f"  {line(trial)}" for trial in document["trials"])
    entries |= {"tasks": f"{{\n{tasks}\n }}", "trials": f"[\n{trials}\n ]"}
    return "{\n" + ",\n".join(f" {line(key)}: {text}" for key, text in sorted(entries.items())) + "\n}"


def shown_path(path: str) -> str:
    """A sweep file's name for people: relative to the project if it lies in it, wherever the user called from."""
    resolved = Path(path).resolve()
    return resolved.relative_to(_ROOT).as_posix() if resolved.is_relative_to(_ROOT) else resolved.name


def submit_command(spec: SweepSpec) -> str:
    """The command that submits a sweep again from anywhere, the same however it was submitted.

    Overrides are as they were given. The storage root stands in it wherever it came from, once it is absolute; options
    of the storage, which may be secret, and credentials in URLs do not.
    """
    resolved, root = Path(spec.path).resolve(), spec.runtime.storage.root
    path = shown_path(spec.path) if resolved.is_relative_to(_ROOT) else str(resolved)
    shown = [text for text in spec.overrides if not text.startswith(_STORAGE_OVERRIDES)]
    if "://" in root or Path(root).is_absolute():
        shown.append(f"storage.root={root}")
    return shlex.join(["python", "orchestration/sweep.py", path, *map(without_credentials, shown)])


def _task_json(task: Task, tasks: Mapping[str, Task]) -> dict[str, Any]:
    card = card_of(task.config.data)
    cost = model_cost(task.config, card.shape)
    details: dict[str, Any] = {}
    if task.kind == "finetune_autoencoder":
        details = {"until_step": task.until_step}
    elif task.kind == "train":
        details = {
            "until_step": task.until_step,
            "snapshot_steps": list(task.snapshot_steps),
            "batch_size": task.config.training.batch_size,
            "flops_per_step": training_flops(task.config, cost, 1),
            "num_parameters": cost.num_parameters,
            "paradigm": task.config.paradigm,
        }
    elif task.kind == "evaluate":
        spent = _steps_spent(task, tasks)
        details = {
            "step": task.at_step,
            "train": task.snapshots[-1][0],
            "trained": spent,
            "floor": task.floor or None,
            "sampling": sampling_payload(task.config),
            "training_flops": sum(_flops_until(tasks[train], step) for train, step in spent.items()),
            "training_images": sum(spent.values()) * task.config.training.batch_size,
            "num_evaluations": num_evaluations(task.config),
            "num_samples": task.config.evaluation.num_samples,
            "sampling_flops": task.flops,
        }
    if task.protocols:
        details["protocols"] = {name: vars(protocol) for name, protocol in task.protocols.items()}
    sources = [{"digest": source.digest, "networks": as_plain(source.networks)} for source in task.sources]
    common = {"kind": task.kind, "title": task.title, "inputs": list(task.inputs), "payload": task.payload}
    return {**common, "sources": sources, **details}


def _steps_spent(task: Task, tasks: Mapping[str, Task]) -> dict[str, int]:
    """Training steps behind an evaluation, by training: to its snapshots, and to those that another started from."""
    spent = dict(task.snapshots)
    for train, _ in task.snapshots:
        start = tasks[train].initial
        if start is not None:
            spent[start[0]] = max(spent.get(start[0], 0), start[1])
    return spent


def _flops_until(task: Task, step: int) -> int:
    """Training FLOPs up to a step of a training."""
    return training_flops(task.config, model_cost(task.config, card_of(task.config.data).shape), step)
