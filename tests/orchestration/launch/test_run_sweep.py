"""A whole submission of a sweep whose numbers are stored already, with a real MLflow that takes only some of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestration.common.exit_codes import EXIT_TRACKING_INCOMPLETE
from orchestration.plan.plan import Plan
from orchestration.storage.store import Store
from orchestration.sweep import main
from orchestration.tasks.task import MetricTask
from orchestration.tracking.mlflow_tracker import Tracker
from orchestration.tracking.uri import resolve_uri
from tests.orchestration.conftest import QUICKSTART, TINY
from tests.support.stored_sweeps import ONE_ROW, finish, tiny_plan
from tests.support.sweeps import numbers, python

PROVENANCE = {"source": {"git_commit": "abc", "uncommitted_diff": ""}}
_WRITE_VERSION = 18
"""Place in the head of an SQLite file; a file whose version is higher than the library's is read-only for anybody."""


@pytest.fixture
def plan() -> Plan:
    return tiny_plan()


@pytest.fixture
def stored(store: Store, plan: Plan) -> Store:
    """All numbers of the sweep, and an experiment without any run."""
    for task in plan.tasks.values():
        finish(store, task, dict.fromkeys(task.protocols if isinstance(task, MetricTask) else {}, 5.0))
    Tracker(resolve_uri(None, store, {}), plan.spec.name, store, PROVENANCE)
    return store


def arguments(store: Store) -> list[str]:
    return [str(QUICKSTART), f"storage.root={store.root}", *TINY, ONE_ROW]


def runs_of(store: Store, plan: Plan) -> list[Run]:
    client = MlflowClient(tracking_uri=resolve_uri(None, store, {}))
    experiment = client.get_experiment_by_name(plan.spec.name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def set_write_version(store: Store, version: int) -> None:
    with Path(store.path("mlflow.db")).open("r+b") as file:
        file.seek(_WRITE_VERSION)
        file.write(bytes([version]))


@pytest.mark.proves(19)
def test_what_a_read_only_database_lacks_is_in_the_table_and_told_by_code_7(stored: Store, plan: Plan) -> None:
    set_write_version(stored, 3)
    done = python("orchestration/sweep.py", *arguments(stored))
    assert done.returncode == EXIT_TRACKING_INCOMPLETE, done.stderr
    assert f"MLflow did not take all of {len(plan.tasks)} tasks" in done.stdout
    assert "attempt to write a readonly database" in done.stderr
    assert "Traceback" not in done.stderr
    assert runs_of(stored, plan) == []
    assert set(numbers(Path(stored.root)).values()) == {"5.0"}
    page = (Path(stored.root) / "reports" / "quickstart" / "report.html").read_text()
    assert f"{len(plan.tasks)} tasks have records and no run in MLflow; the records stand" in page
    set_write_version(stored, 1)
    done = python("orchestration/sweep.py", *arguments(stored))
    assert done.returncode == 0, done.stderr
    assert {run.info.status for run in runs_of(stored, plan)} == {"FINISHED"}
    assert len(runs_of(stored, plan)) == len(plan.tasks)


def test_refused_artifacts_leave_numbers_and_no_stray_runs(stored: Store, plan: Plan) -> None:
    place = Path(stored.path("mlflow-artifacts"))
    place.write_text("not a folder")
    for _ in range(2):
        assert main(arguments(stored)) == EXIT_TRACKING_INCOMPLETE
        assert set(numbers(Path(stored.root)).values()) == {"5.0"}
        runs = runs_of(stored, plan)
        assert {run.data.tags["dfm.digest"] for run in runs} == set(plan.tasks)
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert len(runs) == len(plan.tasks)
    place.unlink()
    assert main(arguments(stored)) == 0
    assert {run.data.tags["dfm.status"] for run in runs_of(stored, plan)} == {"done"}
    assert len(list(place.rglob("task.json"))) == len(plan.tasks)


def files_under(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_a_copied_root_is_tracked_in_the_copy_and_keeps_what_people_added(
    stored: Store, plan: Plan, tmp_path: Path
) -> None:
    assert main(arguments(stored)) == 0
    client = MlflowClient(tracking_uri=resolve_uri(None, stored, {}))
    first, second, third = sorted(runs_of(stored, plan), key=lambda run: str(run.info.run_name))[:3]
    client.set_experiment_tag(first.info.experiment_id, "mlflow.note.content", "for the paper")
    client.set_tag(first.info.run_id, "mlflow.note.content", "odd samples")
    client.set_tag(second.info.run_id, "reviewed by", "Ada")
    client.update_run(third.info.run_id, name="the good one")
    copy = Store(str(tmp_path / "copy"))
    shutil.copytree(stored.root, copy.root)
    before = files_under(Path(stored.root))
    assert main(arguments(copy)) == 0
    assert files_under(Path(stored.root)) == before
    runs = {run.data.tags["dfm.digest"]: run for run in runs_of(copy, plan)}
    assert set(runs) == set(plan.tasks)
    assert {(run.info.status, run.data.tags["dfm.status"]) for run in runs.values()} == {("FINISHED", "done")}
    assert all(copy.root in run.info.artifact_uri for run in runs.values())
    assert runs[first.data.tags["dfm.digest"]].data.tags["mlflow.note.content"] == "odd samples"
    assert runs[second.data.tags["dfm.digest"]].data.tags["reviewed by"] == "Ada"
    assert runs[third.data.tags["dfm.digest"]].info.run_name == "the good one"
    experiment = MlflowClient(tracking_uri=resolve_uri(None, copy, {})).get_experiment_by_name(plan.spec.name)
    assert experiment is not None
    assert experiment.tags["mlflow.note.content"] == "for the paper"
    assert len(list(Path(copy.root).glob("mlflow.db.aside-*"))) == 1
    assert main(arguments(copy)) == 0
    assert len(list(Path(copy.root).glob("mlflow.db.aside-*"))) == 1


@pytest.mark.parametrize("how", ["folder", "library"])
def test_an_error_of_the_report_is_a_line_whose_command_makes_it(
    stored: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A folder that cannot be written, and a matplotlibrc that ends the import of matplotlib itself."""
    settings, reports = tmp_path / "matplotlibrc", Path(stored.root, "reports")
    if how == "folder":
        reports.write_text("a file")
    else:
        settings.write_bytes(b"font.family: \xff\n")
        monkeypatch.setenv("MATPLOTLIBRC", str(settings))
    done = python("orchestration/sweep.py", *arguments(stored))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("No report: ")]
    assert ("cannot be written" if how == "folder" else "UnicodeDecodeError") in line
    reports.unlink(missing_ok=True)
    settings.unlink(missing_ok=True)
    command = line.partition("; later: ")[2]
    made = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    assert (reports / "quickstart" / "report.html").is_file()


def test_a_root_with_an_odd_name_is_tracked_and_read_there(stored: Store, plan: Plan, tmp_path: Path) -> None:
    odd = Store(str(tmp_path / "a?b%2Fc#d"))
    shutil.copytree(f"{stored.root}/results", f"{odd.root}/results")
    for name in ("snapshots", "features"):
        shutil.copytree(f"{stored.root}/{name}", f"{odd.root}/{name}")
    assert main(arguments(odd)) == 0
    assert {run.info.status for run in runs_of(odd, plan)} == {"FINISHED"}
    assert len(list(Path(odd.root).glob("mlflow-artifacts/*/artifacts/task.json"))) == len(plan.tasks)
    assert "Without MLflow" not in (Path(odd.root) / "reports" / "quickstart" / "report.html").read_text()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a?b%2Fc#d", "store"]
