"""Searches without Ray: a made-up evaluation stands where the launcher does, behind the same seam."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dfm_core.config import ExperimentConfig
from dfm_core.training.curve import CurveRow
from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.errors import UserError
from orchestration.control.outcome import Outcome
from orchestration.plan.completed import completed_records, tasks_to_run
from orchestration.plan.plan import Plan, make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.search.searches import Searches, open_searches
from orchestration.spec.load import SweepSpec, load_sweep
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.layout import plan_file
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, Task, TrainTask
from tests.orchestration.conftest import ROOT
from tests.support.stored_sweeps import finish

METRIC = "fd_lite0_block10"
SPACE = """
        training.learning_rate: {log: [1.0e-4, 1.0e-2]}
        sampling.tau: {uniform: [0.5, 0.95]}
        sampling.steps: {choice: [[9, 3], [6, 6]]}"""
Score = Callable[[ExperimentConfig, int], Mapping[str, float]]
"""Metrics of an evaluation, of its config and step."""


class Killed(Exception):  # noqa: N818  what happens to a driver is no error
    """The driver is gone at this very point."""


def smooth(config: ExperimentConfig, step: int) -> dict[str, float]:
    """Best at tau 0.7 and a learning rate of 1e-3; better the longer it is trained."""
    distance = abs(config.sampling.tau[0] - 0.7) + 0.1 * abs(math.log10(config.training.learning_rate) + 3)
    return {METRIC: 10 * distance + 100 / step}


def sweep(folder: Path, space: str = SPACE, **search: Any) -> SweepSpec:
    """A sweep of one search at a seed; other keys of `search:` as YAML texts, None to leave one out."""
    keys = {"objectives": f"{{{METRIC}: minimize}}", "num_trials": "8", "sampler": "tpe", **search}
    more = keys.pop("part", "")
    lines = "".join(f"      {key}: {value}\n" for key, value in keys.items() if value is not None)
    path = folder / "sweep.yaml"
    path.write_text(
        f"name: searched\nbase: {ROOT}/sweeps/base/fashion_mnist_small.yaml\n"
        f"evaluation: {{metrics: [{METRIC}, label_accuracy]}}\n{more}"
        f"parts:\n  p:\n    search:\n      space:{space}\n{lines}"
    )
    return load_sweep(path)


def search_mistakes(folder: Path, space: str = SPACE, **search: str | None) -> str:
    """All that is wrong with a sweep of one search."""
    with pytest.raises(UserError) as caught:
        sweep(folder, space, **search)
    return str(caught.value)


@dataclass
class FakeTracker:
    """Keeps what a search tells MLflow."""

    found: list[str] = field(default_factory=list)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def is_complete(self, digest: str) -> bool:
        return digest in self.found

    def complete(self, task: Task, result: TaskRecord, training: Task | None = None) -> None:
        assert result.digest == task.digest
        assert training is None or isinstance(training, TrainTask)
        self.found.append(task.digest)

    @property
    def num_lacking(self) -> int:
        return 0

    def describe(self, task: Task) -> None: ...

    def begin(self, task: Task) -> None: ...

    def curve(self, task: Task, rows: Sequence[CurveRow]) -> None: ...

    def fail(self, task: Task, message: str) -> None: ...

    def tag(self, digest: str, tags: Mapping[str, str]) -> None:
        self.tags[digest] = dict(tags)


@dataclass
class Driver:
    """A driver that computes with a function, and counts."""

    spec: SweepSpec
    store: Store
    score: Score = smooth
    slots: int = 1
    kill_after: int = 10**9
    """Tasks."""
    computed: list[str] = field(default_factory=list)
    tracker: FakeTracker = field(default_factory=FakeTracker)
    said: list[str] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome({}))
    fails: Mapping[str, str] = field(default_factory=dict)
    """Kind of task -> why it fails."""

    def run(self) -> Searches:
        """Run to the end, or until it is killed."""
        plan = make_plan(self.spec)
        self.outcome = Outcome(completed_records(self.store, plan))
        self.store.write("provenance/here.json", b"{}")  # the first thing that a real driver leaves under a root
        searches = open_searches(self.spec, plan, self.store, self.tracker, self.publish, {}, self.said.append)
        searches.begin(self.outcome)
        with self.connected(searches):
            return self.walk(searches)

    def connected(self, searches: Searches) -> AbstractContextManager[None]:  # noqa: ARG002
        """Surround the search while it runs."""
        return nullcontext()

    def walk(self, searches: Searches) -> Searches:
        while True:
            searches.advance(self.outcome, self.slots)
            ready = [
                task
                for task in tasks_to_run(searches.plan, self.outcome.done)
                if task.digest not in self.outcome.failed
            ]
            if ready:
                self.compute(ready[0])
            elif not any(search.running for search in searches._searches):
                return searches

    def compute(self, task: Task) -> None:
        if len(self.computed) >= self.kill_after:
            raise Killed
        self.computed.append(task.digest)
        if task.kind in self.fails:
            self.outcome.failed[task.digest] = self.fails[task.kind]
            return
        metrics = self.score(task.config, task.at_step) if isinstance(task, EvaluateTask) else {}
        self.outcome.done[task.digest] = finish(self.store, task, metrics)

    def publish(self, plan: Plan) -> None:
        self.store.write(plan_file(plan.spec.name), plan_json(plan, "sqlite:///x").encode())


def told(searches: Searches) -> list[SearchTrial]:
    (trials,) = searches.trials().values()
    return trials
