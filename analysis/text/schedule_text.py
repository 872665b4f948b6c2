"""The schedules of a population in sentences: settings by stretch, and whose training a trial took over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from analysis.plan.model import Search, SearchedTrial


def schedule_notes(search: Search | None) -> tuple[str, ...]:
    """Return a sentence for each trial of a population, by number; none for other searches."""
    if search is None or not search.compared_at:
        return ()
    trials = sorted((trial for trial in search.trials if trial.state != "refused"), key=lambda trial: trial.number)
    return tuple(f"Schedule of trial {trial.number}: {'; '.join(_stretches(search, trial))}." for trial in trials)


def _stretches(search: Search, trial: SearchedTrial) -> Iterator[str]:
    yield f"{_settings(trial.settings)} from the beginning"
    for takeover in trial.takeovers:
        where = search.compared_at[takeover.comparison]
        yield f"from {where} on {_settings(takeover.settings)}, with the training of trial {takeover.donor} until there"


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {value:.4g}" for key, value in settings.items())
