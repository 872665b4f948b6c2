"""Which evaluations run together, and on which snapshots they can begin."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from dfm_core.compute import model_cost, shared_sampling_flops
from dfm_core.config.dataset_card import card_of
from dfm_core.flow.step_tree import StepTree
from orchestration.artifacts.task_record import TaskRecord
from orchestration.plan.plan import Plan
from orchestration.storage.layout import SnapshotRef, TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, Task, TrainTask

_Task = TypeVar("_Task", bound=Task)
_MOST_POINTS = 64
"""Of a family: their features of a group are in memory together."""
_MOST_POINTS_WITH_SAMPLES = 8
"""The same where all samples are kept: at 512 px those of a group are 0.2 GB a point."""


def group_into_families(ready: Sequence[_Task], *, keep_samples: bool = False) -> list[list[_Task]]:
    """Tasks that run as one job: evaluations of one snapshot whose samplings have their first steps in common, others
    stand alone. The first ready comes first.

    Samplings that part at the first step share nothing: as jobs of their own they can run side by side.
    """
    most = _MOST_POINTS_WITH_SAMPLES if keep_samples else _MOST_POINTS
    alike: dict[tuple[object, ...], list[_Task]] = defaultdict(list)
    for task in ready:
        alike[_family(task)].append(task)
    groups: dict[tuple[object, ...], list[_Task]] = defaultdict(list)
    for key, tasks in alike.items():
        for task, first_step in zip(tasks, _first_steps(tasks), strict=True):
            groups[(*key, first_step)].append(task)
    return [group[begin : begin + most] for group in groups.values() for begin in range(0, len(group), most)]


def family_flops(family: Sequence[EvaluateTask]) -> int:
    """FLOPs of sampling a family of evaluations, common steps once."""
    config, (source,) = family[0].config, family[0].sources
    cost = model_cost(config, card_of(config.data).shape)
    return shared_sampling_flops(config, cost, [task.config.sampling for task in family], source.num_samples)


def _first_steps(tasks: Sequence[Task]) -> list[int]:
    """Equal numbers for tasks whose first solver steps are the same."""
    if not isinstance(tasks[0], EvaluateTask):
        return [0] * len(tasks)
    tree = StepTree.of(tasks[0].config, [task.config.sampling for task in tasks])
    return [path[0][0] for path in tree.paths]


def _family(task: Task) -> tuple[object, ...]:
    """Equal for tasks that sample the same noise and labels from the same weights, and look at them alike."""
    if not isinstance(task, EvaluateTask):
        return (task.digest,)
    evaluation, (source,) = task.config.evaluation, task.sources
    drawn = (evaluation.seed, evaluation.label_sampling, evaluation.num_samples)
    return (task.snapshots, task.config.sampling.weights, drawn, tuple(sorted(source.networks.items())))


class AvailableSnapshots:
    """The snapshots that can be read by now: of finished trainings all, of others those that were published."""

    def __init__(self, store: Store, plan: Plan, done: Mapping[str, TaskRecord]) -> None:
        """Asks the store for those of unfinished trainings: an earlier launch may have left some."""
        self._done = {digest for digest in done if isinstance(plan.tasks[digest], TrainTask)}
        self._found: set[tuple[str, int, bool]] = set()
        for task in plan.of_kind(TrainTask):
            if task.digest not in self._done:
                paths = TaskPaths(task.digest)
                wanted = [(step, False, paths.snapshot(step)) for step in task.snapshot_steps]
                wanted += [(step, True, paths.raw_weights(step)) for step in task.raw_steps]
                self._found |= {
                    (task.digest, step, raw) for step, raw, place in wanted if store.manifest(place) is not None
                }

    def published(self, snapshots: Iterable[SnapshotRef]) -> None:
        """New ones of trainings that go on; raw weights, where they are wanted, are published before."""
        self._found |= {(train, step, raw) for train, step in snapshots for raw in (False, True)}

    def trained(self, task: Task) -> None:
        if isinstance(task, TrainTask):
            self._done.add(task.digest)

    def has(self, train: str, step: int, *, raw: bool) -> bool:
        if train in self._done:
            return True
        return (train, step, False) in self._found and (not raw or (train, step, True) in self._found)
