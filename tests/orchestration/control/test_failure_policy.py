"""What is done about an error, whatever it is wrapped in; and when a sweep has seen enough."""

from __future__ import annotations

import pickle

import pytest
import torch
from ray.exceptions import ActorDiedError, ObjectLostError, OutOfMemoryError, RayTaskError
from ray.train import TrainingFailedError
from ray.train.v2._internal.exceptions import (
    UserExceptionWithTraceback,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from ray.train.v2.api.exceptions import PreemptionError, WorkerGroupError
from ray.train.v2.api.preemption import PreemptionInfo

from dfm_core.training.divergence import NotFiniteError, TrainingDivergedError
from orchestration.artifacts.samples.features import LostFeaturesError
from orchestration.common.errors import UserError
from orchestration.control import failure_policy as failures
from orchestration.control.failure_policy import Failure, FailureKind, FirstMistakes, failure_of
from orchestration.storage.disk_space import DiskFullError
from orchestration.storage.retry import StorageUnavailableError

PEER = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:33921")


def of_workers(*errors: Exception) -> WorkerGroupError:
    """What Ray Train raises: of worker 0, 1, ..."""
    told = [UserExceptionWithTraceback(error, f"Traceback ...\n{error}") for error in errors]
    return WorkerGroupError("[rank 0] ...", dict(enumerate(told)))


def died(error: Exception) -> WorkerGroupError:
    return WorkerGroupError("[rank 1] ...", {1: WorkerHealthCheckFailedError("A worker health check failed.", error)})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (died(ActorDiedError()), failures.LOST_WORKER),
        (died(OutOfMemoryError("Task was killed due to the node running low on memory.")), failures.NODE_MEMORY),
        (of_workers(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")), failures.MEMORY),
        (of_workers(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")), failures.MEMORY),
        (of_workers(MemoryError("this worker held 3.1 GiB at most")), failures.MEMORY),
        (PreemptionError(PreemptionInfo(None, {"node": [1]})), failures.PREEMPTED),
        (of_workers(NotFiniteError("gradients")), failures.NOT_FINITE),
        (of_workers(TrainingDivergedError("loss nan")), failures.DIVERGED),
        (of_workers(PEER, DiskFullError("the checkpoint of step 3 needs 9 MB")), failures.DISK_FULL),
        (WorkerGroupError("...", {0: WorkerHealthCheckTimeoutError("no answer")}), failures.HUNG),
        (RayTaskError("f", "...", LostFeaturesError("group 3")), failures.LOST_DATA),
        (ObjectLostError("id", "address", "stack"), failures.LOST_DATA),
        (of_workers(PEER, KeyError("scale_std")), failures.MISTAKE),
        (of_workers(PEER, ValueError("Failed to look up actor with name 'desk-1'")), failures.LOST_WORKER),
        (of_workers(UserError.of("data.dataset", "is not there")), failures.USERS_MISTAKE),
        (of_workers(PEER), failures.UNKNOWN),
        (of_workers(StorageUnavailableError("s3://bucket: away")), failures.UNKNOWN),
        (OSError("odd"), failures.UNKNOWN),
    ],
    ids=lambda value: value.name if isinstance(value, FailureKind) else None,
)
def test_an_error_is_known_through_all_that_wraps_it(error: Exception, kind: FailureKind) -> None:
    assert failure_of(error).kind == kind
    assert failure_of(pickle.loads(pickle.dumps(error))).kind == kind


@pytest.mark.proves(9)
def test_an_error_is_told_by_its_last_line_and_what_to_do() -> None:
    assert str(failure_of(of_workers(PEER, KeyError("scale_std")))) == "KeyError: 'scale_std'"
    told = str(failure_of(died(OutOfMemoryError("Killed.\nMemory on the node was 7.9GB / 8.0GB"))))
    assert told.startswith("out of memory: OutOfMemoryError: Memory on the node was 7.9GB / 8.0GB; it was ended to")
    assert "workers.micro_batch_size" in told
    assert str(failure_of(NotFiniteError("samples 8 to 15"))) == "nan: NotFiniteError: samples 8 to 15"


def test_errors_that_refer_to_each_other_are_judged_too() -> None:
    one, other = RuntimeError("one"), TrainingFailedError("other")
    one.__cause__, other.__cause__ = other, one
    assert failure_of(one).kind == failures.UNKNOWN


def mistake(text: str) -> Failure:
    return Failure(failures.MISTAKE, text)


def ended(*found: Failure | None) -> bool:
    first = FirstMistakes()
    for failure in found:
        first.ended(failure)
    return first.early_exit is not None


def test_the_same_mistake_in_the_first_trainings_ends_the_sweep() -> None:
    same = [mistake(f"KeyError: 'x{number}'") for number in range(3)]
    assert not ended(*same[:2])
    assert ended(*same)
    assert not ended(same[0], same[1], mistake("TypeError: y"))
    assert not ended(None, *same)
    assert not ended(same[0], None, *same)
    assert not ended(Failure(failures.DIVERGED, "loss"), *same)
    assert ended(Failure(failures.USERS_MISTAKE, "data.dataset: is not there"))


def test_the_end_says_what_the_mistake_was() -> None:
    first = FirstMistakes()
    for _ in range(3):
        first.ended(mistake("KeyError: 'x'"))
    assert first.early_exit is not None
    assert first.early_exit.reason == "the first 3 trainings failed by the same mistake (KeyError: 'x')"
    assert first.early_exit.exit_code == 1
