"""The best snapshots in MLflow's registry, a real one on sqlite, loaded again as anybody would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from dfm_core.catalog.datasets import DATASETS
from dfm_core.pipeline import DFMPipeline
from dfm_core.training.state import SnapshotCard, build_model, write_snapshot_files
from orchestration.artifacts.task_record import TaskRecord
from orchestration.launch.standings import best_snapshots
from orchestration.plan.best_snapshot import BestSnapshot
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import FileEntry, Store
from orchestration.tasks.task import EvaluateTask, TrainTask
from orchestration.tracking.mlflow_tracker import Tracker
from orchestration.tracking.model_registry import ModelRegistry
from orchestration.tracking.uri import resolve_uri
from tests.orchestration.conftest import QUICKSTART, TINY

ROWS = "parts={p: {grid: {training.first_stage_probability: [0.7, 0.9]}}}"
LABELS = np.array([3, 1, 4], np.int64)
PROVENANCE = {"source": {"git_commit": "", "uncommitted_diff": ""}}
METRIC = "fd_lite0_block10"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load_sweep(QUICKSTART, [*TINY, ROWS]))


@pytest.fixture(scope="module")
def tracked(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with snapshots of untrained models, and its database."""
    store = Store(str(tmp_path_factory.mktemp("store")))
    tracker = Tracker(
        resolve_uri(None, store, {}),
        plan.spec.name,
        store,
        PROVENANCE,
    )
    for task in plan.of_kind(EvaluateTask):
        tracker.begin(task)
    for task in plan.of_kind(TrainTask):
        shape = DATASETS[task.config.data.dataset].shape
        card = SnapshotCard(0, shape, (1.0, 0.5))
        weights = build_model(task.config, shape, card.scale_std).state_dict()
        for step in task.snapshot_steps:
            directory = TaskPaths(task.digest).snapshot(step)
            local = Path(store.path(directory))
            files = write_snapshot_files(weights, task.config, card, local, None)
            store.publish(directory, [FileEntry.of(file) for file in files])
    return store


def best(plan: Plan, values: Mapping[float, float]) -> tuple[BestSnapshot, ...]:
    """By first-stage probability, at every step; the other metric says the opposite."""
    found = {}
    for task in plan.of_kind(EvaluateTask):
        value = values[task.config.training.first_stage_probability]
        metrics = {METRIC: value, "label_accuracy": value / 100}
        found[task.digest] = TaskRecord(task.digest, "evaluate", metrics, 1.0, step=task.at_step)
    return best_snapshots(plan, found, ())


def test_the_best_snapshot_is_a_version_that_samples_what_the_snapshot_does(
    plan: Plan, tracked: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = resolve_uri(None, tracked, {})
    registry, client = ModelRegistry(uri, tracked), MlflowClient(tracking_uri=uri, registry_uri=uri)
    (line,) = registry.register(plan, best(plan, {0.7: 20.0, 0.9: 30.0}))
    assert line.startswith("quickstart p: version 1 is first_stage_probability=0.7 @ 12, fd_lite0_block10 20")
    (line,) = registry.register(plan, best(plan, {0.7: 20.0, 0.9: 30.0}))
    assert line.endswith("is registered already")
    (line,) = registry.register(plan, best(plan, {0.7: 20.0, 0.9: 10.0}))
    assert "version 2 is first_stage_probability=0.9" in line

    version = client.get_model_version_by_alias("quickstart p", "best")
    task = plan.tasks[version.tags["dfm.evaluation"]]
    assert (str(version.version), version.tags[METRIC], version.tags["step"]) == ("2", "10", "12")
    assert client.get_run(version.run_id).data.tags["dfm.digest"] == task.digest

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # `set_tracking_uri` would stay for the tests after this one
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
    model = mlflow.pyfunc.load_model("models:/quickstart p@best")
    images = model.predict(LABELS, params={"seed": 5})
    pipe = DFMPipeline.from_pretrained(tracked.path(TaskPaths(task.snapshots[0][0]).snapshot(task.snapshots[0][1])))
    sampling = task.config.sampling
    expected = pipe(
        LABELS.tolist(),
        num_inference_steps=sampling.steps,
        tau=sampling.tau,
        guidance_scale=sampling.guidance,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    )
    np.testing.assert_array_equal(images, expected.images)
    assert not np.array_equal(images, model.predict(LABELS, params={"seed": 6}))

    signature = model.metadata.signature
    assert signature.inputs.inputs[0].type == np.dtype(np.int64)
    assert signature.outputs.inputs[0].shape == (-1, *images.shape[1:])


def test_a_registered_model_holds_no_pickle(tracked: Store) -> None:
    folders = list(Path(tracked.path("mlflow-artifacts")).rglob("MLmodel"))
    assert folders
    for folder in folders:
        endings = {path.suffix for path in folder.parent.rglob("*") if path.is_file()}
        assert {".safetensors", ".json", ".py"} <= endings
        assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".bin"}


def test_what_cannot_be_registered_is_a_line(plan: Plan, tracked: Store, tmp_path: Path) -> None:
    registry = ModelRegistry(resolve_uri(None, tracked, {}), Store(str(tmp_path)))  # whose snapshots are gone
    (line,) = registry.register(plan, best(plan, {0.7: 1.0, 0.9: 2.0}))
    assert line.startswith("p: not registered (no artifact at ")
    assert registry.register(plan, ()) == []


@pytest.mark.slow
def test_a_registered_model_is_loaded_without_the_project(tracked: Store, tmp_path: Path) -> None:
    (folder, *_) = Path(tracked.path("mlflow-artifacts")).rglob("MLmodel")
    program = (
        "import sys, numpy as np; sys.path = [p for p in sys.path if p not in ('', sys.argv[2])]; "
        "import mlflow.pyfunc; m = mlflow.pyfunc.load_model(sys.argv[1]); print(m.predict(np.array([1])).shape); "
        "print(sys.modules['dfm_core'].__file__)"
    )
    command = [sys.executable, "-c", program, str(folder.parent), str(Path(__file__).parents[3])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    shape, where = done.stdout.splitlines()[-2:]
    assert shape == "(1, 1, 32, 32)"
    assert Path(where).is_relative_to(folder.parent)
