"""A full disk is said as such, and what was there before it stays."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from orchestration.artifacts.training_artifacts import TrainingArtifacts
from orchestration.storage.disk_space import DiskFullError, require_disk_space
from orchestration.storage.store import Store
from tests.orchestration.artifacts.test_training_artifacts import engine_after
from tests.support.checkpoints import CheckpointUploads, newest_sound_step


@pytest.mark.proves(13)
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_whatever_a_library_says_of_a_full_disk_is_one_error(error: Exception, tmp_path: Path) -> None:
    told = rf"the checkpoint of step 3 does not fit: [\d,.]+ MB are free at {tmp_path}"
    with pytest.raises(DiskFullError, match=told), require_disk_space("the checkpoint of step 3", 10, tmp_path):
        raise error


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), require_disk_space("it", 10, tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(SafetensorError), require_disk_space("it", 10, tmp_path):
        raise SafetensorError("invalid header")


def test_what_cannot_fit_is_not_begun(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with (
        pytest.raises(DiskFullError, match=r"it needs [\d,.]+ MB; [\d,.]+ MB are free at"),
        require_disk_space("it", 2 * free, tmp_path / "not" / "there yet"),
    ):
        raise AssertionError("it was begun")


def in_a_child(work: Callable[[], None]) -> int:
    """Runs it in a process of its own. Returns its exit code: 0, or 1 if it raised."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  a child of pytest must not become a second pytest
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.proves(13)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_checkpoint_that_does_not_fit_leaves_the_one_before_and_nothing_of_itself(store: Store, share: float) -> None:
    artifacts = TrainingArtifacts(store, "digest")
    first = CheckpointUploads(artifacts, engine_after(1), "attempt", keep=1)
    first.save(1)
    first.finish()
    (shard,) = Path(store.path(artifacts.paths.checkpoint(1))).glob("state-*")
    limit, trained = int(share * shard.stat().st_size), engine_after(2)  # here: a forked process cannot train

    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        second = CheckpointUploads(artifacts, trained, "attempt", keep=1)
        second.save(2)
        with pytest.raises(DiskFullError, match="the checkpoint of step 2 does not fit"):
            second.finish()

    assert in_a_child(write) == 0
    assert newest_sound_step(artifacts, at_most=9) == 1
    assert [path.name for path in Path(store.root).rglob("*step-000000002*")] in ([], ["step-000000002"])
    assert [path for path in Path(store.root).rglob("*") if "partial" in path.name or "state-" in path.name] == [shard]
