"""The trials of a search as they are stored: proposals with their state and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

TrialState = Literal["running", "complete", "pruned", "failed", "valueless", "refused"]
_BEHIND: tuple[TrialState, ...] = ("running", "pruned", "valueless", "failed")


@dataclass(frozen=True)
class Exploit:
    """The step of a population's member, after a rung, to the state of a better one, with changed settings."""

    donor: int
    """Number of the better trial."""
    past: tuple[Mapping[str, Any], ...]
    """Settings of the training that it takes over, in each stretch up to this rung."""
    settings: Mapping[str, Any]
    """Settings from here on."""


@dataclass(frozen=True)
class SearchTrial:
    """One proposal."""

    number: int
    """Shown to people; the same when it is tried again."""
    settings: Mapping[str, Any]
    """Value of each key that is read, by dotted key."""
    state: TrialState = "running"
    """`failed`: a task of it did, and the next submission tries again. `valueless`: an objective is NaN or infinite.
    `refused`: it breaks a rule, so that nothing of it was computed."""
    values: tuple[float, ...] = ()
    """One per objective; of a complete trial."""
    at_rungs: Mapping[int, float] = field(default_factory=dict)
    """Number of a rung, from 0 -> value of the objective there."""
    violations: tuple[float, ...] = ()
    """Excess over each constraint, 0 or less if it is met; of a complete trial."""
    reason: str = ""
    exploits: Mapping[int, Exploit] = field(default_factory=dict)
    """Number of a rung -> what a population's member does there, if it does not go on as it was."""
    name: str = ""
    """Shown instead of the number: "3.2" is the third sampling of the fourth training."""

    @property
    def is_feasible(self) -> bool:
        return all(excess <= 0 for excess in self.violations)

    def stretches(self, rung: int) -> tuple[Mapping[str, Any], ...]:
        """Return the settings of its training in each stretch up to a rung, that of the rung's own decision left out.

        Stretch 0 leads to rung 0. After an exploit the past is that of the training that was taken over.
        """
        last = max((before for before in self.exploits if before < rung), default=None)
        if last is None:
            return (self.settings,) * (rung + 1)
        exploit = self.exploits[last]
        return (*exploit.past, *[exploit.settings] * (rung - last))

    def at(self, rung: int) -> SearchTrial:
        """Return the trial as it was on its way to a rung."""
        passed = {before: value for before, value in self.at_rungs.items() if before < rung}
        exploits = {before: one for before, one in self.exploits.items() if before < rung}
        return replace(self, state="running", values=(), violations=(), at_rungs=passed, exploits=exploits)

    @property
    def label(self) -> str:
        """Label of its row."""
        settings = ", ".join(f"{_name(key)}={_short(value)}" for key, value in self.settings.items())
        return f"trial {self.name or self.number}: {settings}"


def _name(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def best_first(trials: list[SearchTrial], directions: tuple[str, ...]) -> list[SearchTrial]:
    """Return the trials that have a row, the best first.

    Complete and feasible ones come first (a Pareto front by its first objective), then the infeasible, those
    that run, were pruned, have no value, failed. Refused ones have no row.
    """
    front = {trial.number for trial in pareto_front(trials, directions)}

    def rank(trial: SearchTrial) -> tuple[Any, ...]:
        if trial.state != "complete":
            reached = max(trial.at_rungs, default=-1)
            return (3 + _BEHIND.index(trial.state), -reached, trial.number)
        group = 2 if not trial.is_feasible else int(trial.number not in front)
        return (group, *_costs(trial, directions), trial.number)

    return sorted((trial for trial in trials if trial.state != "refused"), key=rank)


def pareto_front(trials: list[SearchTrial], directions: tuple[str, ...]) -> list[SearchTrial]:
    """Return the complete and feasible trials that none dominates: better in one objective, as good in the others. With
    one objective these are the best, ties included."""
    sound = [trial for trial in trials if trial.state == "complete" and trial.is_feasible]
    costs = {trial.number: _costs(trial, directions) for trial in sound}
    if len(directions) == 1:
        best = min(costs.values(), default=None)
        return [trial for trial in sound if costs[trial.number] == best]
    return [trial for trial in sound if not any(_dominates(own, costs[trial.number]) for own in costs.values())]


def _costs(trial: SearchTrial, directions: tuple[str, ...]) -> tuple[float, ...]:
    """Return the values with the sign at which lower is better."""
    return tuple(v if way == "minimize" else -v for v, way in zip(trial.values, directions, strict=True))


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
