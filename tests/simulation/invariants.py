"""The invariants of a world: some hold after every change of the storage, the others at the end."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestration.plan.completed import tasks_to_run
from orchestration.plan.plan import Plan
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.layout import TaskPaths, lease_directory
from orchestration.tasks.task import MetricTask, Task, TrainTask
from tests.simulation.kernel import Process, ViolationError, World
from tests.simulation.stored_objects import Change, StoredObjects, key_of, relative_of
from tests.simulation.work import ORIGINS, curve_row, expected_metrics

_STALE_SECONDS = 16.0
"""Time for which a driver that lost its sweep may go on, unless it is frozen or the storage away: until its next beat,
and while it ends its trainings."""
_CALL_SECONDS = 75.0
"""Time that a call, or a pause before it is made again, may last beyond the trouble that it met."""
_KNOWN_SECONDS = 3.0
"""Time before a driver's start after which it must have seen what was there."""


class Invariants:
    """Watches one world."""

    def __init__(self, world: World, store: StoredObjects, plans: Mapping[str, Plan]) -> None:
        self._world, self._store, self.plans = world, store, plans
        self.tasks: dict[str, Task] = {}
        for plan in plans.values():
            self.learn(plan)
        self.steps: Counter[str] = Counter()
        """Steps made, by digest."""
        self.records: Counter[str] = Counter()
        """Records written, by digest."""
        self.leases: list[tuple[float, Process]] = []
        """(when, process) of each epoch taken."""
        self._published: dict[str, tuple[str, str]] = {}
        """Key of a file of a published artifact -> its manifest's key, its sha256."""
        self._writers: dict[str, set[Process]] = defaultdict(set)
        """Directory of a checkpoint -> who has written there."""
        self._complete_since: dict[str, float] = {}
        self._made_again: set[str] = set()
        self._resuming: dict[Process, tuple[int, int]] = {}
        self.damaged: set[str] = set()
        """Keys of files in which a bit was flipped."""
        store.listeners.append(self._changed)

    def learn(self, plan: Plan) -> None:
        """Take the tasks of a plan that a search has grown."""
        for digest, task in plan.tasks.items():
            known = self.tasks.get(digest)
            if known is None or task.step > known.step:
                self.tasks[digest] = task
            if isinstance(task, TrainTask) and task.continued is not None:
                ORIGINS[digest] = task.continued

    def check(self, condition: bool, what: str) -> None:
        if not condition and self._world.problem is None:  # not raised: whoever makes the call may try it again
            self._world.problem = ViolationError(f"{self._world.now:.2f} s: {what}")

    # After every change.

    def _changed(self, change: Change) -> None:
        path = relative_of(change.key)
        if path.startswith("checkpoints/"):
            self._writers[path.rpartition("/")[0]].add(change.process)
        if self._store.is_torn():
            self._forget(change.key)
            return
        self._by_no_stale_driver(change, path)
        if change.key in self._published and change.after != change.before:
            manifest, sha256 = self._published[change.key]
            is_same = change.after is not None and hashlib.sha256(change.after).hexdigest() == sha256
            self.check(change.after is None or is_same, f"{path} is overwritten, although {manifest} names it")
        if path.endswith("/manifest.json"):
            self._manifest(change, path)
        elif path.startswith("results/") and path.endswith("/result.json"):
            self._record(change, path)
        elif path.startswith(lease_directory("")) and change.after is not None and change.before is None:
            self.leases.append((self._world.now, change.process))

    def _forget(self, key: str) -> None:
        for file in [file for file, (manifest, _) in self._published.items() if manifest == key]:
            del self._published[file]

    def _by_no_stale_driver(self, change: Change, path: str) -> None:
        driver = getattr(change.process, "driver", change.process)
        taken = [time for time, process in self.leases if process is driver]
        later = [time for time, process in self.leases if process is not driver and taken and time > taken[-1]]
        if not later or path.startswith(("leases/", "ray-train/")):
            return
        since = max(later[0], getattr(driver, "thawed_at", 0.0))
        spells = [spell for spell in self._store.spells if spell.begin < since + _STALE_SECONDS]
        since = max([since, *(spell.end + _CALL_SECONDS for spell in spells if spell.end + _CALL_SECONDS > since)])
        is_late = self._world.now - since > _STALE_SECONDS
        self.check(not is_late, f"{change.process.name} of a stale driver changes {path}")

    def _manifest(self, change: Change, path: str) -> None:
        self._forget(change.key)
        if change.after is None:
            return
        try:
            document = json.loads(change.after)
        except ValueError:
            return
        folder = change.key.rpartition("/")[0]
        for file in document["files"]:
            key = f"{folder}/{file['name']}"
            content = self._store.objects.get(key)
            is_whole = content is not None and hashlib.sha256(content).hexdigest() == file["sha256"]
            is_known = key in self.damaged or self._store.is_late or self._is_contested(path)
            self.check(is_whole or is_known, f"{path} is visible before its files")
            self._published[key] = (change.key, file["sha256"])

    def _is_contested(self, path: str) -> bool:
        """Return whether two attempts have written one checkpoint, each of which removes the files of the other.

        A lost work queue, or a driver that was frozen, leaves an attempt that lives on; such a checkpoint counts as
        damaged, and costs steps, no result.
        """
        return len(self._writers[path.rpartition("/")[0]]) > 1

    def _record(self, change: Change, path: str) -> None:
        digest = path.split("/")[1]
        if change.after is None:
            self._complete_since.pop(digest, None)
            return
        record, task = json.loads(change.after), self.tasks.get(digest)
        if task is None:
            return
        self.records[digest] += 1
        before = _parsed(change.before)
        if before is not None:
            self.check(record["step"] >= before["step"], f"the record of {task.title} goes back")
        self.check_record(task, record)
        if before is None or record["step"] > before["step"]:  # else it was complete before, or is written anew
            self._complete_since[digest] = self._world.now

    def check_record(self, task: Task, record: Mapping[str, Any]) -> None:
        """Check that a record has the numbers of an undisturbed sweep."""
        if isinstance(task, MetricTask):
            for name, value in expected_metrics(task).items():
                same = record["metrics"].get(name) == value
                self.check(same, f"{task.kind} {task.title}: {name} is {record['metrics'].get(name)}, not {value}")
        if isinstance(task, TrainTask):
            for row in record["curve"]:
                same = row == curve_row(task.digest, row["step"])
                self.check(same, f"train {task.title}: a row of its curve is {row}")
            steps = [row["step"] for row in record["curve"]]
            self.check(steps == sorted(set(steps)), f"train {task.title}: the steps of its curve are {steps}")
            self.check(steps[-1:] == [record["step"]], f"train {task.title}: its curve ends at {steps[-1:]}")

    # When work is done.

    def begins_to_resume(self, process: Process, task: TrainTask) -> None:
        """Note the newest checkpoint from which an attempt could go on."""
        missing = [
            step for step in task.snapshot_steps if not self._is_published(TaskPaths(task.digest).snapshot(step))
        ]
        most = min([*missing, task.until_step])
        steps = [step for step in range(most + 1) if self._is_published(TaskPaths(task.digest).checkpoint(step))]
        self._resuming[process] = (max(steps, default=0), len(self.damaged))

    def _is_published(self, directory: str) -> bool:
        manifest = _parsed(self._store.objects.get(key_of(f"{directory}/manifest.json")))
        if manifest is None:
            return False
        files = [key_of(f"{directory}/{file['name']}") for file in manifest["files"]]
        return all(file in self._store.objects and file not in self.damaged for file in files)

    def resumed(self, task: TrainTask, start: int) -> None:
        """Check that an attempt goes on from the newest sound checkpoint."""
        process = self._world.thread.process
        newest, num_damaged = self._resuming.pop(process, (0, 0))
        is_sure = num_damaged == len(self.damaged) and not any(
            spell.trouble in ("stale listing", "partial", "late") for spell in self._store.spells
        )
        self.check(
            start >= newest or not is_sure, f"train {task.title} goes on from {start}, although {newest} is there"
        )

    def stepped(self, task: TrainTask, step: int) -> None:
        self.steps[task.digest] += 1
        self.check(step <= max(self.tasks[task.digest].step, task.until_step), f"train {task.title} goes too far")
        self._not_again(task)

    def made_again(self, digest: str) -> None:
        """Allow a task whose artifact was removed to be done once more, beyond the step of that artifact."""
        self._made_again.add(digest)

    def measured(self, task: Task) -> None:
        self._not_again(task)

    def _not_again(self, task: Task) -> None:
        """Check that what was done before a driver began is not done again."""
        driver = getattr(self._world.thread.process, "driver", None)
        began = max([time for time, process in self.leases if process is driver], default=None)
        since = self._complete_since.get(task.digest)
        if began is None or since is None or since > began - _KNOWN_SECONDS or task.digest in self._made_again:
            return
        record = _parsed(self._store.objects.get(key_of(TaskPaths(task.digest).result)))
        is_done = record is not None and record["step"] >= task.step and all(map(self._is_published, task.artifacts))
        self.check(not is_done, f"{task.kind} {task.title} is done again, although its record was there before")

    # At the end.

    def at_end(self, plan: Plan, runs: Iterable[Any], most_runs: int) -> None:
        """Check that every task of the plan is done, as in an undisturbed sweep, and known to the tracker.

        Args: most_runs: of one task, that are done there; two drivers at once may each have begun one.
        """
        by_digest: dict[str, list[Any]] = defaultdict(list)
        wanted = {task.digest for task in tasks_to_run(plan, {})}
        for run in runs:
            by_digest[run.tags.get("dfm.digest", "")].append(run)
        for digest, task in plan.tasks.items():
            if digest not in wanted:
                continue
            record = _parsed(self._store.objects.get(key_of(TaskPaths(digest).result)))
            self.check(record is not None, f"{task.kind} {task.title} has no record")
            if record is None:
                continue
            self.check_record(task, record)
            self.check(record["step"] >= task.step, f"{task.kind} {task.title} ends at step {record['step']}")
            for place in task.artifacts:
                self.check(self._is_published(place), f"{place} of {task.kind} {task.title} is not there")
            done = [run for run in by_digest[digest] if run.tags.get("dfm.status") == "done"]
            self.check(
                1 <= len(done) <= most_runs,
                f"{task.kind} {task.title} has {len(done)} runs that are done in the tracker",
            )

    def tracked(self, plan: Plan, runs: Iterable[Any]) -> None:
        """Check that the tracker has all of a plan whose driver says so."""
        done = {run.tags.get("dfm.digest", "") for run in runs if run.tags.get("dfm.status") == "done"}
        lacking = [task.title for task in tasks_to_run(plan, {}) if task.digest not in done]
        self.check(not lacking, f"a driver ends with code 0, and the tracker lacks {lacking}")

    def failures(self, failed: Mapping[str, str], *, may_fail: bool) -> None:
        """Check that tasks failed for a reason that the world has given them."""
        self.check(may_fail or not failed, f"tasks fail: {sorted(set(failed.values()))}")

    def trials_at_end(self, trials: Sequence[SearchTrial], told: Iterable[tuple[int, int]], num_wanted: int) -> None:
        """Check that a search has all its trials, and that each was told its end once.

        Args: told: study and number of each trial that ended well there.
        """
        self.check(len(trials) == num_wanted, f"{len(trials)} trials of {num_wanted}")
        for trial in trials:
            self.check(trial.state in ("complete", "pruned"), f"trial {trial.number} is {trial.state} {trial.reason}")
        twice = [number for number, count in Counter(told).items() if count > 1]
        self.check(not twice, f"trials {twice} were told their end more than once")


def _parsed(content: bytes | None) -> Any:
    try:
        return None if content is None else json.loads(content)
    except ValueError:
        return None
