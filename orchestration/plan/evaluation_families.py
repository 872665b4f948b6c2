"""Evaluations that run together, and the snapshots that they can begin with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from dfm_core.compute import model_cost, shared_sampling_flops
from dfm_core.config.dataset_card import card_of
from dfm_core.flow.step_tree import StepTree
from orchestration.artifacts.task_record import TaskRecord
from orchestration.plan.plan import Plan
from orchestration.storage.layout import SnapshotRef
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, Task, TrainTask

_Task = TypeVar("_Task", bound=Task)
_MOST_POINTS = 64
"""Evaluations of a family at most: their features of a group are in memory together."""
_MOST_POINTS_WITH_SAMPLES = 8
"""The same where all samples are kept: at 512 px those of a group are 0.2 GB a point."""


def group_into_families(ready: Sequence[_Task], *, keep_samples: bool = False) -> list[list[_Task]]:
    """Group tasks that run as one job: evaluations of one snapshot whose samplings have their first steps in common.

    Other tasks stand alone; the first ready comes first. Samplings that part at the first step share nothing: as jobs
    of their own they can run side by side.
    """
    most = _MOST_POINTS_WITH_SAMPLES if keep_samples else _MOST_POINTS
    candidates: dict[tuple[object, ...], list[_Task]] = defaultdict(list)
    for task in ready:
        candidates[_family(task)].append(task)
    groups: dict[tuple[object, ...], list[_Task]] = defaultdict(list)
    for key, tasks in candidates.items():
        for task, first_step in zip(tasks, _first_steps(tasks), strict=True):
            groups[(*key, first_step)].append(task)
    return [group[begin : begin + most] for group in groups.values() for begin in range(0, len(group), most)]


def family_flops(family: Sequence[EvaluateTask]) -> int:
    """Return the FLOPs of sampling a family of evaluations, common steps once."""
    config, (source,) = family[0].config, family[0].sources
    cost = model_cost(config, card_of(config.data).shape)
    return shared_sampling_flops(config, cost, [task.config.sampling for task in family], source.num_samples)


def _first_steps(tasks: Sequence[Task]) -> list[int]:
    """Return equal numbers for tasks whose first solver steps are the same."""
    if not isinstance(tasks[0], EvaluateTask):
        return [0] * len(tasks)
    tree = StepTree.of(tasks[0].config, [task.config.sampling for task in tasks])
    return [path[0][0] for path in tree.paths]


def _family(task: Task) -> tuple[object, ...]:
    """Return an equal key for tasks that sample the same noise and labels from the same weights and networks."""
    if not isinstance(task, EvaluateTask):
        return (task.digest,)
    evaluation, (source,) = task.config.evaluation, task.sources
    drawn = (evaluation.seed, evaluation.label_sampling, evaluation.num_samples)
    return (task.snapshots, task.config.sampling.weights, drawn, tuple(sorted(source.networks.items())))


class AvailableSnapshots:
    """Snapshots that can be read by now: all of finished trainings, of others those that were published."""

    def __init__(self, store: Store, plan: Plan, done: Mapping[str, TaskRecord]) -> None:
        """Read from the store which ones unfinished trainings have: an earlier launch may have left some."""
        self._finished = {digest for digest in done if isinstance(plan.tasks[digest], TrainTask)}
        self._published: set[tuple[str, int, bool]] = set()
        for task in plan.of_kind(TrainTask):
            if task.digest not in self._finished:
                there = [key for key, place in task.snapshot_directories.items() if store.manifest(place) is not None]
                self._published |= {(task.digest, step, raw) for step, raw in there}

    def published(self, snapshots: Iterable[SnapshotRef]) -> None:
        """Add new ones of unfinished trainings; raw weights, where they are wanted, are published before."""
        self._published |= {(train, step, raw) for train, step in snapshots for raw in (False, True)}

    def trained(self, task: Task) -> None:
        """Add all of a task, if it is a training."""
        if isinstance(task, TrainTask):
            self._finished.add(task.digest)

    def has(self, train: str, step: int, *, raw: bool) -> bool:
        """Return whether a snapshot, with its raw weights or without, can be read."""
        if train in self._finished:
            return True
        return (train, step, False) in self._published and (not raw or (train, step, True) in self._published)
