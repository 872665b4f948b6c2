"""Records that travel: nothing of them is computed again, and nothing that is not whole is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestration.commands.record_files import export_records, import_records
from orchestration.common.errors import UserError
from orchestration.control.outcome import Outcome
from orchestration.launch.standings import best_snapshots
from orchestration.launch.summary import snapshots_text
from orchestration.plan.completed import completed_records, tasks_to_run
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import RESULTS, TaskPaths
from orchestration.storage.store import Store
from orchestration.sweep import main
from orchestration.tasks.task import EvaluateTask, TrainTask
from tests.orchestration.conftest import QUICKSTART, ROOT, TINY
from tests.support.stored_sweeps import ONE_ROW, finish, finish_all, publish_snapshot, tiny_plan


@pytest.fixture
def plan() -> Plan:
    return tiny_plan()


@pytest.fixture
def exported(plan: Plan, store: Store, tmp_path: Path) -> Path:
    """A folder of the records of a whole sweep."""
    finish_all(store, plan.tasks.values())
    folder = tmp_path / "records"
    export_records(plan, completed_records(store, plan), store, str(folder))
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "elsewhere"))


def test_imported_records_leave_nothing_to_compute(plan: Plan, exported: Path, elsewhere: Store) -> None:
    assert len(tasks_to_run(plan, completed_records(elsewhere, plan))) == len(plan.tasks)
    told = import_records(plan, elsewhere, str(exported))
    assert told.startswith(f"{len(plan.tasks)} records imported from ")
    done = completed_records(elsewhere, plan)
    assert done.keys() == plan.tasks.keys()
    assert tasks_to_run(plan, done) == []
    for digest in plan.tasks:
        path = TaskPaths(digest).result
        assert elsewhere.read(path) == (exported / path).read_bytes()


@pytest.mark.parametrize(
    ("sweep", "row", "value"),
    [("table2_small", "guidance_1.5 dfm", 277.3018964090624), ("convergence_small", "paradigm dfm", 319.575949428767)],
)
def test_the_committed_results_are_those_of_the_shipped_sweeps(
    elsewhere: Store, sweep: str, row: str, value: float
) -> None:
    plan = make_plan(load_sweep(ROOT / "sweeps" / f"{sweep}.yaml", [f"storage.root={elsewhere.root}"]))
    import_records(plan, elsewhere, str(ROOT / "docs" / "results" / "records"))
    done = completed_records(elsewhere, plan)
    assert tasks_to_run(plan, done) == []
    trials = [trial for trial in plan.trials if f"{trial.part} {trial.row}" == row]
    values = [done[trial.evaluations[-1][1]].metrics["fd_lite0_block10"] for trial in trials]
    assert sum(values) / len(values) == pytest.approx(value, rel=1e-12)


def test_only_records_travel_and_no_weights(exported: Path) -> None:
    kinds = {path.relative_to(exported).parts[0] for path in exported.rglob("*") if path.is_file()}
    assert kinds == {RESULTS, "records.json"}


def test_a_snapshot_that_did_not_travel_is_not_named_as_if_it_were_here(elsewhere: Store) -> None:
    plan = make_plan(load_sweep(ROOT / "sweeps" / "convergence_small.yaml", [f"storage.root={elsewhere.root}"]))
    import_records(plan, elsewhere, str(ROOT / "docs" / "results" / "records"))
    outcome = Outcome(completed_records(elsewhere, plan))
    assert snapshots_text(plan, outcome, elsewhere).splitlines()[1:] == ["  paradigm / dfm: where its record was made"]
    (best,) = best_snapshots(plan, outcome.done, ())
    trial = next(trial for trial in plan.trials if trial.row == best.row)
    place = TaskPaths(trial.trains[-1]).snapshot(best.step)
    publish_snapshot(elsewhere, place)
    (line,) = snapshots_text(plan, outcome, elsewhere).splitlines()[1:]
    assert line == f"  paradigm / dfm: {elsewhere.uri(place)}"


def test_what_needs_the_snapshots_trains_them_here(plan: Plan, exported: Path, elsewhere: Store) -> None:
    import_records(plan, elsewhere, str(exported))
    more = tiny_plan("sampling.steps=[3, 1]")
    to_run = tasks_to_run(more, completed_records(elsewhere, more))
    assert {type(task) for task in to_run} == {TrainTask, EvaluateTask}
    (training,) = (task for task in to_run if isinstance(task, TrainTask))
    assert training.digest in plan.tasks


def test_a_record_that_is_here_stays(plan: Plan, exported: Path, elsewhere: Store) -> None:
    task = next(task for task in plan.tasks.values() if isinstance(task, EvaluateTask))
    finish(elsewhere, task, {"fd_lite0_block10": 3.0})
    own = elsewhere.read(TaskPaths(task.digest).result)
    assert ", 1 known here already, " in import_records(plan, elsewhere, str(exported))
    assert elsewhere.read(TaskPaths(task.digest).result) == own
    assert f"0 records imported from {exported}, {len(plan.tasks)} known" in import_records(
        plan, elsewhere, str(exported)
    )


def test_records_of_another_sweep_are_counted_and_left(exported: Path, elsewhere: Store) -> None:
    other = tiny_plan("training.learning_rate=0.123")
    shared = [task for task in other.tasks.values() if not isinstance(task, TrainTask | EvaluateTask)]
    told = import_records(other, elsewhere, str(exported))
    assert told.startswith(f"{len(shared)} records imported")
    assert told.endswith(", 3 of no task of quickstart.")  # a training and two evaluations


def test_a_later_export_adds_to_the_folder(plan: Plan, exported: Path, store: Store, elsewhere: Store) -> None:
    other = tiny_plan("training.learning_rate=0.123")
    finish_all(store, other.tasks.values())
    export_records(other, completed_records(store, other), store, str(exported))
    import_records(plan, elsewhere, str(exported))
    import_records(other, elsewhere, str(exported))
    assert tasks_to_run(plan, completed_records(elsewhere, plan)) == []
    assert tasks_to_run(other, completed_records(elsewhere, other)) == []


@pytest.mark.parametrize("harm", ["changed", "removed", "another record", "no record"])
def test_files_that_are_not_as_exported_are_named_and_nothing_is_taken(
    plan: Plan, exported: Path, elsewhere: Store, harm: str
) -> None:
    first, second = sorted(plan.tasks)[:2]
    victim = exported / TaskPaths(first).result
    index = json.loads((exported / "records.json").read_text())
    if harm == "removed":
        victim.unlink()
    elif harm == "changed":
        victim.write_text(victim.read_text().replace(": 1.0", ": 2.0"))
    elif harm == "another record":
        victim.write_bytes((exported / TaskPaths(second).result).read_bytes())
        index["files"][first] = index["files"][second]
    else:
        index["files"][first] = {}
    (exported / "records.json").write_text(json.dumps(index))
    with pytest.raises(UserError) as caught:
        import_records(plan, elsewhere, str(exported))
    assert first in str(caught.value)
    assert "export the records again" in str(caught.value)
    assert elsewhere.names(RESULTS) == []


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        '{"format": 1, "sweep": "x", "files": {"../../etc": {"result.json": "0"}}}',
        '{"format": 1, "sweep": "x", "files": {"a": {"../result.json": "0"}}}',
        '{"format": 1, "sweep": "x", "files": []}',
        '{"format": 2, "sweep": "x", "files": {}}',
    ],
)
def test_a_hostile_index_is_refused(plan: Plan, tmp_path: Path, elsewhere: Store, index: str) -> None:
    (tmp_path / "records.json").write_text(index)
    with pytest.raises(UserError, match=r"records\.json"):
        import_records(plan, elsewhere, str(tmp_path))


def test_from_the_command_line(plan: Plan, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish_all(store, plan.tasks.values())
    command, folder = [str(QUICKSTART), *TINY, ONE_ROW], str(tmp_path / "records")
    assert main([*command, f"storage.root={store.root}", "--export-records", folder]) == 0
    assert f"{len(plan.tasks)} records of quickstart in {folder}.\n" in capsys.readouterr().out
    there = f"storage.root={tmp_path / 'there'}"
    assert main([*command, there, "--import-records", folder]) == 0
    assert f"{len(plan.tasks)} records imported from {folder}, 0 known" in capsys.readouterr().out
    assert main([*command, there, "--import-records", str(tmp_path)]) == 2
    assert "no such file; give a folder that --export-records wrote" in capsys.readouterr().err
