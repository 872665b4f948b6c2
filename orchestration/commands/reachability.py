"""The artifacts that the published plans under a storage root need; everything else there is left over.

The roots are all published plans, of any sweep: a digest that no plan names is read by nobody. No clock has a say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestration.plan.completed import finished_record
from orchestration.plan.published import PublishedPlan, PublishedTask, UnreadablePlanError, checked_digest
from orchestration.storage.layout import FeaturePaths, TaskPaths
from orchestration.storage.store import Store


@dataclass
class _Training:
    """The union of what all plans want of one training."""

    until_step: int = 0
    snapshot_steps: set[int] = field(default_factory=set)
    raw_steps: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Needed:
    """The union of what the plans need."""

    tasks: frozenset[str]
    """Digests of all tasks."""
    artifacts: frozenset[str]
    """Directories of snapshots and raw weights."""
    finished: frozenset[str]
    """Trainings that have what every plan wants of them."""
    sources: frozenset[str]
    """Digests of sources of samples."""
    features: frozenset[str]
    """Directories of features."""


def needed_by(plans: Iterable[PublishedPlan], store: Store) -> Needed:
    """Return the union of what plans need; asks the store which trainings are finished.

    Raises: UnreadablePlanError if a plan does not say what its tasks read.
    """
    trainings: dict[str, _Training] = defaultdict(_Training)
    tasks: set[str] = set()
    sources: set[str] = set()
    features: set[str] = set()
    for plan in plans:
        tasks.update(plan.tasks)
        for digest, task in plan.tasks.items():
            if task.sources is None:
                raise UnreadablePlanError(
                    f"the plan of {plan.sweep} was published by an older version and does not say what its tasks read: "
                    "submit that sweep again, or remove its plan"
                )
            if task.kind == "train":
                own = trainings[digest]
                own.until_step = max(own.until_step, task.until_step)
                own.snapshot_steps.update(task.snapshot_steps)
            for train, step, raw in _read_snapshots(task):
                trainings[train].snapshot_steps.add(step)
                trainings[train].raw_steps.update({step} if raw else ())
            for source in task.sources:
                sources.add(source.digest)
                features.update(FeaturePaths(source.digest).network(*network) for network in source.networks.items())
    artifacts = {digest: set(_artifacts(digest, training)) for digest, training in trainings.items()}
    return Needed(
        tasks=frozenset(tasks | trainings.keys()),
        artifacts=frozenset[str]().union(*artifacts.values()),
        finished=frozenset(
            digest
            for digest, training in trainings.items()
            if finished_record(store, digest, training.until_step, artifacts[digest]) is not None
        ),
        sources=frozenset(sources),
        features=frozenset(features),
    )


def _read_snapshots(task: PublishedTask) -> Iterator[tuple[str, int, bool]]:
    """Yield (training, step, raw weights too) of each snapshot read: an evaluation's, a chain's initial one.

    Raises: UnreadablePlanError if its payload says nothing of the kind.
    """
    try:
        if task.kind == "evaluate":
            raw = task.payload["sampling"]["weights"] == "raw"
            for train, step in task.payload["snapshots"]:
                yield checked_digest(train), int(step), raw
        initial: Mapping[str, Any] | None = task.payload.get("initial") if task.kind == "train" else None
        if initial is not None:
            yield checked_digest(initial["train"]), int(initial["step"]), False
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadablePlanError(f"{task.kind} {task.title} does not say what it reads ({error!r})") from None


def _artifacts(digest: str, training: _Training) -> Iterator[str]:
    paths = TaskPaths(digest)
    yield from map(paths.snapshot, training.snapshot_steps)
    yield from map(paths.raw_weights, training.raw_steps)
