"""Rows whose samples a chart sets beside each other: of one draw and one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from analysis.plan.model import Part, PublishedPlan, Trial

MOST_ROWS = 8
T = TypeVar("T")


def first_trials(plan: PublishedPlan, part: Part) -> list[Trial]:
    """Return the trial of each row's first seed."""
    return [trial for row in part.rows for trial in plan.trials_of(part.name, row)[:1]]


def choose_evenly(part: Part, trials: Sequence[Trial]) -> Sequence[Trial]:
    """Choose evenly among many rows; a search has its best trials first and keeps them all."""
    return trials[:: 1 if part.search else -(-len(trials) // MOST_ROWS) or 1]


def select_alike(
    trials: Sequence[Trial], cut: Callable[[str], T | None], kind_of: Callable[[str, T], object]
) -> dict[str, T]:
    """Select the first rows whose samples are of the same kind, at most MOST_ROWS.

    Args: cut: cuts samples out of what an evaluation left, given its digest; None if there are none. kind_of: draw and
        size of an evaluation's samples.
    """
    selected: dict[str, T] = {}
    first_kind: object = None
    for trial in trials:
        if len(selected) == MOST_ROWS:
            break
        digest = trial.evaluations[-1][1]
        samples = cut(digest)
        if samples is None:
            continue
        kind = kind_of(digest, samples)
        first_kind = first_kind or kind
        if kind == first_kind:
            selected[trial.row] = samples
    return selected


def left_out_note(trials: Sequence[Trial], selected: Mapping[str, object]) -> str:
    """Say how many rows are not shown; empty if all are."""
    left_out = len(trials) - len(selected)
    return f"{left_out} of {len(trials)} rows are not shown." if left_out else ""
