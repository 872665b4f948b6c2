"""MLflow, a real one on sqlite: one run per task, nothing twice, an outage costs no result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from analysis.plan.read import parse_plan
from analysis.records.from_storage import read_record_files
from analysis.records.record import has_history
from analysis.records.stored_files import StorageRoot
from dfm_core.config import SamplingConfig
from orchestration.artifacts.task_record import TaskRecord, write_record
from orchestration.common.errors import UserError
from orchestration.plan.plan import make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, ReferenceTask, Task, TrainTask
from orchestration.tracking.metric_names import sampling_name
from orchestration.tracking.mlflow_tracker import Tracker
from orchestration.tracking.uri import artifact_location, resolve_uri
from tests.orchestration.conftest import QUICKSTART
from tests.support.mlflow_records import read_records

PROVENANCE = {"source": {"git_commit": "abc", "uncommitted_diff": "a diff"}}
ROWS = [{"step": float(step), "loss": 1.0 / step} for step in range(1, 5)]


@pytest.fixture(scope="module")
def task() -> Task:
    return make_plan(load_sweep(QUICKSTART)).of_kind(TrainTask)[0]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One database for the module: making one takes seconds."""
    return Store(str(tmp_path_factory.mktemp("mlflow")))


def open_tracker(store: Store, experiment: str) -> Tracker:
    return Tracker(resolve_uri(None, store, {}), experiment, store, PROVENANCE)


def only_run(store: Store, experiment: str) -> tuple[MlflowClient, Run]:
    client = MlflowClient(tracking_uri=resolve_uri(None, store, {}))
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    return client, run


def test_a_task_is_one_run_over_all_attempts_and_its_curve_has_no_point_twice(database: Store, task: Task) -> None:
    first = open_tracker(database, "attempts")
    first.begin(task)
    first.curve(task, ROWS[:2])
    second = open_tracker(database, "attempts")  # another process, after the first was killed
    second.begin(task)
    second.curve(task, ROWS[1:3])
    result = TaskRecord(task.digest, "train", {"training_flops": 5.0}, 1.0, step=4, curve=tuple(ROWS))
    write_record(database, result)
    second.complete(task, replace(result, curve=()))  # as the driver keeps it
    client, run = only_run(database, "attempts")
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(int(row["step"]), row["loss"]) for row in ROWS]
    assert run.data.tags["dfm.status"] == "done"
    assert run.info.status == "FINISHED"
    assert open_tracker(database, "attempts").is_complete(task.digest)


def test_the_records_alone_say_of_a_task_what_mlflow_says(database: Store) -> None:
    plan = make_plan(load_sweep(QUICKSTART))
    tracker = open_tracker(database, plan.spec.name)
    for kind in (TrainTask, EvaluateTask, ReferenceTask):
        task = plan.of_kind(kind)[0]
        protocols = task.protocols if isinstance(task, EvaluateTask) else {}
        found = {**dict.fromkeys(protocols, 2.0), "accelerator_seconds": 3.0}
        about = {
            "notes": {"fd_lite0_block10": ["few samples"]},
            "protocols": {name: vars(card) for name, card in protocols.items()},
        }
        files = {"train": (), "evaluate": ("samples.png",), "reference": ("real.png",)}[task.kind]
        for name in files:
            database.write(TaskPaths(task.digest).result_file(name), b"\x89PNG\r\n\x1a\n")
        rows = tuple(ROWS) if kind is TrainTask else ()
        result = TaskRecord(task.digest, task.kind, found, 1.0, task.step, rows, files, about)
        write_record(database, result)
        tracker.complete(task, result)
    published = parse_plan(plan_json(plan, resolve_uri(None, database, {})))
    records, runs = read_record_files(published, StorageRoot(database.root)), read_records(published)
    assert records.keys() == runs.keys()
    assert len(records) == 3
    for digest, record in records.items():
        run = runs[digest]
        assert record.metrics.items() <= run.metrics.items()
        assert {name for name in run.metrics if not has_history(name)} == record.metrics.keys()
        assert (record.status, record.curves, record.image) == (run.status, run.curves, run.image)
        assert record.about == run.about


def test_a_run_carries_config_digest_and_provenance(database: Store, task: Task) -> None:
    open_tracker(database, "provenance").begin(task)
    client, run = only_run(database, "provenance")
    assert run.data.tags["dfm.digest"] == task.digest
    assert run.data.tags["git_commit"] == "abc"
    assert run.data.params == {"seed": "0"}
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"provenance.json", "uncommitted.diff", "task.json", "config.json"} <= names


def test_results_come_before_costs_by_the_alphabet(database: Store) -> None:
    evaluation = make_plan(load_sweep(QUICKSTART)).of_kind(EvaluateTask)[0]
    found = {"fd_lite0_block10": 20.0, "fd_lite0_block10_standard_error": 0.5, "accelerator_seconds": 3.0}
    open_tracker(database, "costs").complete(
        evaluation, TaskRecord(evaluation.digest, "evaluate", found, 1.0, step=100)
    )
    _, run = only_run(database, "costs")
    assert sorted(run.data.metrics) == [
        "fd_lite0_block10",
        "fd_lite0_block10_standard_error",
        "work/accelerator_seconds",
        "work/seconds",
    ]


def test_a_run_gets_the_params_that_began_to_vary_after_it_was_finished(database: Store, task: Task) -> None:
    open_tracker(database, "varying").complete(task, TaskRecord(task.digest, "train", {}, 1.0))
    uri = resolve_uri(None, database, {})
    wider = Tracker(uri, "varying", database, PROVENANCE, {"seed", "paradigm", "sampling.tau"})
    wider.describe(task)
    _, run = only_run(database, "varying")
    assert run.data.params == {"seed": "0", "paradigm": task.config.paradigm}
    calls: list[object] = []
    wider._client.log_batch = lambda *given, **named: calls.append((given, named))
    wider.describe(task)
    assert not calls


@pytest.mark.parametrize("pieces", [(6000,), (1, 17, 50, 1000, 1001, 6000), (599, 600, 601, 6000)])
def test_a_long_history_is_logged_as_a_thousand_points_however_it_comes(
    database: Store, task: Task, pieces: tuple[int, ...]
) -> None:
    long = replace(task, until_step=600_000)
    rows = [{"step": float(step), "loss": 1.0 / step} for step in range(100, 600_001, 100)]
    saved = (5_000, 250_100)
    for step in saved:
        rows[step // 100 - 1]["loss_stage_0_t3of8"] = 1.0
    name = f"long {len(pieces)} {pieces[0]}"
    for end in pieces:  # each an attempt of its own, which sends all that there is
        open_tracker(database, name).curve(long, rows[:end])
    client, run = only_run(database, name)
    loss, binned = (
        [point.step for point in client.get_metric_history(run.info.run_id, key)]
        for key in ("loss", "loss_stage_0_t3of8")
    )
    assert loss == sorted({*range(600, 600_001, 600), *saved})
    assert tuple(binned) == saved


def test_a_failed_task_says_why_and_can_be_tried_again(database: Store, task: Task) -> None:
    tracker = open_tracker(database, "failure")
    tracker.begin(task)
    tracker.fail(task, "out of luck")
    _, run = only_run(database, "failure")
    assert (run.data.tags["dfm.status"], run.data.tags["failure"], run.info.status) == (
        "failed",
        "out of luck",
        "FAILED",
    )
    open_tracker(database, "failure").begin(task)
    _, run = only_run(database, "failure")
    assert (run.data.tags["dfm.status"], run.info.status) == ("running", "RUNNING")


@pytest.mark.parametrize("status", ["KILLED", "FAILED", "RUNNING"])
def test_a_finished_run_that_a_person_set_to_another_status_is_finished_again(
    database: Store, task: Task, status: str
) -> None:
    result = TaskRecord(task.digest, "train", {"training_flops": 5.0}, 1.0, step=4)
    open_tracker(database, f"set {status}").complete(task, result)
    client, run = only_run(database, f"set {status}")
    client.update_run(run.info.run_id, status=status)
    tracker = open_tracker(database, f"set {status}")
    assert not tracker.is_complete(task.digest)
    tracker.complete(task, result)
    _, run = only_run(database, f"set {status}")
    assert (run.info.status, run.data.tags["dfm.status"]) == ("FINISHED", "done")
    assert open_tracker(database, f"set {status}").is_complete(task.digest)


@pytest.mark.proves(19)
def test_an_outage_raises_nothing_and_is_counted(tmp_path: Path, task: Task) -> None:
    store = Store(str(tmp_path))
    tracker = open_tracker(store, "outage")
    Path(store.path("mlflow.db")).write_bytes(b"not a database any more, " * 1000)
    tracker.begin(task)
    tracker.curve(task, ROWS)
    assert tracker.num_lacking == 1


def test_a_database_that_cannot_be_used_is_a_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 2)  # ten attempts take MLflow 100 seconds
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(UserError, match=r"tracking\.uri: cannot use MLflow"):
        open_tracker(Store(str(tmp_path)), "any")


def test_a_remote_store_needs_a_tracking_server() -> None:
    with pytest.raises(UserError, match=r"give tracking\.uri=https:"):
        resolve_uri(None, Store("memory://bucket"), {})


def test_beside_a_remote_store_artifacts_lie_with_the_local_database(tmp_path: Path, task: Task) -> None:
    tracker = Tracker(f"sqlite:///{tmp_path}/runs/mlflow.db", "beside", Store("memory://bucket"), PROVENANCE)
    tracker.begin(task)
    assert tracker.num_lacking == 0
    assert list((tmp_path / "runs" / "mlflow-artifacts").rglob("task.json"))


def test_artifacts_of_a_database_server_lie_under_the_local_root_or_nowhere(tmp_path: Path) -> None:
    store, uri = Store(str(tmp_path)), "postgresql://host/mlflow"
    assert artifact_location(uri, Store("/data/dfm")) == "file:///data/dfm/mlflow-artifacts"
    assert artifact_location("http://host", store) is None
    with pytest.raises(UserError, match=r"tracking\.uri: beside the remote root .* give a tracking server before it"):
        artifact_location(uri, Store("memory://bucket"))


def test_the_configured_server_wins_over_the_environments(tmp_path: Path) -> None:
    store, environment = Store(str(tmp_path)), {"MLFLOW_TRACKING_URI": "https://theirs"}
    assert resolve_uri("https://ours", store, environment) == "https://ours"
    assert resolve_uri(None, store, environment) == "https://theirs"


@pytest.mark.proves(28)
def test_a_password_in_a_uri_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a password") as caught:
        resolve_uri("https://me:s3cret@host", Store(str(tmp_path)), {})
    assert "s3cret" not in str(caught.value)


def test_a_server_elsewhere_is_spoken_to_over_https_unless_asked_otherwise(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for loopback in ("http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000"):
        assert resolve_uri(loopback, store, {}) == loopback
    for elsewhere in ("http://10.0.0.1:5000", "http://localhost.evil.org", "http://127.0.0.1.evil.org"):
        with pytest.raises(UserError, match=r"in clear: give an https:// address.*tracking\.insecure_http=true"):
            resolve_uri(None, store, {"MLFLOW_TRACKING_URI": elsewhere})
        assert resolve_uri(elsewhere, store, {}, insecure_http=True) == elsewhere


def test_what_mlflow_says_when_it_cannot_be_opened_is_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(tracking_uri: str) -> MlflowClient:
        raise MlflowException(f"no access to {tracking_uri}?password=s3cret-in-query for hunter2-of-env")

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-of-env")
    monkeypatch.setattr("orchestration.tracking.mlflow_tracker.MlflowClient", refuse)
    with pytest.raises(UserError, match="cannot use MLflow") as caught:
        Tracker("https://host", "e", Store(str(tmp_path)), PROVENANCE)
    assert "hunter2" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_record_that_was_torn_is_not_called_complete(database: Store, task: Task) -> None:
    tracker = open_tracker(database, "torn")
    result = TaskRecord(task.digest, "train", {}, 1.0, files=("not-there.png",))
    tracker.complete(task, result)  # its artifact cannot be read
    assert tracker.num_lacking == 1
    assert not open_tracker(database, "torn").is_complete(task.digest)


def test_an_experiment_that_was_deleted_in_the_ui_is_restored(database: Store, task: Task) -> None:
    open_tracker(database, "deleted").begin(task)
    client, run = only_run(database, "deleted")
    client.delete_experiment(run.info.experiment_id)
    tracker = open_tracker(database, "deleted")
    tracker.complete(task, TaskRecord(task.digest, "train", {}, 1.0))
    assert tracker.num_lacking == 0


@pytest.mark.parametrize("is_trained_again", [False, True])
def test_numbers_of_evaluations_are_curves_in_their_trainings_run(database: Store, is_trained_again: bool) -> None:
    experiment = f"curves, {is_trained_again}"
    made = make_plan(load_sweep(QUICKSTART))
    tracker = open_tracker(database, experiment)
    evaluation = next(task for task in made.of_kind(EvaluateTask) if task.title == "DFM @ 350")
    training = made.training_of(evaluation)
    assert training is not None
    if not is_trained_again:
        tracker.begin(training)
    for step, value in ((100, 9.0), (350, 5.0)):
        result = TaskRecord(evaluation.digest, "evaluate", {"fd_lite0_block10": value, "num_samples": 300.0}, 1.0, step)
        tracker.complete(evaluation, result, training)
    if is_trained_again:  # its evaluations are known, in a database that was made anew
        tracker.begin(training)
    client = MlflowClient(tracking_uri=resolve_uri(None, database, {}))
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id], "tags.`dfm.kind` = 'train'")
    name = "fd_lite0_block10/steps 9-3 tau 0.7 guidance 2"
    history = client.get_metric_history(run.info.run_id, name)
    assert [(point.step, point.value) for point in history] == [(100, 9.0), (350, 5.0)]
    assert [key for key in run.data.metrics if "/" in key] == [name]  # what is no metric of quality stays with its run


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (SamplingConfig(), "steps 30-10 tau 0.7"),
        (SamplingConfig(steps=(40,), tau=()), "steps 40"),
        (SamplingConfig(guidance=1.5, solver="heun"), "steps 30-10 tau 0.7 guidance 1.5 heun"),
        (SamplingConfig(guidance=2, guidance_interval=(0.1, 0.9)), "steps 30-10 tau 0.7 guidance 2 in 0.1-0.9"),
        (SamplingConfig(time_shift=3.0, weights="raw"), "steps 30-10 tau 0.7 time_shift 3 raw"),
    ],
)
def test_a_curve_is_named_by_what_is_unusual_about_its_sampling(sampling: SamplingConfig, expected: str) -> None:
    assert sampling_name(sampling) == expected
