"""Searches by population based training on a made-up evaluation: what is shared, copied, shown and tried again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.plan.read import parse_plan
from analysis.text.schedule_text import schedule_notes
from dfm_core.config import ExperimentConfig
from orchestration.plan.plan import make_plan
from orchestration.search.plan_rows import published_trials, with_published_trials
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.layout import plan_file
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from tests.support.searches import METRIC, Driver, sweep, told

SPACE = """
        training.learning_rate: {log: [1.0e-4, 1.0e-2]}"""
KEYS: Mapping[str, Any] = {
    "sampler": "random",
    "num_trials": "6",
    "trial_scheduler": "{kind: pbt, first: 100, num_rungs: 3}",
}
RATE = "training.learning_rate"


def score(config: ExperimentConfig, step: int) -> dict[str, float]:
    """The mean over steps of how far the learning rate is from 1e-3."""
    rate, total, before = config.training.learning_rate, 0.0, 0
    for change in (*config.training.changes, None):
        until = step if change is None else min(step, change.after_step)
        total += (until - before) * abs(math.log10(rate) + 3)
        before = until
        if change is not None:
            rate = dict(change.settings).get("learning_rate", rate)
    return {METRIC: total / step}


def searched(folder: Path, store: Store, **more: Any) -> tuple[Driver, list[SearchTrial]]:
    driver = Driver(sweep(folder, SPACE, **{**KEYS, **more}), store, score)
    return driver, told(driver.run())


def document(store: Store) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(plan_file("searched")))
    return found


def trainings(store: Store) -> dict[str, list[str]]:
    """Row -> digests of its trainings, the first stretch first."""
    plan, found = document(store), {}
    for entry in plan["trials"]:
        chain = [entry["train"]]
        while (before := plan["tasks"][chain[0]]["payload"].get("continued")) is not None:
            chain.insert(0, before["train"])
        found[entry["row"]] = chain
    return found


def test_a_member_that_goes_on_from_another_shares_its_past_and_no_more(tmp_path: Path, store: Store) -> None:
    driver, trials = searched(tmp_path, store)
    assert [trial.state for trial in trials] == ["complete"] * 6
    chains = trainings(store)
    assert {len(chain) for chain in chains.values()} == {4}
    exploiters = [trial for trial in trials if trial.exploits]
    assert exploiters
    for trial in exploiters:
        last = max(trial.exploits)
        donor = trials[trial.exploits[last].donor]
        own, others = chains[trial.label], chains[donor.label]
        if all(rung < last for rung in donor.exploits):
            assert own[: last + 1] == others[: last + 1]
        assert own[last + 1] not in others
    assert len(driver.computed) == len(set(driver.computed)), "no stretch is computed twice"
    assert set(driver.computed) <= document(store)["tasks"].keys(), "what a member has left stays planned"
    assert {entry["row"] for entry in document(store)["trials"]} == {trial.label for trial in trials}


def test_the_worst_gets_better_than_it_would_have_been(tmp_path: Path, store: Store) -> None:
    _, trials = searched(tmp_path, store)
    alone = [abs(math.log10(trial.settings[RATE]) + 3) for trial in trials]
    assert max(trial.values[0] for trial in trials) < max(alone)
    for trial, value in zip(trials, alone, strict=True):
        assert trial.exploits or trial.values[0] == pytest.approx(value)


def test_the_whole_population_is_proposed_before_anything_is_computed(tmp_path: Path, store: Store) -> None:
    at_first: list[int] = []

    class Watching(Driver):
        def compute(self, task: Any) -> None:
            if not self.computed:
                at_first.append(self.store.read("plans/searched.json").decode().count('"state": "running"'))
            super().compute(task)

    Watching(sweep(tmp_path, SPACE, **KEYS), store, score).run()
    assert at_first == [6]


def test_published_trials_are_those_that_were_told_and_plan_the_same(tmp_path: Path, store: Store) -> None:
    driver, trials = searched(tmp_path, store)
    published = published_trials(driver.spec, store)
    assert published["p"] == trials
    tasks = make_plan(with_published_trials(driver.spec, published)).tasks
    assert tasks.keys() == document(store)["tasks"].keys()


def test_a_member_that_failed_comes_to_the_rungs_again_and_the_others_stay(tmp_path: Path, store: Store) -> None:
    class Failing(Driver):
        def compute(self, task: Any) -> None:
            if task.kind == "train" and task.start_step == 100 and not self.outcome.failed:
                self.outcome.failed[task.digest] = "a node was lost"
            else:
                super().compute(task)

    spec = sweep(tmp_path, SPACE, **KEYS)
    first = told(Failing(spec, store, score).run())
    (failed,) = [trial for trial in first if trial.state == "failed"]
    again = told(Driver(spec, store, score).run())
    assert [trial.state for trial in again] == ["complete"] * 6
    for before, after in zip(first, again, strict=True):
        assert before == after or before.number == failed.number


def test_costs_are_counted_once_for_each_step_of_a_chain(tmp_path: Path, store: Store) -> None:
    driver, _ = searched(tmp_path, store)
    tasks = document(store)["tasks"]
    ends = [task for task in tasks.values() if task["kind"] == "evaluate" and task["step"] == 700]
    assert ends
    for task in ends:
        training = tasks[task["train"]]
        assert task["training_images"] == 700 * training["batch_size"]
        assert task["training_flops"] == 700 * training["flops_per_step"]
    plan = make_plan(with_published_trials(driver.spec, published_trials(driver.spec, store)))
    last = [task for task in plan.of_kind(TrainTask) if task.until_step == 700]
    assert {(task.start_step, task.num_steps) for task in last} == {(300, 400)}
    assert {task.flops for task in last} == {400 * ends[0]["training_flops"] // 700}


def test_the_report_tells_every_members_schedule(tmp_path: Path, store: Store) -> None:
    _, trials = searched(tmp_path, store)
    plan = parse_plan(store.read(plan_file("searched")).decode())
    notes = schedule_notes(plan.parts[0].search)
    assert len(notes) == 6
    for trial, note in zip(trials, notes, strict=True):
        begin = f"Schedule of trial {trial.number}: learning_rate {trial.settings[RATE]:.4g} from the beginning"
        assert note.startswith(begin)
        assert note.count("with the training of trial") == len(trial.exploits)
        for rung, exploit in trial.exploits.items():
            now = f"from {100 * (rung + 1)} steps on learning_rate {exploit.settings[RATE]:.4g}"
            assert f"{now}, with the training of trial {exploit.donor} until there" in note
