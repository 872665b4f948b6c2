"""The failure policy: one table that says what to do about an error, for trainings, evaluations and the sweep.

Errors come from other processes, wrapped by Ray and Ray Train, and some of their classes exist only where a library is
loaded; so the table knows them by name. An error that is not in it may pass on other workers, and is retried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from orchestration.common.exit_codes import EXIT_TASKS_FAILED
from orchestration.control.outcome import EarlyExit

Remedy = Literal["retry here", "retry elsewhere", "stop the trial", "stop the sweep"]
"""`retry here`: the process is sound, and begins the work anew. `retry elsewhere`: on new processes. `stop the trial`:
a retry would end the same way. `stop the sweep`: so would all others, see `FirstMistakes`."""


@dataclass(frozen=True)
class FailureKind:
    """A row of the table."""

    name: str
    remedy: Remedy
    advice: str = ""
    counts: bool = True
    """Counts against `workers.max_failures`."""

    @property
    def is_retried(self) -> bool:
        return self.remedy in ("retry here", "retry elsewhere")


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
"""(pattern of the class name, pattern in the text, kind); of several rows that fit, the first counts."""


@dataclass(frozen=True)
class Failure:
    """A classified error."""

    kind: FailureKind
    error: str
    """Its class and last line."""

    def __str__(self) -> str:
        if self.kind in (MISTAKE, USERS_MISTAKE, UNKNOWN, LOST_WORKER, LOST_DATA):  # the error says it better
            return self.error
        return f"{self.kind.name}: {self.error}" + (f"; {self.kind.advice}" if self.kind.advice else "")


def failure_of(error: BaseException) -> Failure:
    """Classify an error by the first row that fits it, or an error that it wraps."""
    wrapped = list(_wrapped(error))
    for names, text, kind in _TABLE:
        for cause in wrapped:
            if re.fullmatch(names, type(cause).__name__) and re.search(text, f"{type(cause).__module__} {cause}"):
                return Failure(kind, line_of(cause))
    return Failure(UNKNOWN, line_of(wrapped[-1]))


def line_of(error: BaseException) -> str:
    """Return its class and the last line of its text; the traceback is in Ray's logs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those in it, outermost first: causes, and the attributes in which Ray keeps them."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        names = ("__cause__", "cause", "controller_failure", "health_check_failure", "_base_exc")
        inner: list[object] = [getattr(current, name, None) for name in names]
        failures = getattr(current, "worker_failures", None)
        inner += failures.values() if isinstance(failures, Mapping) else ()
        waiting += [one for one in inner if isinstance(one, BaseException)]


class FirstMistakes:
    """Decides that a sweep ends, since its other trainings would fail too: a worker met a mistake of the user, or the
    first trainings all failed by the same mistake."""

    NUM_SAME = 3

    def __init__(self) -> None:
        self._mistakes: list[str] = []
        self._one_differs = False
        """Set once a training went otherwise: from then on a mistake concerns its trial alone."""
        self._reason = ""

    def ended(self, failure: Failure | None) -> None:
        """Count a training that ended; None: without an error."""
        if failure is not None and failure.kind.remedy == "stop the sweep":
            self._reason = failure.error
        elif failure is None or failure.kind is not MISTAKE:
            self._one_differs = True
        else:
            self._mistakes.append(re.sub(r"\d+", "#", failure.error))

    @property
    def early_exit(self) -> EarlyExit | None:
        """Reason to end the sweep; None if there is none."""
        first = self._mistakes[: self.NUM_SAME]
        if not self._one_differs and len(first) == self.NUM_SAME and len(set(first)) == 1:
            self._reason = f"the first {self.NUM_SAME} trainings failed by the same mistake ({first[0]})"
        if not self._reason:
            return None
        return EarlyExit(EXIT_TASKS_FAILED, self._reason, "fix it, then rerun the same command")
