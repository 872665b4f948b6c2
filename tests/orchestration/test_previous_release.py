"""What earlier releases left in a store is still read.

`python -m tests.orchestration.test_previous_release FILE.zip` keeps what the release at hand leaves; its weights are
constants, so that the file is small.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from analysis.plan.read import parse_plan
from dfm_core.catalog.datasets import DataShape
from dfm_core.training.engine import STATE_KINDS, PlainEngine, StateKind
from dfm_core.training.pieces import TensorState
from dfm_core.training.state import SnapshotCard, build_model, load_snapshot
from orchestration.artifacts.snapshot_loader import opened_snapshot, read_snapshot
from orchestration.artifacts.task_record import TaskRecord, read_record, write_record
from orchestration.artifacts.training_artifacts import TrainingArtifacts, TrainingCost
from orchestration.control.heartbeat import Heartbeat, read_heartbeat, write_heartbeat
from orchestration.control.lease import Lease, lease_in_force, take_lease
from orchestration.plan.published import read_published
from orchestration.storage.layout import plan_file
from orchestration.storage.store import Store
from orchestration.training.checkpoint_upload import StateUploads
from tests.support.checkpoints import read_checkpoint
from tests.support.process_group import CONFIG
from tests.support.stored_sweeps import publish, tiny_plan

ASSETS = Path(__file__).parents[1] / "assets"
RELEASES = sorted(path.stem for path in ASSETS.glob("release-*.zip"))
STD = (0.6, 0.2)
STEP, NUM_STEPS = 7, 6
CURVE = ({"step": 7.0, "loss": 0.5, "skipped_steps": 1.0},)


def engine() -> PlainEngine:
    return PlainEngine(build_model(CONFIG, DataShape(1, 10), STD), CONFIG.training)


def state_of(trained: PlainEngine) -> dict[StateKind, dict[str, Tensor]]:
    """Each kind of tensor filled with a number of its own."""
    names = [(name, parameter.shape) for name, parameter in trained.model.named_parameters()]
    return {
        kind: {name: torch.full(shape, value / 8) for name, shape in names} for value, kind in enumerate(STATE_KINDS, 1)
    }


def leave(store: Store) -> None:
    """Everything that a later release may be asked to read."""
    trained, artifacts = engine(), TrainingArtifacts(store, "digest")
    trained.load(TensorState(state_of(trained)), NUM_STEPS)
    uploads = StateUploads(store, trained, "attempt")
    snapshot = artifacts.snapshot(CONFIG, SnapshotCard(STEP, DataShape(1, 10), STD))
    checkpoint = artifacts.checkpoint(trained, STEP, 1, CURVE, STD, TrainingCost(3.0, 6.0))
    uploads.save(STEP, [snapshot, artifacts.raw_weights(STEP), checkpoint])
    uploads.finish()
    write_record(store, TaskRecord("digest", "train", {"x": 1.0}, 2.0, STEP, CURVE, about={"scale_std": list(STD)}))
    publish(store, tiny_plan())
    write_heartbeat(store, "quickstart", Heartbeat("driver", "host", 1, 2, 3.0, "ended", outcome="all is done"))
    assert take_lease(store, "quickstart", "driver") is not None


@pytest.fixture(params=RELEASES)
def left(request: pytest.FixtureRequest, store: Store) -> Store:
    with zipfile.ZipFile(ASSETS / f"{request.param}.zip") as archive:
        archive.extractall(store.root)
    return store


def test_there_is_a_release() -> None:
    assert RELEASES


@pytest.mark.proves(32)
def test_a_training_goes_on_from_its_checkpoint(left: Store) -> None:
    artifacts = TrainingArtifacts(left, "digest")
    point, found = read_checkpoint(artifacts, STEP)
    assert (point.curve, point.cost, point.num_steps) == (CURVE, TrainingCost(3.0, 6.0), NUM_STEPS)
    resumed = engine()
    for kind, tensors in state_of(resumed).items():
        assert found[kind].keys() == tensors.keys()
        assert all(torch.equal(found[kind][name], tensor.flatten()) for name, tensor in tensors.items())
    with artifacts.opened_checkpoint(STEP) as opened:
        resumed.load(opened.state, opened.num_steps)
    assert all(torch.equal(weight, state_of(resumed)["weight"][name]) for name, weight in resumed.tensors("weight"))


@pytest.mark.proves(32)
def test_its_snapshot_and_raw_weights_are_read(left: Store) -> None:
    artifacts = TrainingArtifacts(left, "digest")
    assert artifacts.missing_snapshots([STEP], [STEP]) == []
    snapshot = load_snapshot(left.path(artifacts.paths.snapshot(STEP)))
    assert snapshot.config == CONFIG
    ema = (STATE_KINDS.index("ema") + 1) / 8
    assert all(bool((parameter == ema).all()) for parameter in snapshot.model.parameters())
    raw = read_snapshot(left, ("digest", STEP), "raw").model
    assert all(bool((parameter == 1 / 8).all()) for parameter in raw.parameters())
    assert STATE_KINDS[0] == "weight"
    with opened_snapshot(left, ("digest", STEP)) as averages:
        assert averages.sizes("ema") == {name: weight.numel() for name, weight in raw.named_parameters()}


@pytest.mark.proves(32)
def test_its_records_plan_and_driver_are_known(left: Store) -> None:
    record = read_record(left, "digest")
    assert record is not None
    assert (record.kind, record.metrics, record.step, record.curve) == ("train", {"x": 1.0}, STEP, CURVE)
    assert parse_plan(left.read(plan_file("quickstart")).decode()).sweep == "quickstart"
    assert read_published(left, "quickstart") is not None
    beat = read_heartbeat(left, "quickstart")
    assert beat is not None
    assert beat.outcome == "all is done"
    lease = lease_in_force(left, "quickstart", Lease(0, "d", "here", 42))
    assert lease is not None
    assert lease.epoch == 1


def main(archive: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        leave(Store(folder))
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as kept:
            for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
                kept.write(path, path.relative_to(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
