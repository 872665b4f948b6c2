"""Parser of the published plan, whose schema is `analysis.contract.plan_schema`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fsspec.core import url_to_fs

from analysis.contract.plan_schema import (
    DEFAULT_MARGIN,
    PLAN_FORMAT,
    PartEntry,
    PlanDocument,
    PlanFormatError,
    TableEntry,
    TaskEntry,
    TaskKind,
    TrialEntry,
    parse_plan_document,
)
from analysis.contract.regular_files import read_file
from analysis.errors import UserError
from analysis.plan.labels import with_short_labels
from analysis.plan.model import (
    EvaluateTask,
    FloorTask,
    Metric,
    Part,
    PartCounterpart,
    Primary,
    PublishedPlan,
    Search,
    SearchedTrial,
    TableCounterpart,
    Takeover,
    TrainTask,
    Trial,
)
from analysis.plan.protocol import Protocol, parse_protocol, with_task_fields
from analysis.plan.settings import resolved_settings
from analysis.plan.sweep_file import SWEEP_NAME

_NAMED: tuple[TaskKind, ...] = ("reference", "probe", "pyramid", "encode", "finetune_autoencoder")


def read_plan(root: str, sweep: str, storage_options: Mapping[str, Any] | None = None) -> PublishedPlan:
    """The plan of a sweep out of its storage root, a directory or an fsspec URL.

    Raises: UserError if there is none, if it cannot be read or if another version of the project wrote it.
    """
    path = f"{root.rstrip('/')}/plans/{sweep}.json"
    try:
        text = read_file(*url_to_fs(path, **(storage_options or {}))).decode()
    except FileNotFoundError:
        raise UserError(
            f"{path}: sweep {sweep!r} has no published plan here; submit it first, or name the storage root that it "
            "was submitted with: --storage ROOT"
        ) from None
    except Exception as error:  # each fsspec backend raises its own family
        raise UserError(f"{path}: cannot be read ({error or type(error).__name__}); check --storage") from error
    return parse_plan(text, path)


def parse_plan(text: str, where: str = "plan") -> PublishedPlan:
    """A plan out of its JSON text.

    Raises: UserError naming `where` if the text is not a plan of this format.
    """
    try:
        return _parse_document(parse_plan_document(text))
    except PlanFormatError as error:
        raise UserError(
            f"{where}: plan format {error.given!r}, this analysis reads format {PLAN_FORMAT}; "
            "submit the sweep again with this version, or analyse it with the version that wrote it"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        detail = f"lacks key {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{where}: not a sweep's plan ({detail}); submit the sweep again to publish it anew") from error


def _parse_document(given: PlanDocument) -> PublishedPlan:
    document = with_short_labels(given)
    tasks, table = document["tasks"], document.get("published")
    if not SWEEP_NAME.fullmatch(document["sweep"]):
        raise ValueError(f"{document['sweep'][:80]!r} is not a sweep's name")
    floors = {key: FloorTask(key, task["title"], _parse_protocols(task)) for key, task in _of_kind(tasks, "floor")}
    return PublishedPlan(
        sweep=document["sweep"],
        title=document["title"],
        file=document["file"],
        seeds=tuple(document["seeds"]),
        tracking_uri=document["tracking_uri"],
        experiment=document["experiment"],
        metrics=tuple(
            Metric(card["name"], card["title"], card["better"], card.get("about", ""), card.get("scale", "linear"))
            for card in document["metrics"]
        ),
        parts=tuple(_parse_part(part, document["trials"], tasks) for part in document["parts"]),
        trials=tuple(map(_parse_trial, document["trials"])),
        trainings={key: _parse_training(key, task) for key, task in _of_kind(tasks, "train")},
        evaluations={key: _parse_evaluation(key, task, floors) for key, task in _of_kind(tasks, "evaluate")},
        floors=floors,
        titles={kind: {key: task["title"] for key, task in _of_kind(tasks, kind)} for kind in _NAMED},
        published=None if table is None else _parse_counterpart(table),
        equal_compute=bool(document.get("equal_compute", True)),
        command=str(document.get("command") or f"python orchestration/sweep.py {document['file']}"),
        payloads={digest: task["payload"] for digest, task in tasks.items() if task.get("payload")},
        primary=_parse_primary(document),
        currency=str(document.get("prices", {}).get("currency", "")),
        prices={
            str(name): float(price)
            for name, price in document.get("prices", {}).get("per_accelerator_hour", {}).items()
        },
    )


def _parse_counterpart(table: TableEntry) -> TableCounterpart:
    margin = float(table.get("margin", DEFAULT_MARGIN))
    return TableCounterpart(table["table"], dict(table["metrics"]), table["same_setting"], margin)


def _parse_primary(document: PlanDocument) -> Primary:
    """Return the metric that claims rest on; the first one in plans that do not say it."""
    entry = document.get("primary")
    if entry is None:
        return Primary(document["metrics"][0]["name"] if document["metrics"] else "")
    spread = entry["spread"]
    return Primary(
        str(entry["metric"]),
        tuple(entry["parts"]),
        entry["baseline"],
        float(entry["difference"]),
        None if spread is None else float(spread),
        tuple(map(float, entry.get("targets", ()))),
        entry.get("bands", "pointwise"),
        bool(entry["declared"]),
    )


def _of_kind(tasks: Mapping[str, TaskEntry], kind: TaskKind) -> Iterator[tuple[str, TaskEntry]]:
    return ((digest, task) for digest, task in tasks.items() if task["kind"] == kind)


def _parse_part(part: PartEntry, trials: Sequence[TrialEntry], tasks: Mapping[str, TaskEntry]) -> Part:
    entry = part.get("published")
    counterpart = None if entry is None else PartCounterpart(entry["part"], entry["guidance"])
    search = _parse_search(part["search"]) if "search" in part else None
    rows = tuple(row["label"] for row in part["rows"])
    settings = resolved_settings(part, trials, tasks)
    long = {row["label"]: row["long"] for row in part["rows"] if "long" in row}
    return Part(part["name"], part["title"], rows, counterpart, search, settings, long)


def _parse_search(entry: Mapping[str, Any]) -> Search:
    trials = tuple(
        SearchedTrial(
            str(trial.get("row", "")),
            int(trial.get("number", number)),
            dict(trial.get("settings", {})),
            str(trial["state"]),
            tuple(map(float, trial.get("values", ()))),
            bool(trial.get("is_feasible", True)),
            tuple(
                Takeover(int(at), int(donor), dict(settings)) for at, donor, _, settings in trial.get("exploits", ())
            ),
        )
        for number, trial in enumerate(entry["trials"])
    )
    states = Counter(trial.state for trial in trials)
    brackets = tuple(tuple(map(int, bracket)) for bracket in entry.get("brackets", ()))
    confirmed = str(entry.get("confirmed", ""))
    best, compared_at = tuple(entry["best"]), tuple(map(str, entry.get("compared_at", ())))
    objectives, wanted = dict(entry["objectives"]), int(entry["num_trials"])
    return Search(objectives, wanted, states, best, trials, confirmed, brackets, compared_at)


def _parse_trial(trial: TrialEntry) -> Trial:
    evaluations = sorted((int(entry["step"]), str(entry["digest"])) for entry in trial["evaluations"])
    return Trial(trial["part"], trial["row"], trial["seed"], trial["train"], tuple(evaluations))


def _parse_training(digest: str, task: TaskEntry) -> TrainTask:
    resolution = task.get("payload", {}).get("data", {}).get("resolution")
    return TrainTask(
        digest,
        task["title"],
        int(task["until_step"]),
        int(task["batch_size"]),
        int(task["flops_per_step"]),
        int(task["num_parameters"]),
        str(task.get("paradigm", "")),
        resolution if type(resolution) is int and resolution > 0 else None,
    )


def _parse_evaluation(digest: str, task: TaskEntry, floors: Mapping[str, FloorTask]) -> EvaluateTask:
    payload = task.get("payload", {})
    evaluation = payload.get("evaluation", {})
    measured = evaluation.get("metrics")
    floor = task["floor"]
    if floor is not None and floor not in floors:
        raise ValueError(f"the floor {floor!r} of {task['title']!r} is no floor task")
    return EvaluateTask(
        digest,
        task["title"],
        int(task["step"]),
        floor,
        int(task["training_flops"]),
        int(task["training_images"]),
        int(task["num_evaluations"]),
        int(task["num_samples"]),
        _parse_protocols(task),
        dict(task["sampling"]),
        int(task.get("sampling_flops", 0)),
        None if measured is None else frozenset(measured),
        {str(train): int(steps) for train, steps in task.get("trained", {task["train"]: task["step"]}).items()},
        json.dumps([evaluation.get("seed"), evaluation.get("label_sampling"), payload.get("references")]),
    )


def _parse_protocols(task: TaskEntry) -> dict[str, Protocol]:
    """Return a task's protocols, with what its payload says of the noise and of the error's replicates."""
    evaluation = task.get("payload", {}).get("evaluation", {})
    of_task = {"noise_seed": evaluation.get("seed"), "error_replicates": evaluation.get("bootstrap_replicates")}
    return {metric: with_task_fields(parse_protocol(entry), of_task) for metric, entry in task["protocols"].items()}
