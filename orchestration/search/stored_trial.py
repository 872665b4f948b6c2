"""A trial of a search as its study keeps it: what we store beside Optuna's own fields, and how that is read."""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial, TrialState

from orchestration.spec.search.population import read_exploits
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import SearchTrial
from orchestration.spec.search.trial import TrialState as State

SETTINGS, NUMBER, REASON, KIND, LIMITS, PRUNED_AT, EXPLOITS = (
    "settings",
    "number",
    "reason",
    "kind",
    "constraints",
    "pruned_at",
    "exploits",
)
"""Attributes of a trial."""
_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "running",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
}
_MARKS = {TrialState.COMPLETE: LIMITS, TrialState.PRUNED: PRUNED_AT, TrialState.FAIL: KIND}
"""End of a trial -> the attribute that we store before we tell Optuna of it; without it somebody else has told it."""
_BY_OTHERS = "somebody told Optuna so"


def stored_trial(frozen: FrozenTrial, search: SearchSpec) -> SearchTrial:
    """Return a trial that has our attributes."""
    attributes = frozen.user_attrs
    state = _STATES.get(frozen.state) or attributes.get(KIND, "failed")
    values = tuple(frozen.values) if frozen.state == TrialState.COMPLETE else ()
    if not all(map(math.isfinite, values)):  # we never tell such; Optuna takes infinity from others
        state, values = "valueless", ()
    by_others = frozen.state.is_finished() and _MARKS[frozen.state] not in attributes
    return SearchTrial(
        number=int(attributes[NUMBER]),
        settings=search.ordered(attributes[SETTINGS]),
        state=state,
        values=values,
        at_rungs=dict(frozen.intermediate_values),
        violations=tuple(attributes.get(LIMITS, ())),
        exploits={
            rung: exploit
            for rung, exploit in read_exploits(attributes.get(EXPLOITS, ()), search).items()
            if rung in frozen.intermediate_values  # else it was decided by a driver that was killed
        },
        reason=_BY_OTHERS if by_others else str(attributes.get(REASON, "")),
    )
