"""The plan of a sweep, made of its spec by a pure function and published as JSON before anything runs.

The JSON is the contract with the analysis: a table cell is a digest in it, and its number is that of the digest's
record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dfm_core.config import ExperimentConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.backbone_recipe import starts_from_files
from orchestration.spec.load import SweepSpec
from orchestration.spec.rows import PartSpec, RowSpec
from orchestration.spec.short_labels import setting_text
from orchestration.storage.layout import SnapshotRef
from orchestration.tasks.encoding import autoencoder_tasks, latents_task, pixels_task, texts_task
from orchestration.tasks.evaluation import evaluate_task
from orchestration.tasks.measurement import MeasurementFiles
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import EvaluateTask, Task, TrainTask
from orchestration.tasks.training import pyramid_task, train_task
from orchestration.tasks.training_chain import ChainedTraining, snapshots_at, training_chain, trainings_before

_TRAINING_SECTIONS = ("data", "decomposition", "model", "training")
_Task = TypeVar("_Task", bound=Task)


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
    """By part: the published form of its search, see `orchestration.search.plan_rows`."""

    def of_kind(self, kind: type[_Task]) -> list[_Task]:
        """Return all tasks of a class, in the plan's order."""
        return [task for task in self.tasks.values() if isinstance(task, kind)]

    def evaluation(self, digest: str) -> EvaluateTask:
        """Return the evaluation of a digest that a trial names."""
        task = self.tasks[digest]
        assert isinstance(task, EvaluateTask), f"{task.kind} {task.title} is no evaluation"
        return task

    def training_of(self, task: Task) -> Task | None:
        """Return the training that an evaluation measures; None for experts, which have several, and other tasks."""
        if not isinstance(task, EvaluateTask) or len(task.snapshots) != 1:
            return None
        return self.tasks[task.snapshots[0][0]]

    def users(self, digest: str) -> list[str]:
        """Return "part / row" of every trial that needs a task, in the sweep's order."""
        return self.used_by.get(digest, [])


@dataclass(frozen=True)
class _Cell:
    """The tasks of one row at one seed, and its trial."""

    inputs: tuple[Task, ...]
    trainings: tuple[tuple[str, ChainedTraining], ...]
    """(title, training), in order."""
    evaluations: tuple[EvaluateTask, ...]
    trial: Trial
    is_shown: bool
    """False if no table shows it: a training that a trial has left."""


class Planner:
    """Maker of the plans of a sweep that grows: it does again only what new rows need."""

    def __init__(self, runtime: RuntimeConfig) -> None:
        self._files = MeasurementFiles(runtime.networks, runtime.references)
        self._measurement_inputs: dict[object, MeasurementInputs] = {}
        self._cells: dict[int, tuple[RowSpec, tuple[_Cell, ...]]] = {}
        """By the identity of a row, which is kept with its cells."""

    def make(self, spec: SweepSpec) -> Plan:
        """Return the plan: trials that differ only in sampling share their training, equal rows everything."""
        trainings: dict[str, list[tuple[str, ChainedTraining]]] = defaultdict(list)
        inputs: dict[str, Task] = {}
        evaluations: dict[str, EvaluateTask] = {}
        trials, users = [], []
        for cell in self._cells_of(spec):
            for task in cell.inputs:
                inputs.setdefault(task.digest, task)
            for title, link in cell.trainings:
                trainings[link.digest].append((title, link))
            for evaluation in cell.evaluations:
                evaluations.setdefault(evaluation.digest, evaluation)
            users.append(cell.trial)
            if cell.is_shown:
                trials.append(cell.trial)
        raw = {ref for task in evaluations.values() if task.config.sampling.weights == "raw" for ref in task.snapshots}
        shared = {digest: _shared_training(users, raw, spec.runtime) for digest, users in trainings.items()}
        tasks: dict[str, Task] = {**inputs, **shared, **evaluations}
        assert all(task.digest == digest for digest, task in tasks.items()), "a digest depends on the payload alone"
        return Plan(spec, tasks, tuple(trials), _used_by(users, shared))

    def _cells_of(self, spec: SweepSpec) -> Iterator[_Cell]:
        before, self._cells = self._cells, {}
        for part in spec.parts:
            for row in part.rows:
                _, cells = before.get(id(row)) or (row, tuple(self._row_cells(spec, part, row)))
                self._cells[id(row)] = (row, cells)
                yield from cells

    def _row_cells(self, spec: SweepSpec, part: PartSpec, row: RowSpec) -> Iterator[_Cell]:
        for config in (*row.configs, *row.left):
            chain, before = training_chain(config), trainings_before(config, spec.backbones)
            inputs = [task for _, link in before for task in _data_tasks(link.config, spec)]
            inputs += _data_tasks(config, spec)
            if config.decomposition.name == "learned":
                inputs.append(pyramid_task(config))
            measured = self._measured_with(config)
            real = pixels_task(config)
            if real is not None and any(real.digest in task.inputs for task in measured.tasks):
                inputs.append(real)
            inputs += measured.tasks
            seed = f", seed={config.seed}" if len(row.configs) > 1 else ""
            evaluations = {
                step: evaluate_task(
                    config, f"{row.short}{seed} @ {step}", step, snapshots_at(config, chain, step), measured
                )
                for step in config.evaluation_steps
            }
            ids = tuple((step, task.digest) for step, task in evaluations.items())
            trial = Trial(part.name, row.label, config.seed, tuple(link.digest for link in chain), ids)
            titled = tuple((_training_title(row, link, spec.short_names), link) for link in chain)
            backbones = tuple((f"backbone {name}", link) for name, link in before)
            is_shown = any(config is own for own in row.configs)
            yield _Cell(tuple(inputs), (*backbones, *titled), tuple(evaluations.values()), trial, is_shown)

    def _measured_with(self, config: ExperimentConfig) -> MeasurementInputs:
        key = (config.data, config.evaluation)
        if key not in self._measurement_inputs:  # thousands of rows share them
            self._measurement_inputs[key] = MeasurementInputs.of(config, self._files)
        return self._measurement_inputs[key]


def make_plan(spec: SweepSpec) -> Plan:
    """Return the plan of a sweep, see `Planner`."""
    return Planner(spec.runtime).make(spec)


def _data_tasks(config: ExperimentConfig, spec: SweepSpec) -> list[Task]:
    """Return what has to be made before a training can read its data, inputs before their readers."""
    tasks: list[Task] = []
    if (latents := latents_task(config)) is not None:
        tasks += [*autoencoder_tasks(config, spec.recipes), latents]
    if (texts := texts_task(config)) is not None:
        tasks += [one for one in (pixels_task(config), texts) if one is not None]
    return tasks


def _shared_training(
    users: list[tuple[str, ChainedTraining]], raw: set[SnapshotRef], runtime: RuntimeConfig
) -> TrainTask:
    """Return one training that serves all who want something of it."""
    title, first = users[0]
    until = max(link.until_step for _, link in users)
    snapshots = {step for _, link in users for step in link.snapshot_steps} | {until}
    raw_steps = tuple(sorted(step for train, step in raw if train == first.digest))
    files = runtime.backbones[first.config.model.start].files if starts_from_files(first.config) else None
    data = first.config.data
    is_live = bool(data.described and data.described.captions and data.described.captions.in_workers)
    encoders = runtime.text_encoders[data.text] if is_live else None
    started = first.initial, raw_steps, files or "", first.continued, encoders
    return train_task(first.config, title, until, tuple(sorted(snapshots)), *started)


def _used_by(trials: list[Trial], trainings: Mapping[str, TrainTask]) -> dict[str, list[str]]:
    users: dict[str, dict[str, None]] = defaultdict(dict)
    for trial in trials:
        own = {*trial.trains, *(digest for _, digest in trial.evaluations)}
        needed = [one for train in trial.trains for one in _with_those_before(train, trainings)]
        own |= {digest for train in needed for digest in (train, *trainings[train].made_inputs)}
        for digest in own - {""}:
            users[digest][f"{trial.part} / {trial.row}"] = None
    return {digest: list(names) for digest, names in users.items()}


def _with_those_before(train: str, trainings: Mapping[str, TrainTask]) -> Iterator[str]:
    """Yield a training and those that it starts from, one after the other."""
    yield train
    if (initial := trainings[train].initial) is not None:
        yield from _with_those_before(initial[0], trainings)


def _is_shown(key: str) -> bool:
    section, _, name = key.partition(".")
    return section in _TRAINING_SECTIONS and "." not in name


def _own_decomposition(config: ExperimentConfig) -> str:
    """Return the decomposition that titles leave out."""
    return {"dfm": "laplacian", "flow_matching": "identity"}.get(config.paradigm, "levels")


def _training_title(row: RowSpec, link: ChainedTraining, names: Mapping[str, str]) -> str:
    """Return the row's settings that concern the training, for people."""
    network = "network" if link.config.paradigm == "cascaded" else "expert"
    stage = [] if link.stage is None else [f"{network} of stage {link.stage}"]
    own = [
        str(value) if key == "decomposition.name" else setting_text(key, value, names)
        for key, value in row.settings.items()
        if _is_shown(key) and not isinstance(value, list) and value != _own_decomposition(link.config)
    ]
    since = [f"from step {link.start_step}"] if link.continued is not None else []
    return ", ".join([link.config.paradigm, *stage, *own, *since, f"seed={link.config.seed}"])
