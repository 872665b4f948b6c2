"""Tasks that an edit of a sweep adds, keeps and drops, against the plan that was published last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestration.common.wording import counted
from orchestration.plan.plan import Plan
from orchestration.plan.published import PublishedPlan, UnreadablePlanError, read_published
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask

_MAX_NAMED = 5


@dataclass(frozen=True)
class PlanChanges:
    """Tasks by digest, with kind and title."""

    added: Mapping[str, tuple[str, str]]
    kept: frozenset[str]
    dropped: Mapping[str, tuple[str, str]]
    longer: Mapping[str, tuple[int, int]]
    """Last steps, (before, now), of kept trainings where they differ."""

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.dropped or self.longer)

    def __str__(self) -> str:
        if self.is_empty:
            return f"Against the published plan: nothing changed, {counted(len(self.kept), 'task')}."
        parts = [f"adds {_named(self.added.values())}", f"keeps {counted(len(self.kept), 'task')}"]
        if self.longer:
            changed = ", ".join(f"{before} to {now}" for before, now in sorted(set(self.longer.values())))
            parts.append(f"takes {len(self.longer)} of their trainings from step {changed}")
        parts.append(f"cancels {_named(sorted(self.dropped.values()))}")
        hint = "; `--gc` says what they left behind" if self.dropped else ""
        return f"Against the published plan: {'; '.join(parts)}{hint}."


def plan_changes(plan: Plan, before: PublishedPlan) -> PlanChanges:
    """Return the difference in tasks; what a task costs or is called makes none."""
    old, new = before.tasks, plan.tasks
    trainings = [task for task in plan.of_kind(TrainTask) if task.digest in old]
    steps = {task.digest: (old[task.digest].until_step, task.until_step) for task in trainings}
    return PlanChanges(
        added={digest: (task.kind, task.title) for digest, task in new.items() if digest not in old},
        kept=frozenset(old.keys() & new.keys()),
        dropped={digest: (task.kind, task.title) for digest, task in old.items() if digest not in new},
        longer={digest: (was, now) for digest, (was, now) in steps.items() if was != now},
    )


def changes_text(plan: Plan, store: Store) -> str:
    """Return what changed since the sweep was submitted last, in a line; "" if it never was."""
    try:
        before = read_published(store, plan.spec.name)
    except UnreadablePlanError as error:
        return f"The published plan cannot be compared: {error}."
    return "" if before is None else str(plan_changes(plan, before))


def _named(tasks: Iterable[tuple[str, str]]) -> str:
    """Return text such as "2 tasks (evaluate DFM @ 20, evaluate DFM @ 60)"."""
    listed = list(tasks)
    if not listed:
        return "nothing"
    names = ", ".join(f"{kind} {title}" for kind, title in listed[:_MAX_NAMED])
    more = ", ..." if len(listed) > _MAX_NAMED else ""
    return f"{counted(len(listed), 'task')} ({names}{more})"
