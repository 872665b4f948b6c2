"""Checkpoints in the store: published whole, verified on load, never mixed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dfm_core.catalog.datasets import DataShape
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import PlainEngine
from dfm_core.training.state import SnapshotCard, build_model, load_snapshot
from orchestration.artifacts.snapshot_loader import read_snapshot
from orchestration.artifacts.training_artifacts import TrainingArtifacts, TrainingCost
from orchestration.storage.store import MANIFEST, DamagedArtifactError, Store
from orchestration.training.checkpoint_upload import StateUploads
from tests.support.checkpoints import CheckpointUploads, newest_sound_step, read_checkpoint
from tests.support.process_group import CONFIG

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
        publish(artifacts, step, [{"step": step, "loss": 1.0}], keep=keep)


def publish(artifacts: TrainingArtifacts, step: int, *about: Any, keep: int = 9, **more: Any) -> None:
    uploads = CheckpointUploads(artifacts, engine_after(step), "attempt", keep)
    uploads.save(step, *about, **more)
    uploads.finish()


def shard(artifacts: TrainingArtifacts, step: int) -> Path:
    (path,) = Path(artifacts.store.path(artifacts.paths.checkpoint(step))).glob("state-*")
    return path


def test_a_checkpoint_gives_back_state_step_and_curve(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 2)
    point, tensors = read_checkpoint(artifacts, newest_sound_step(artifacts, at_most=10))
    assert (point.step, point.curve) == (2, ({"step": 2, "loss": 1.0},))
    for name, weight in engine_after(2).tensors("weight"):
        assert torch.equal(tensors["weight"][name], weight.flatten())


def test_only_the_newest_checkpoints_are_kept(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 2, 3, keep=2)
    assert artifacts.checkpoint_steps() == [2, 3]


def test_a_checkpoint_after_the_wanted_step_is_not_used(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 3)
    assert newest_sound_step(artifacts, at_most=2) == 1
    assert newest_sound_step(artifacts, at_most=0) == 0


@pytest.mark.proves(16)
@pytest.mark.parametrize("offset_share", [0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_sends_us_to_the_checkpoint_before(artifacts: TrainingArtifacts, offset_share: float) -> None:
    save(artifacts, 1, 2)
    path = shard(artifacts, 2)
    content = bytearray(path.read_bytes())
    content[int(offset_share * len(content))] ^= 1
    path.write_bytes(content)
    assert newest_sound_step(artifacts, at_most=9) == 1


@pytest.mark.proves(15)
def test_a_short_shard_sends_us_to_the_checkpoint_before(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 2)
    path = shard(artifacts, 2)
    path.write_bytes(path.read_bytes()[:-100])
    assert newest_sound_step(artifacts, at_most=9) == 1


def test_a_missing_file_sends_us_to_the_checkpoint_before(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 2)
    shard(artifacts, 2).unlink()
    assert newest_sound_step(artifacts, at_most=9) == 1


def test_an_index_whose_files_lie_elsewhere_is_damaged(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1)
    directory = artifacts.paths.checkpoint(1)
    manifest = artifacts.store.manifest(directory)
    assert manifest is not None
    pieces = {
        kind: {name: [["../other", *entry[1:]] for entry in entries] for name, entries in tensors.items()}
        for kind, tensors in manifest["about"]["pieces"].items()
    }
    artifacts.store.publish(directory, manifest["files"], {**manifest["about"], "pieces": pieces})
    with pytest.raises(DamagedArtifactError, match="its manifest leads elsewhere"):
        read_checkpoint(artifacts, 1)


def test_the_deviations_of_scales_come_from_the_newest_checkpoint(artifacts: TrainingArtifacts) -> None:
    assert artifacts.known_scale_std() == ()
    publish(artifacts, 1, scale_std=STD)
    publish(artifacts, 2, scale_std=(1 / 3, 0.1))
    assert artifacts.known_scale_std() == (1 / 3, 0.1)


def test_raw_weights_and_snapshot_of_a_step_are_read_by_slices(artifacts: TrainingArtifacts) -> None:
    engine = engine_after(2)
    uploads = StateUploads(artifacts.store, engine, "attempt")
    uploads.save(2, [artifacts.raw_weights(2), artifacts.snapshot(CONFIG, SnapshotCard(2, DataShape(1, 10), STD))])
    uploads.finish()
    for weights, kind in (("raw", "weight"), ("ema", "ema")):
        model = read_snapshot(artifacts.store, ("digest", 2), weights).model
        for name, tensor in engine.tensors(kind):
            assert torch.equal(model.state_dict()[name], tensor), name


def test_an_unpublished_checkpoint_is_not_seen(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 2)
    artifacts.store.remove(f"{artifacts.paths.checkpoint(2)}/manifest.json")
    assert artifacts.checkpoint_steps() == [1]
    assert newest_sound_step(artifacts, at_most=9) == 1


def test_a_snapshot_holds_the_averaged_weights_and_is_published_once(artifacts: TrainingArtifacts) -> None:
    engine = engine_after(3)
    snapshot = artifacts.snapshot(CONFIG, SnapshotCard(3, DataShape(1, 10), STD))
    for attempt, one in (("first", engine), ("second", engine_after(5))):  # once published, it is left alone
        uploads = StateUploads(artifacts.store, one, attempt)
        uploads.save(3, [snapshot])
        uploads.finish()
    with artifacts.store.fetched(artifacts.paths.snapshot(3)) as files:
        loaded_snapshot = load_snapshot(files[0].parent)
        model, card = loaded_snapshot.model, loaded_snapshot.card
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
    publish(artifacts, 1, scale_std=STD)
    manifest = artifacts.store.manifest(artifacts.paths.checkpoint(1))
    assert manifest is not None
    assert manifest["about"]["scale_std"] == list(STD)


def test_what_a_training_cost_is_carried_over_attempts_on_any_number_of_workers(artifacts: TrainingArtifacts) -> None:
    first = TrainingCost().plus(seconds=10.0, num_workers=4)
    publish(artifacts, 1, [{"step": 1, "loss": 1.0}], cost=first)
    resumed = read_checkpoint(artifacts, 1)[0].cost.plus(seconds=5.0, num_workers=2)
    assert resumed == TrainingCost(seconds=15.0, accelerator_seconds=50.0)


def test_a_checkpoint_that_says_no_cost_counts_as_free(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1)
    assert read_checkpoint(artifacts, 1)[0].cost == TrainingCost()


def about(artifacts: TrainingArtifacts) -> CurveRow:
    (row,) = read_checkpoint(artifacts, 2)[0].curve
    return row


@pytest.mark.proves(16)
@pytest.mark.parametrize("name", ["shard", "manifest"])
def test_a_bit_that_flips_anywhere_is_found(artifacts: TrainingArtifacts, name: str) -> None:
    save(artifacts, 1, 2)
    path, draw = shard(artifacts, 2), random.Random(0)
    path = path if name == "shard" else path.with_name(MANIFEST)
    sound = path.read_bytes()
    begin_of_data = 8 + int.from_bytes(sound[:8], "little") if name == "shard" else 0
    for _ in range(200):
        offset, bit = draw.randrange(len(sound)), 1 << draw.randrange(8)
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(bytes([sound[offset] ^ bit]))
        found = newest_sound_step(artifacts, at_most=9)
        if name == "manifest" and found == 2:  # of its blanks, or of the name of its own checksum
            assert about(artifacts) == {"step": 2, "loss": 1.0}
        elif offset < begin_of_data:  # of the file's header: the index is in the manifest
            assert found == 2
        else:
            assert found == 1, f"bit {bit} of byte {offset}"
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(sound[offset : offset + 1])
    assert newest_sound_step(artifacts, at_most=9) == 2


@pytest.mark.proves(15)
def test_a_shard_or_manifest_that_is_cut_off_anywhere_is_not_used(artifacts: TrainingArtifacts) -> None:
    save(artifacts, 1, 2)
    directory, draw = Path(artifacts.store.path(artifacts.paths.checkpoint(2))), random.Random(0)
    for path in (shard(artifacts, 2), directory / MANIFEST):
        sound = path.read_bytes()
        for length in [0, 1, len(sound) - 1, *(draw.randrange(len(sound)) for _ in range(30))]:
            path.write_bytes(sound[:length])
            assert newest_sound_step(artifacts, at_most=9) == 1, f"{path.name} cut to {length} bytes"
        path.write_bytes(sound)
    assert newest_sound_step(artifacts, at_most=9) == 2


@pytest.mark.proves(14)
def test_a_sigkill_at_any_time_leaves_a_sound_checkpoint_and_no_step_back(artifacts: TrainingArtifacts) -> None:
    draw, engines, newest = random.Random(0), [engine_after(step) for step in range(1, 4)], 0
    for number in range(150):
        if number >= 25 and newest > 2:
            break
        if (child := os.fork()) == 0:
            try:  # a forked process cannot train, but it can save
                for step in range(newest + 1, 1_000_000):
                    uploads = CheckpointUploads(artifacts, engines[step % 3], f"attempt-{number}", keep=2)
                    uploads.save(step, [{"step": step, "loss": 1.0}])
                    uploads.finish()
            finally:
                os._exit(1)
        time.sleep(draw.uniform(0.0, 0.15 * (1 + number // 25)))  # longer where the machine is busy
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = newest_sound_step(artifacts, at_most=10**9)
        assert found == max(artifacts.checkpoint_steps(), default=0), "a published checkpoint is torn"
        assert found >= newest
        newest = found
    assert newest > 2
    _, state = read_checkpoint(artifacts, newest)
    for name, weight in engines[newest % 3].tensors("weight"):
        assert torch.equal(state["weight"][name], weight.flatten())
