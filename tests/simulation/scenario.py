"""A world as data: its sweep, its storage, its cluster, and every fault that will befall it; drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import SweepSpec, load_sweep
from tests.orchestration.conftest import QUICKSTART

METRIC = "fd_lite0_block10"
_SMALL = (
    "name=simulated",
    "model.size=nano",
    "training.steps=12",
    "training.batch_size=8",
    "training.warmup_steps=3",
    "evaluation.at_steps=[4, 12]",
    "evaluation.num_samples=40",
    f"evaluation.metrics=[{METRIC}]",
    "workers.checkpoint_every=4",
    "workers.log_every=2",
    "workers.num_workers=1",
    "storage.root=sim://bucket/root",
)
_OWN_RUNS = "workers.reuse_under_minutes=0"
_ONE_ROW = "parts={p: {rows: {DFM: {}}}}"
_TWO_ROWS = "parts={p: {rows: {DFM: {}, other: {training.learning_rate: 0.001}}}}"
_EDITED = "parts={p: {rows: {DFM: {}, third: {training.learning_rate: 0.002}}}}"
_SEARCHED = (
    "parts={{p: {{search: {{space: {{training.learning_rate: {{log: [1.0e-4, 1.0e-2]}}}}, num_trials: 4, "
    "sampler: random, objectives: {{{metric}: minimize}}, trial_scheduler: {scheduler}}}}}}}"
)
SCHEDULERS = {
    "none": "{kind: none}",
    "asha": "{kind: asha, first: 4, eta: 2, num_rungs: 1}",
    "hyperband": "{kind: hyperband, first: 4, eta: 2, num_rungs: 1}",
    "median": "{kind: median, first: 4, eta: 2, num_rungs: 1, startup: 2}",
    "pbt": "{kind: pbt, first: 4, num_rungs: 1}",
}
"""Trial schedulers of searches by kind."""
_LIMIT = "workers.max_accelerator_hours"
BUDGET_HOURS = 0.004
SWEEPS: dict[str, tuple[str, ...]] = {
    "two rows": (_TWO_ROWS,),
    "shared workers": (_ONE_ROW,),
    "own runs": (_ONE_ROW, _OWN_RUNS),
    "features removed": (_ONE_ROW, _OWN_RUNS, "workers.keep_features=false"),
    "one checkpoint": (_ONE_ROW, "workers.keep_checkpoints=1"),
    "one evaluator": (_TWO_ROWS, "workers.num_evaluators=1"),
    "edited": (_EDITED,),
    "longer": (_ONE_ROW, "training.steps=16", "evaluation.at_steps=[4, 12, 16]"),
    "shorter": (_ONE_ROW, "training.steps=8", "evaluation.at_steps=[4, 8]"),
    "budget": (_ONE_ROW, "training.steps=40", "evaluation.at_steps=[4, 40]", f"{_LIMIT}={BUDGET_HOURS}"),
    **{
        f"search, {kind}": (
            _SEARCHED.format(metric=METRIC, scheduler=scheduler),
            "training.steps=8",
            "evaluation.at_steps=[8]",
            "search_storage=sqlite:////simulated.db",
        )
        for kind, scheduler in SCHEDULERS.items()
    },
}
"""Overrides by name."""
_FIRST = (
    "two rows",
    "shared workers",
    "own runs",
    "features removed",
    "one checkpoint",
    "one evaluator",
    "shorter",
    "budget",
)
_NEXT = ("shared workers", "own runs", "edited", "longer")

FaultKind = Literal[
    "driver killed",
    "driver frozen",
    "worker killed",
    "worker hangs",
    "evaluator killed",
    "controller killed",
    "board lost",
    "queue lost",
    "node lost",
    "preempted",
    "storage 503",
    "storage silent",
    "storage lost answer",
    "storage late",
    "storage slow",
    "storage partial",
    "storage stale listing",
    "bit flipped",
    "snapshot removed",
    "tracker away",
    "tracker slow",
    "tracker lost answer",
    "second driver",
    "stop",
    "gc",
    "SIGTERM",
    "clock jumps",
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
BY_CALL = ("driver killed", "driver frozen", "worker killed", "evaluator killed")
"""Faults that strike at a call of a process; the others strike at a time."""
MOST_CALLS = {"driver killed": 500, "driver frozen": 500, "worker killed": 180, "evaluator killed": 90}
MOST_SECONDS = 24.0
_SHARE_OF_DUELS, _SHARE_OF_SEARCHES = 0.2, 0.1


@dataclass(frozen=True)
class Fault:
    """One fault."""

    kind: FaultKind
    at: int
    """Number of the call, of tenths of a second since the start for faults by time."""
    where: int = 0
    """Serial number of the process; for others anything that tells victims apart."""
    length: int = 10
    """Tenths of a second that it lasts, or by which a clock jumps."""


@dataclass(frozen=True)
class Scenario:
    """A world."""

    seed: int
    """Of latencies, of the order of what happens at once, and of coins."""
    sweeps: tuple[str, ...]
    """Sweep of each submission; of those after the last, the last."""
    faults: tuple[Fault, ...]
    conditional: bool = True
    """The storage knows conditional PUTs."""
    num_cpus: tuple[int, ...] = (2, 2)
    """CPUs of each node."""


def draw(seed: int) -> Scenario:
    """Return the world of a seed."""
    rng = random.Random(seed)
    sweeps = [rng.choice(_FIRST)]
    if rng.random() < _SHARE_OF_SEARCHES:
        sweeps = [f"search, {rng.choice(sorted(SCHEDULERS))}"]
    elif rng.random() < 0.25 or sweeps[0] in ("budget", "shorter"):
        sweeps += [sweeps[0]] * rng.randint(0, 1) + [rng.choice(_NEXT)]
    faults = tuple(_fault(rng) for _ in range(rng.randint(5, 14)))
    if rng.random() < _SHARE_OF_DUELS:
        faults += _duel(rng)
    nodes = rng.choice(((2, 2), (4,), (1, 1), (3, 1), (2,)))
    return Scenario(seed, tuple(sweeps), faults, conditional=rng.random() < 0.7, num_cpus=nodes)


def _duel(rng: random.Random) -> tuple[Fault, ...]:
    """Return two drivers at once: in the same moment, or the second while the first is frozen."""
    if rng.random() < 0.3:
        return (Fault("second driver", rng.randint(0, 4)),)
    second = Fault("second driver", rng.randint(10, 60))
    return (Fault("driver frozen", rng.randint(30, 160), 0, rng.randint(200, 320)), second)


def _fault(rng: random.Random) -> Fault:
    kind = rng.choice((*KINDS, "driver killed", "driver killed", "worker killed"))
    if kind in BY_CALL:
        # Early calls as often as all others together: a process changes most while it starts.
        most = MOST_CALLS[kind] if rng.random() < 0.7 else 40
        return Fault(kind, rng.randint(1, most), rng.choice((0, 0, 0, 1, 1, 2, 3)), rng.randint(10, 300))
    latest = int(10 * MOST_SECONDS) if rng.random() < 0.8 else 10
    return Fault(kind, rng.randint(0, latest), rng.randint(0, 9), rng.randint(5, 250))


@cache
def spec_of(name: str) -> SweepSpec:
    return load_sweep(QUICKSTART, [*_SMALL, *SWEEPS[name]])


@cache
def plan_of(name: str) -> Plan:
    return make_plan(spec_of(name))
