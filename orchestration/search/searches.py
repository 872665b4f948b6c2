"""Searches under way: ended trials are told to the studies, proposals become rows, and the published plan grows.

The launcher runs the tasks of a trial as those of any row; so a proposal whose digests are known costs nothing, equal
proposals are one computation, and a killed search goes on where it was: records and studies hold its whole state.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.errors import UserError
from orchestration.control.outcome import Outcome
from orchestration.plan.completed import completed_record
from orchestration.plan.plan import Plan, Planner
from orchestration.search.explorations import AnySearch, Explorations
from orchestration.search.optuna_study import Study
from orchestration.search.plan_rows import published_search, with_trials
from orchestration.search.single_level import SingleLevelSearch
from orchestration.search.study_address import search_storage
from orchestration.search.study_storage import (
    SearcherFailedError,
    StudyDatabase,
    StudyGoneError,
    StudyUnavailableError,
)
from orchestration.search.summary import search_text
from orchestration.search.trial_values import TrialTasks
from orchestration.search.two_level import TwoLevelSearch
from orchestration.spec.load import SweepSpec
from orchestration.spec.search.rows import PartSearch
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, Task
from orchestration.tracking.tracker import TaskTracker

_LOG = logging.getLogger(__name__)
_PUBLISH_SECONDS = 2.0
"""Seconds between plans that are published while one known trial follows the other; each is as long as the search."""


class Searches:
    """All searches of a sweep, and its plan with their trials."""

    def __init__(
        self,
        spec: SweepSpec,
        plan: Plan,
        searches: Sequence[AnySearch],
        store: Store,
        tracker: TaskTracker,
        publish: Callable[[Plan], None],
        say: Callable[[str], None] = print,
    ) -> None:
        """Args: spec: the sweep without trials. plan: of it with trials that are known before; the same trials make no
        other plan. publish: is given every plan, its rows in the order of the table.
        """
        self._spec, self._store, self._tracker, self._publish, self._say = spec, store, tracker, publish, say
        self._searches = searches
        self._planner = Planner(spec.runtime)
        self._explorations = Explorations(spec.name, searches, store)
        self._unavailable, self._published_at = "", -math.inf
        self._tracker_calls, self._completing = list[Callable[[], None]](), set[str]()
        self._known, self.plan = plan, self._plan_after(plan)

    @property
    def problems(self) -> list[str]:
        """Reasons why searches ended before they had all their trials."""
        ended = [f"{search.part.part}: {search.problem}" for search in self._searches if search.problem]
        return [*ended, *([self._unavailable] if self._unavailable else [])]

    def advance(self, outcome: Outcome, num_slots: int) -> Plan | None:
        """Tell the studies what ended, and propose until `num_slots` trials run that have no record yet.

        Returns: the plan if it changed; `outcome.done` then holds the records of its new tasks.
        """
        changed = False
        try:
            self._explorations.revive()
            while self._hear(outcome) or self._hear_verdict(outcome) or self._propose(num_slots):
                self._grow(outcome)
                changed = True
            self._unavailable = ""
        except StudyUnavailableError as error:
            if not self._unavailable:
                _LOG.warning("The search cannot go on for now: %s", error)
                self._grow(outcome)  # with what was told before
                changed = True
            self._unavailable = str(error)
        if changed:
            self._publish_now()
        self._tell_tracker()
        return self.plan if changed else None

    @property
    def is_undecided(self) -> bool:
        """Return whether trials wait for the verdict of a trial scheduler; not while their storage is away."""
        undecided = (trial.number in s.undecided for s in self._searches for trial in s.running)
        return not self._unavailable and any(undecided)

    def on_ray(self) -> AbstractContextManager[None]:
        """Let Ray Tune explore while the block runs, on the cluster that this process is connected to."""
        return self._explorations.on_ray()

    def trials(self) -> dict[str, list[SearchTrial]]:
        """Return the trials by part, as they are now."""
        return {search.part.part: list(search.trials.values()) for search in self._searches}

    def texts(self) -> Iterator[str]:
        """Yield the state of every search, line by line; problems last."""
        for search in self._searches:
            yield from search_text(search.part, list(search.trials.values()))
        yield from (f"The search is not finished: {problem}" for problem in self.problems)

    def begin(self, outcome: Outcome) -> None:
        """Add the records of trials that were proposed before to the outcome; publish the plan.

        Args: outcome: holds those of the plan with which the searches were opened.
        """
        self._add_records(self._known, outcome)
        self._publish_now()
        self._tell_tracker()

    def _hear_verdict(self, outcome: Outcome) -> bool:
        return self._explorations.wait_for_verdict() and self._hear(outcome)

    def _hear(self, outcome: Outcome) -> bool:
        """Tell the studies of trials that changed. Return whether any did."""
        changed = [self._unless_gone(search, partial(self._hear_of, search, outcome)) for search in self._searches]
        return any(changed)

    def _hear_of(self, search: AnySearch, outcome: Outcome) -> bool:
        has_changed = False
        for trial in search.running:
            tasks = TrialTasks.of(self.plan, search.part.part, trial.label)
            now = search.hear(trial, tasks, outcome)
            has_changed = has_changed or now is not None
            if now is not None and now.state != "running":
                self._ended(search.part, now, tasks)
        return has_changed

    def _unless_gone(self, search: AnySearch, change: Callable[[], bool]) -> bool:
        """Return whether a change of a search changed anything; a search whose study is gone ends, alone."""
        try:
            return change()
        except StudyGoneError as error:
            search.end(str(error))
            self._say(f"{search.part.part}: {error}.")
            return True

    def _ended(self, part: PartSearch, trial: SearchTrial, tasks: TrialTasks) -> None:
        values = ", ".join(f"{value:.6g}" for value in trial.values)
        self._say(f"{part.part} {trial.label}: {' '.join(filter(None, [trial.state, values, trial.reason]))}")
        self._tag(part, trial, tasks)

    def _tag(self, part: PartSearch, trial: SearchTrial, tasks: TrialTasks) -> None:
        tags = {"dfm.search": part.part, "dfm.trial": trial.name or str(trial.number), "dfm.trial_state": trial.state}
        for digest in tasks.digests:
            if part.trains or isinstance(self.plan.tasks[digest], EvaluateTask):
                self._tracker_calls.append(partial(self._tracker.tag, digest, tags))

    def _propose(self, num_slots: int) -> bool:
        """Propose at most one trial. Return whether there is one."""
        computing = sum(search.num_computing for search in self._searches)
        wanted = [search for search in self._searches if computing < num_slots or search.fills_band]
        return any(self._unless_gone(search, search.propose) for search in wanted)

    def _grow(self, outcome: Outcome) -> None:
        """Make the plan with the trials that were proposed or go on; add the records of its tasks to the outcome."""
        before, self.plan = self.plan, self._plan_after(self.plan)
        self._add_records(before, outcome)
        if time.monotonic() - self._published_at > _PUBLISH_SECONDS:  # known trials come in hundreds
            self._publish_now()

    def _publish_now(self) -> None:
        self._publish(self._published_plan())
        self._published_at = time.monotonic()

    def _add_records(self, before: Plan, outcome: Outcome) -> None:
        """Add the records of tasks that the plan did not have before, or not so far."""
        for digest, task in self.plan.tasks.items():
            old = before.tasks.get(digest)
            if old is not None and old.demand == task.demand:
                continue
            result = completed_record(self._store, task)
            if result is None:
                outcome.done.pop(digest, None)  # a training that goes on
            else:
                self._add_record(task, result, outcome)

    def _add_record(self, task: Task, result: TaskRecord, outcome: Outcome) -> None:
        outcome.done[task.digest] = result
        if task.digest not in self._completing and not self._tracker.is_complete(task.digest):
            self._completing.add(task.digest)
            self._tracker_calls.append(partial(self._tracker.complete, task, result, self.plan.training_of(task)))

    def _tell_tracker(self) -> None:
        """Tell the tracker at last: its thread would slow down the proposals, for which the cluster waits."""
        calls, self._tracker_calls = self._tracker_calls, []
        for call in calls:
            call()
        self._completing.clear()

    def _plan_after(self, before: Plan) -> Plan:
        """Return the plan with the rows of now: the one before if they are the same."""
        rows = {search.part.part: list(search.rows.values()) for search in self._searches}
        spec = with_trials(self._spec, rows, self.trials())
        return before if before.spec.parts == spec.parts else self._planner.make(spec)

    def _published_plan(self) -> Plan:
        """Return the plan as it is published: trials best first, with their results."""
        entries = {s.part.part: published_search(s.part, list(s.trials.values())) for s in self._searches}
        order = {search.part.part: search.ranked for search in self._searches}
        return replace(self.plan, spec=with_trials(self._spec, order, self.trials()), searches=entries)


def open_searches(
    spec: SweepSpec,
    plan: Plan,
    store: Store,
    tracker: TaskTracker,
    publish: Callable[[Plan], None],
    environment: Mapping[str, str],
    say: Callable[[str], None] = print,
) -> Searches:
    """Open the searches of a sweep, each with its trials.

    Args: spec, plan: as of `Searches`.
    Raises: UserError if their storage cannot be used.
    """
    database = StudyDatabase(search_storage(spec.runtime.search_storage, store, environment))

    def open_study(digest: str, search: SearchSpec, about: Mapping[str, Any]) -> Study:
        return Study(database, digest, search, about)

    try:
        searches = [
            TwoLevelSearch(part, open_study)
            if part.spec.inner is not None
            else SingleLevelSearch(part, open_study(part.digest, part.spec, part.about))
            for part in spec.searches
        ]
    except SearcherFailedError as error:
        raise UserError.of("searcher", str(error)) from None
    except StudyUnavailableError as error:
        raise UserError.of("search_storage", f"cannot use {error}") from None
    return Searches(spec, plan, searches, store, tracker, publish, say)
