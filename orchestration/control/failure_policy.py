"""What is done about an error: one table for trainings, evaluations and the sweep.

Errors come from other processes, wrapped by Ray and Ray Train, and some of their classes exist only where a library is
loaded; so they are known by name. What the table does not know may pass on other workers, and is tried again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from orchestration.common.exit_codes import EXIT_TASKS_FAILED
from orchestration.control.outcome import EarlyExit

Remedy = Literal["retry here", "retry elsewhere", "stop the trial", "stop the sweep"]
"""`retry here`: the process is sound, and the work is begun anew. `retry elsewhere`: on new processes. `stop the
trial`: trying again would end the same way. `stop the sweep`: so would all others, see `FirstMistakes`."""


@dataclass(frozen=True)
class FailureKind:
    """A row of the table."""

    name: str
    remedy: Remedy
    advice: str = ""
    counts: bool = True
    """Against `workers.max_failures`."""


PREEMPTED = FailureKind("preempted", "retry elsewhere", counts=False)
MEMORY = FailureKind(
    "out of memory",
    "stop the trial",
    "lower workers.micro_batch_size or workers.evaluation_batch_size, or set workers.activation_checkpointing=true or "
    "a higher workers.zero_stage",
)
NODE_MEMORY = FailureKind(
    "out of memory",
    "retry elsewhere",
    f"it was ended to save its node, whose memory was full: {MEMORY.advice}, or run less at a time",
)
NOT_FINITE = FailureKind("nan", "stop the trial")
DIVERGED = FailureKind("diverged", "stop the trial")
DISK_FULL = FailureKind("disk full", "stop the trial", "free some space and submit again: it goes on from there")
HUNG = FailureKind("hung", "retry elsewhere")
LOST_DATA = FailureKind("lost data", "retry here")
LOST_WORKER = FailureKind("lost worker", "retry elsewhere")
MISTAKE = FailureKind("mistake", "stop the trial")
USERS_MISTAKE = FailureKind("user's mistake", "stop the sweep")
UNKNOWN = FailureKind("unknown", "retry elsewhere")

_TABLE: tuple[tuple[str, str, FailureKind], ...] = (
    ("PreemptionError|PreemptedError", "", PREEMPTED),
    ("OutOfMemoryError", "CUDA|HIP|torch", MEMORY),
    ("OutOfMemoryError", "", NODE_MEMORY),
    ("MemoryError", "", MEMORY),
    ("RuntimeError|DefaultCPUAllocator", "can't allocate memory|not enough memory", MEMORY),
    ("NotFiniteError", "", NOT_FINITE),
    ("TrainingDivergedError", "", DIVERGED),
    ("DiskFullError", "", DISK_FULL),
    ("HungError|WorkerHealthCheckTimeoutError|CollectiveTimeoutError|NCCLHangError", "", HUNG),
    ("LostFeaturesError|ObjectLostError|TaskCancelledError|ObjectReconstruction.*Error", "", LOST_DATA),
    (".*Actor(Died|Unavailable)?Error|WorkerCrashedError|NodeDiedError|LocalRayletDiedError", "", LOST_WORKER),
    ("WorkerHealthCheckFailedError|WorkersEndedError", "", LOST_WORKER),
    ("ValueError", "Failed to look up actor", LOST_WORKER),
    ("UserError", "", USERS_MISTAKE),
    (
        "(Value|Type|Key|Index|Attribute|Name|Assertion|NotImplemented|Import|ModuleNotFound|ZeroDivision)Error",
        "",
        MISTAKE,
    ),
)
"""(names of the error's class, what its text holds, kind); of several that fit, the first counts."""


@dataclass(frozen=True)
class Failure:
    """An error, judged."""

    kind: FailureKind
    error: str
    """Its class and last line."""

    def __str__(self) -> str:
        if self.kind in (MISTAKE, USERS_MISTAKE, UNKNOWN, LOST_WORKER, LOST_DATA):  # the error says it better
            return self.error
        return f"{self.kind.name}: {self.error}" + (f"; {self.kind.advice}" if self.kind.advice else "")


def failure_of(error: BaseException) -> Failure:
    """Judges an error by the first row that fits it, or anything that it wraps."""
    wrapped = list(_wrapped(error))
    for names, text, kind in _TABLE:
        for found in wrapped:
            if re.fullmatch(names, type(found).__name__) and re.search(text, f"{type(found).__module__} {found}"):
                return Failure(kind, line_of(found))
    return Failure(UNKNOWN, line_of(wrapped[-1]))


def line_of(error: BaseException) -> str:
    """Its class and the last line of its text; the traceback is in Ray's logs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """The error, and those in it, outermost first: causes, and the attributes in which Ray keeps them."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        names = ("__cause__", "cause", "controller_failure", "health_check_failure", "_base_exc")
        inner: list[object] = [getattr(found, name, None) for name in names]
        failures = getattr(found, "worker_failures", None)
        inner += failures.values() if isinstance(failures, Mapping) else ()
        waiting += [one for one in inner if isinstance(one, BaseException)]


class FirstMistakes:
    """Whether a sweep should end, since the others of its trainings would fail too: the user's mistake was found in a
    worker, or the first ones all failed by the same."""

    NUM_SAME = 3

    def __init__(self) -> None:
        self._found: list[str] = []
        self._over = False
        """Whether a training went otherwise: from then on a mistake is one of its trial alone."""
        self._reason = ""

    def ended(self, failure: Failure | None) -> None:
        """A training has; None: without an error."""
        if failure is not None and failure.kind.remedy == "stop the sweep":
            self._reason = failure.error
        elif failure is None or failure.kind is not MISTAKE:
            self._over = True
        else:
            self._found.append(re.sub(r"\d+", "#", failure.error))

    @property
    def ending(self) -> EarlyExit | None:
        """Why the sweep is to end; None if it is not."""
        first = self._found[: self.NUM_SAME]
        if not self._over and len(first) == self.NUM_SAME and len(set(first)) == 1:
            self._reason = f"the first {self.NUM_SAME} trainings failed by the same mistake ({first[0]})"
        if not self._reason:
            return None
        return EarlyExit(EXIT_TASKS_FAILED, self._reason, "mend it; then the same command goes on from here")
