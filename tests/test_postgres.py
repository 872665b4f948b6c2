"""A team's set-up: MLflow and searches in Postgres, a tracking server before it. The same as on sqlite, outages too."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.errors import UserError as AnalysisError
from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.read import read_records
from orchestration.artifacts.task_record import TaskRecord, write_record
from orchestration.common.errors import UserError
from orchestration.plan.plan import Plan, make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.search.optuna_study import Study
from orchestration.search.study_storage import StudyDatabase, StudyUnavailableError
from orchestration.spec.load import load_sweep
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, MetricTask, TrainTask
from orchestration.tracking.mlflow_tracker import Tracker
from orchestration.tracking.run_params import varying_settings
from orchestration.tracking.uri import resolve_uri
from tests.orchestration.conftest import QUICKSTART
from tests.orchestration.search.test_optuna_study import search_of
from tests.support.mlflow_server import mlflow_server
from tests.support.postgres import Postgres, running_postgres

pytestmark = pytest.mark.slow
PROVENANCE = {"source": {"git_commit": "abc", "uncommitted_diff": ""}}
ROWS = tuple({"step": float(step), "loss": 1.0 / step, "loss_stage_0": 2.0 / step} for step in range(10, 701, 10))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load_sweep(QUICKSTART))


@pytest.fixture(scope="module")
def tracked(postgres: Postgres, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of a database that a tracker filled with a whole sweep, of made-up numbers, one of them infinite."""
    uri = postgres.database("mlflow")
    store = Store(str(tmp_path_factory.mktemp("store")))
    assert resolve_uri(uri, store, {}) == uri
    before = set(Path.cwd().iterdir())
    for _ in range(2):  # submitted again: nothing twice
        tracker = Tracker(uri, plan.spec.name, store, PROVENANCE, varying_settings(plan))
        for number, (digest, task) in enumerate(plan.tasks.items()):
            if not tracker.is_complete(digest):
                tracker.begin(task)
                values = {
                    "accelerator_seconds": 2.0,
                    **dict.fromkeys(task.protocols if isinstance(task, MetricTask) else (), float(number)),
                }
                infinite = {"fd_lite0_block10": float("inf")} if task is plan.of_kind(EvaluateTask)[0] else {}
                curve = ROWS if isinstance(task, TrainTask) else ()
                result = TaskRecord(digest, task.kind, {**values, **infinite}, 1.0, step=task.step, curve=curve)
                write_record(store, result)
                tracker.complete(task, result, plan.training_of(task))
        assert tracker.num_lacking == 0
    assert len(list(Path(store.path("mlflow-artifacts")).rglob("task.json"))) == len(plan.tasks)
    assert set(Path.cwd().iterdir()) == before, "MLflow's own default is a folder in the working directory"
    return uri


def published(plan: Plan, uri: str) -> PublishedPlan:
    return parse_plan(plan_json(plan, uri))


def test_a_sweep_is_tracked_in_postgres_and_read_again(plan: Plan, tracked: str) -> None:
    records = read_records(published(plan, tracked), None).records
    assert set(records) == set(plan.tasks)
    assert {record.status for record in records.values()} == {"done"}
    first = plan.of_kind(EvaluateTask)[0].digest
    assert records[first].metrics["fd_lite0_block10"] == float("inf")
    assert records[first].metrics["accelerator_seconds"] == 2.0
    train = plan.of_kind(TrainTask)[0].digest
    assert records[train].curves["loss"] == [(int(row["step"]), row["loss"]) for row in ROWS]


def test_a_tracking_server_before_postgres_gives_the_same_report(plan: Plan, tracked: str, tmp_path: Path) -> None:
    with mlflow_server(tracked, tmp_path) as address:
        found = read_records(published(plan, address), None)
        directly = read_records(published(plan, tracked), None)
    assert found.notes == directly.notes
    for digest, record in found.records.items():
        assert record.url == f"{address}/#/experiments/{found.experiment_id}/runs/{record.run_id}"
        assert replace(record, url="") == directly.records[digest]


def test_texts_beyond_the_limits_of_mlflows_tables_are_cut(postgres: Postgres, plan: Plan, tmp_path: Path) -> None:
    uri, store = postgres.database("limits"), Store(str(tmp_path))
    task = replace(plan.of_kind(EvaluateTask)[0], title="β" * 300)
    sampling = replace(task.config.sampling, steps=tuple(range(100, 200)))
    task = replace(task, config=replace(task.config, sampling=sampling))
    training = plan.training_of(task)
    tracker = Tracker(uri, plan.spec.name, store, PROVENANCE, {"seed", "sampling.steps"})
    result = TaskRecord(
        task.digest, task.kind, {"x" * 300: 1.0, "a+b": 2.0, "fd_lite0_block10": 3.0}, 1.0, step=task.step
    )
    assert training is not None
    tracker.begin(training)
    tracker.fail(task, "out of memory \0 \ud800" * 1000)
    tracker.tag(task.digest, {"k" * 300: "v" * 9000, "nul": "\0"})
    tracker.complete(task, result, training)
    assert tracker.num_lacking == 0
    assert Tracker(uri, plan.spec.name, store, PROVENANCE).is_complete(task.digest)
    with pytest.raises(UserError, match=r"storage\.root: is too long for MLflow in a database server"):
        Tracker(uri, "elsewhere", Store(str(tmp_path / ("d" * 100) / ("e" * 100))), PROVENANCE)


def test_a_search_is_kept_in_postgres_and_goes_on_after_an_outage(postgres: Postgres) -> None:
    uri = postgres.database("searches")
    search = search_of("tpe")
    study = Study(StudyDatabase(uri), "digest", search, {"a": 1})
    for value in (3.0, 1.0):
        trial = study.ask()
        study.complete(trial.number, [value])
    postgres.stop()
    with pytest.raises(StudyUnavailableError):
        study.ask()
    postgres.start()
    again = Study(StudyDatabase(uri), "digest", search, {"a": 1})
    assert [(trial.number, trial.state, trial.values) for trial in again.trials()] == [
        (0, "complete", (3.0,)),
        (1, "complete", (1.0,)),
    ]
    assert again.ask().number == 2


@pytest.mark.proves(19)
def test_a_tracker_outlives_an_outage_of_postgres(postgres: Postgres, plan: Plan, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    tracker = Tracker(postgres.database("outage"), "outage", store, PROVENANCE)
    task = plan.of_kind(TrainTask)[0]
    tracker.begin(task)
    postgres.stop()
    tracker.curve(task, ROWS[:10])
    assert tracker.num_lacking == 1
    postgres.start()
    result = TaskRecord(task.digest, "train", {}, 1.0, step=700, curve=ROWS)
    write_record(store, result)
    tracker.complete(task, result)
    assert tracker.num_lacking == 0


def test_a_driver_that_is_not_installed_is_named(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"postgresql://dfm@127.0.0.1:{listener.getsockname()[1]}/mlflow"
        with pytest.raises(AnalysisError, match=r"its driver is not installed .*pip install 'psycopg\[binary\]'"):
            read_records(published(plan, uri), None)
