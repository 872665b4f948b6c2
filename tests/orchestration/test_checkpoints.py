"""Checkpoints in the store: published whole, verified on load, never mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfm_core.data.catalog import DataShape
from dfm_core.training.engine import PlainEngine
from dfm_core.training.state import SnapshotCard, build_model, load_snapshot
from orchestration.checkpoint_uploads import CheckpointCard, CheckpointUploads
from orchestration.checkpoints import Spent, TrainingArtifacts
from orchestration.storage import Store
from tests.orchestration.process_group import CONFIG

STD = (0.6, 0.2)


@pytest.fixture
def artifacts(store: Store) -> TrainingArtifacts:
    return TrainingArtifacts(store, "digest")


def engine_after(num_steps: int) -> PlainEngine:
    """An engine whose weights differ after every step."""
    engine = PlainEngine(build_model(CONFIG, DataShape(1, 10), STD), CONFIG.training)
    for _ in range(num_steps):
        sum(p.square().sum() for p in engine.model.parameters()).backward()
        engine.step(1e-2)
    return engine


def save(artifacts: TrainingArtifacts, *steps: int, keep: int = 9) -> None:
    for step in steps:
        publish(artifacts, CheckpointCard(step, [{"step": step, "loss": 1.0}]), keep)


def publish(artifacts: TrainingArtifacts, card: CheckpointCard, keep: int = 9) -> None:
    uploads = CheckpointUploads(artifacts, engine_after(card.step), "attempt", keep)
    uploads.save(card)
    uploads.finish()


def shard(artifacts: TrainingArtifacts, step: int) -> Path:
    (path,) = Path(artifacts.store.path(artifacts.paths.checkpoint(step))).glob("state-*")
    return path


def test_a_checkpoint_gives_back_state_step_and_curve(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 2)
    point = artifacts.load_checkpoint(artifacts.newest_sound_step(at_most=10))
    assert (point.step, point.curve) == (2, ({"step": 2, "loss": 1.0},))
    for name, weight in engine_after(2).tensors("weight"):
        assert torch.equal(point.state["weight"][name], weight)


def test_only_the_newest_checkpoints_are_kept(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 2, 3, keep=2)
    assert artifacts.checkpoint_steps() == [2, 3]


def test_a_checkpoint_after_the_wanted_step_is_not_used(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 3)
    assert artifacts.newest_sound_step(at_most=2) == 1
    assert artifacts.newest_sound_step(at_most=0) == 0


@pytest.mark.parametrize("offset_share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_sends_us_to_the_checkpoint_before(artifacts: TrainingArtifacts, offset_share: float) -> None:
    save(artifacts, 1, 2)
    path = shard(artifacts, 2)
    content = bytearray(path.read_bytes())
    content[int(offset_share * len(content))] ^= 1
    path.write_bytes(content)
    assert artifacts.newest_sound_step(at_most=9) == 1


def test_a_short_shard_sends_us_to_the_checkpoint_before(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 2)
    path = shard(artifacts, 2)
    path.write_bytes(path.read_bytes()[:-100])
    assert artifacts.newest_sound_step(at_most=9) == 1


def test_an_unpublished_checkpoint_is_not_seen(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 2)
    artifacts.store.remove(f"{artifacts.paths.checkpoint(2)}/manifest.json")
    assert artifacts.checkpoint_steps() == [1]
    assert artifacts.newest_sound_step(at_most=9) == 1


def test_a_snapshot_holds_the_averaged_weights_and_is_published_once(artifacts: TrainingArtifacts) -> None:
    engine = engine_after(3)
    artifacts.save_snapshot(engine, CONFIG, SnapshotCard(3, DataShape(1, 10), STD))
    artifacts.save_snapshot(engine_after(5), CONFIG, SnapshotCard(3, DataShape(1, 10), STD))  # published: left alone
    with artifacts.store.fetched(artifacts.paths.snapshot(3)) as files:
        snapshot = load_snapshot(files[0].parent)
        model, card = snapshot.model, snapshot.card
    assert card == SnapshotCard(3, DataShape(1, 10), STD)
    loaded = dict(model.named_parameters())
    for name, average in engine.tensors("ema"):
        assert torch.equal(loaded[name], average)
    assert artifacts.missing_snapshots([3, 4]) == [4]


def test_going_back_for_an_early_snapshot_keeps_the_checkpoints_it_makes(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 6, 7, keep=2)
    save(artifacts, 1, 2, 3, keep=2)
    assert artifacts.checkpoint_steps() == [2, 3, 6, 7]


def test_a_checkpoint_keeps_the_statistics_of_its_data(artifacts: TrainingArtifacts) -> None:
    publish(artifacts, CheckpointCard(1, scale_std=STD))
    manifest = artifacts.store.manifest(artifacts.paths.checkpoint(1))
    assert manifest is not None
    assert manifest["about"]["scale_std"] == list(STD)


def test_what_a_training_cost_is_carried_over_attempts_on_any_number_of_workers(artifacts: TrainingArtifacts) -> None:
    first = Spent().plus(seconds=10.0, num_workers=4)
    publish(artifacts, CheckpointCard(1, [{"step": 1, "loss": 1.0}], spent=first))
    resumed = artifacts.load_checkpoint(1).spent.plus(seconds=5.0, num_workers=2)
    assert resumed == Spent(seconds=15.0, accelerator_seconds=50.0)


def test_a_checkpoint_that_says_no_cost_counts_as_free(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1)
    assert artifacts.load_checkpoint(1).spent == Spent()
