"""Samplers from the store: one at a time in memory, whole or in pieces, never from damaged files."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch

from dfm_core.catalog.datasets import DataShape
from dfm_core.training.engine import PlainEngine
from dfm_core.training.state import SnapshotCard, build_model
from orchestration.artifacts import snapshot_loader
from orchestration.artifacts.snapshot_loader import SnapshotLoader
from orchestration.artifacts.training_artifacts import TrainingArtifacts
from orchestration.storage.store import DamagedArtifactError, Store
from orchestration.training.checkpoint_upload import StateUploads
from tests.support.process_group import CONFIG

STD = (0.6, 0.2)


@pytest.fixture
def stored(store: Store) -> Store:
    engine = PlainEngine(build_model(CONFIG, DataShape(1, 10), STD), CONFIG.training)
    artifacts, uploads = TrainingArtifacts(store, "train"), StateUploads(store, engine, "attempt")
    for step in (1, 2):
        uploads.save(step, [artifacts.snapshot(CONFIG, SnapshotCard(step, DataShape(1, 10), STD))])
    uploads.finish()
    return store


def test_the_sampler_before_is_gone_when_the_next_is_read(stored: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loader, read, alive = SnapshotLoader(stored, torch.device("cpu")), snapshot_loader.read_snapshot, []
    before = weakref.ref(loader.load((("train", 1),)).model)

    def watched(*arguments: object) -> object:
        gc.collect()
        alive.append(before() is not None)
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshot_loader, "read_snapshot", watched)
    assert loader.load((("train", 2),)) is loader.load((("train", 2),))
    assert alive == [False]


def test_a_damaged_snapshot_is_asked_for_again(stored: Store) -> None:
    directory = TrainingArtifacts(stored, "train").paths.snapshot(1)
    (path,) = Path(stored.path(directory)).glob("ema-*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedArtifactError, match="not what its index says; submit again to make it anew"):
        SnapshotLoader(stored, torch.device("cpu")).load((("train", 1),))
    assert stored.manifest(directory) is None
