"""A checkpoint that somebody put there runs nothing: not if its manifest does not fit, and not if it does."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestration.artifacts.training_artifacts import TrainingArtifacts
from orchestration.storage.store import DamagedArtifactError, FileEntry, Store
from tests.support.checkpoints import newest_sound_step, read_checkpoint


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.sentinel),)


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    return tmp_path / "sprung"


def publish(artifacts: TrainingArtifacts, content: Path, sha256: str | None = None) -> None:
    directory, name = artifacts.paths.checkpoint(4), "state-00000-of-00001.attempt.safetensors"
    entry = FileEntry.of(content)
    artifacts.store.put(content, f"{directory}/{name}")
    artifacts.store.publish(directory, [FileEntry(name, entry.num_bytes, sha256 or entry.sha256)], {"curve": []})


@pytest.mark.proves(27)
@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_pickle_in_the_place_of_a_shard_is_never_opened_as_one(
    store: Store, tmp_path: Path, sentinel: Path, writer: str
) -> None:
    content, artifacts = tmp_path / "shard", TrainingArtifacts(store, "d")
    trap = Trap(sentinel)
    content.write_bytes(pickle.dumps(trap)) if writer == "pickle" else torch.save({"model": trap}, content)
    publish(artifacts, content, sha256="0" * 64)
    assert newest_sound_step(artifacts, at_most=9) == 0
    with pytest.raises(DamagedArtifactError, match="is not what its manifest says"):
        read_checkpoint(artifacts, 4)
    publish(artifacts, content)  # whoever can write the shard can write the manifest
    with pytest.raises(Exception, match=r"(?i)header|safetensor"):
        read_checkpoint(artifacts, 4)
    assert not sentinel.exists()


def test_the_trap_of_these_tests_works(sentinel: Path) -> None:
    pickle.loads(pickle.dumps(Trap(sentinel)))
    assert sentinel.exists()
