"""The published plan, parsed: the contract with orchestration, which writes it before anything runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import fsspec

from analysis.errors import UserError

PLAN_FORMAT = 1


@dataclass(frozen=True)
class Metric:
    """What a reader has to know of a metric."""

    name: str
    title: str
    better: Literal["lower", "higher"]
    floor: str | None
    """Metric of the reference task: what real images score at the same number of images."""
    about: str


@dataclass(frozen=True)
class TableCounterpart:
    """The published table that a sweep stands beside."""

    table: str
    metrics: Mapping[str, str]
    """Our metric -> the published one to read beside it."""
    same_setting: bool
    """False: data, model or metric are others than the paper's, so that only the order of the rows compares."""


@dataclass(frozen=True)
class PartCounterpart:
    """The part of that table that one of our parts stands beside."""

    part: str | None
    """None: the one that is called as ours is, if there is one."""
    guidance: float | None
    """None: the only one that is published, or else 1."""


@dataclass(frozen=True)
class Part:
    """One section of the table and the labels of its rows, in order."""

    name: str
    title: str
    rows: tuple[str, ...]
    published: PartCounterpart | None = None


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
class TrainTask:
    """One training: what it costs, per step."""

    digest: str
    title: str
    until_step: int
    batch_size: int
    flops_per_step: int
    num_parameters: int

    @property
    def num_images(self) -> int:
        return self.until_step * self.batch_size

    @property
    def flops(self) -> int:
        return self.until_step * self.flops_per_step


@dataclass(frozen=True)
class EvaluateTask:
    """One measurement of one snapshot."""

    digest: str
    title: str
    step: int
    reference: str
    training_flops: int
    training_images: int
    num_evaluations: int
    """Network evaluations per generated image."""
    num_samples: int
    sampling_flops: int = 0
    """FLOPs of generating all samples; 0 if the plan does not say."""
    metrics: frozenset[str] | None = None
    """Names of what it measures; None if the plan does not say."""


@dataclass(frozen=True)
class ReferenceTask:
    """Real images, measured as the samples are."""

    digest: str
    title: str


@dataclass(frozen=True)
class PlanFile:
    """Everything the analysis knows of a sweep without asking MLflow."""

    sweep: str
    title: str
    file: str
    seeds: tuple[int, ...]
    tracking_uri: str
    experiment: str
    metrics: tuple[Metric, ...]
    parts: tuple[Part, ...]
    trials: tuple[Trial, ...]
    trainings: Mapping[str, TrainTask]
    evaluations: Mapping[str, EvaluateTask]
    references: Mapping[str, ReferenceTask]
    published: TableCounterpart | None = None
    equal_compute: bool = True
    """False if the sweep allows rows of unequal training compute in one part."""

    @property
    def digests(self) -> frozenset[str]:
        return frozenset({*self.trainings, *self.evaluations, *self.references})

    def trials_of(self, part: str, row: str) -> tuple[Trial, ...]:
        """The trials of a row, one per seed."""
        return tuple(trial for trial in self.trials if (trial.part, trial.row) == (part, row))

    def training_labels(self) -> dict[str, str]:
        """Digest of each training -> its title, with the first row that needs it where titles are alike."""
        titles = Counter(task.title for task in self.trainings.values())
        users = {trial.train: f"{trial.part} / {trial.row}" for trial in reversed(self.trials)}
        return {
            digest: task.title if titles[task.title] == 1 else f"{task.title} ({users.get(digest, digest)})"
            for digest, task in self.trainings.items()
        }


def read_plan(root: str, sweep: str, storage_options: Mapping[str, Any] | None = None) -> PlanFile:
    """The plan of a sweep out of its storage root, a directory or an fsspec URL.

    Raises: UserError if there is none, if it cannot be read or if another version of the project wrote it.
    """
    path = f"{root.rstrip('/')}/plans/{sweep}.json"
    try:
        with fsspec.open(path, "rt", encoding="utf-8", **(storage_options or {})) as file:
            text = file.read()
    except FileNotFoundError:
        raise UserError(
            f"{path}: sweep {sweep!r} has no published plan here; submit it first (python orchestration/sweep.py ...) "
            "or name the storage root it was submitted with: --storage ROOT"
        ) from None
    except Exception as error:  # each fsspec backend raises its own family
        raise UserError(f"{path}: cannot be read ({error or type(error).__name__}); check --storage") from error
    return parse_plan(text, path)


def parse_plan(text: str, where: str = "plan") -> PlanFile:
    """A plan out of its JSON text.

    Raises: UserError naming `where` if the text is not a plan of this format.
    """
    try:
        document = json.loads(text)
        if document["format"] != PLAN_FORMAT:
            raise UserError(
                f"{where}: plan format {document['format']!r}, this analysis reads format {PLAN_FORMAT}; "
                "submit the sweep again with this version, or analyse it with the version that wrote it"
            )
        return _parse_document(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"lacks key {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{where}: not a sweep's plan ({detail}); submit the sweep again to publish it anew") from error


def _parse_document(document: Mapping[str, Any]) -> PlanFile:
    tasks: Mapping[str, Mapping[str, Any]] = document["tasks"]
    return PlanFile(
        sweep=document["sweep"],
        title=document["title"],
        file=document["file"],
        seeds=tuple(document["seeds"]),
        tracking_uri=document["tracking_uri"],
        experiment=document["experiment"],
        metrics=tuple(
            Metric(card["name"], card["title"], card["better"], card.get("floor"), card.get("about", ""))
            for card in document["metrics"]
        ),
        parts=tuple(map(_parse_part, document["parts"])),
        trials=tuple(map(_parse_trial, document["trials"])),
        trainings={key: _parse_training(key, task) for key, task in tasks.items() if task["kind"] == "train"},
        evaluations={key: _parse_evaluation(key, task) for key, task in tasks.items() if task["kind"] == "evaluate"},
        references={
            key: ReferenceTask(key, task["title"]) for key, task in tasks.items() if task["kind"] == "reference"
        },
        published=_parse_counterpart(document.get("published")),
        equal_compute=bool(document.get("equal_compute", True)),
    )


def _parse_counterpart(entry: Mapping[str, Any] | None) -> TableCounterpart | None:
    return None if entry is None else TableCounterpart(entry["table"], dict(entry["metrics"]), entry["same_setting"])


def _parse_part(part: Mapping[str, Any]) -> Part:
    entry = part.get("published")
    counterpart = None if entry is None else PartCounterpart(entry["part"], entry["guidance"])
    return Part(part["name"], part["title"], tuple(row["label"] for row in part["rows"]), counterpart)


def _parse_trial(trial: Mapping[str, Any]) -> Trial:
    evaluations = sorted((int(entry["step"]), str(entry["digest"])) for entry in trial["evaluations"])
    return Trial(trial["part"], trial["row"], trial["seed"], trial["train"], tuple(evaluations))


def _parse_training(digest: str, task: Mapping[str, Any]) -> TrainTask:
    numbers = ("until_step", "batch_size", "flops_per_step", "num_parameters")
    return TrainTask(digest, task["title"], *(int(task[key]) for key in numbers))


def _parse_evaluation(digest: str, task: Mapping[str, Any]) -> EvaluateTask:
    measured = task.get("payload", {}).get("evaluation", {}).get("metrics")
    return EvaluateTask(
        digest,
        task["title"],
        int(task["step"]),
        task["reference"],
        int(task["training_flops"]),
        int(task["training_images"]),
        int(task["num_evaluations"]),
        int(task["num_samples"]),
        int(task.get("sampling_flops", 0)),
        None if measured is None else frozenset(measured),
    )
