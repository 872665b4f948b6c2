"""Results of a search: best value against trials, importance of each key, and the objective along each key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Bar, BarPanel, Chart, Group, Line, Panel, slug, wants_log
from analysis.figures.series import group_by_part
from analysis.figures.settings_axes import axis_title
from analysis.plan.model import PublishedPlan, Search, SearchedTrial

_FEWEST_TRIALS = 2


def collect_search(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make charts of each search: its history, the importances of its keys, and slices through its space."""
    plan = joined_sweep.plan
    return group_by_part(plan, lambda part, number: _charts(plan, part.search, f"{number}-{slug(part.name)}"))


def _charts(plan: PublishedPlan, search: Search | None, name: str) -> Iterator[Chart]:
    if search is None:
        return
    titles = {metric.name: metric.title for metric in plan.metrics}
    objectives = [(titles.get(key, key.replace("_", " ")), way == "minimize") for key, way in search.objectives.items()]
    complete = [t for t in search.trials if t.state == "complete" and len(t.values) == len(objectives)]
    trials = [trial for trial in complete if all(map(math.isfinite, trial.values))]
    if len(trials) < _FEWEST_TRIALS:
        return
    history = tuple(_history(trials, index, title, lower=lower) for index, (title, lower) in enumerate(objectives))
    best = "; ".join(f"{panel.y_label} {panel.lines[-1].y[-1]:.4g}" for panel in history)
    about = f"Objectives against the number of the trial, {len(trials)} complete trials. Best: {best}."
    yield Chart(f"search-{name}-history", "Values of the trials", about, history)
    importance = tuple(filter(None, (_importance(trials, index, title) for index, (title, _) in enumerate(objectives))))
    if importance:
        shares = "; ".join(f"{p.x_label}: {', '.join(f'{b.label} {b.text}' for b in p.bars)}" for p in importance)
        about = f"Share of the variance that each key explains, by fANOVA. {shares}."
        yield Chart(f"search-{name}-importances", "Importance of the keys", about, importance, columns=1)
    for index, (title, _) in enumerate(objectives):
        slices = tuple(_slices(trials, index, title, frozenset(search.best)))
        if slices:
            keys = ", ".join(panel.x_label for panel in slices)
            about = f"{title} of each trial against {keys}; what else varied is not held fixed."
            yield Chart(f"search-{name}-slices-{index + 1}", f"{title} along each key", about, slices, columns=3)


def _history(trials: Sequence[SearchedTrial], index: int, title: str, *, lower: bool) -> Panel:
    """Make a panel with the value of each trial, and the best of the feasible ones so far."""
    ordered = sorted(trials, key=lambda trial: trial.number)
    values = [trial.values[index] for trial in ordered]
    best, so_far = math.inf if lower else -math.inf, []
    for trial, value in zip(ordered, values, strict=True):
        best = (min if lower else max)(best, value) if trial.is_feasible else best
        so_far.append((float(trial.number), best))
    xs, ys = zip(*[pair for pair in so_far if math.isfinite(pair[1])] or so_far[-1:], strict=True)
    points = Line("a trial", tuple(float(trial.number) for trial in ordered), tuple(values), color=0, style="points")
    return Panel("trial", title, (points, Line("best so far", xs, ys, color=1)), log_y=wants_log(values))


def _importance(trials: Sequence[SearchedTrial], index: int, title: str) -> BarPanel | None:
    from analysis.figures.importances import (  # Optuna loads for a second, and few sweeps search
        compute_importances,
        noise_shares,
    )

    settings, values = [trial.settings for trial in trials], [trial.values[index] for trial in trials]
    shares = compute_importances(settings, values)
    noise = noise_shares(settings, values) if shares else {}
    bars = tuple(
        Bar(axis_title(key), share, f"{share:.0%} (noise: up to {noise.get(key, 0.0):.0%})")
        for key, share in shares.items()
    )
    return BarPanel(f"share of the variance of {title}", bars) if bars else None


def _slices(trials: Sequence[SearchedTrial], index: int, title: str, best: frozenset[str]) -> Iterator[Panel]:
    """Make a panel per key that varies; trials that lack it are left out of it."""
    log_y = wants_log([trial.values[index] for trial in trials])
    for key in dict.fromkeys(key for trial in trials for key in trial.settings):
        having = [trial for trial in trials if key in trial.settings]
        given = [trial.settings[key] for trial in having]
        if len({json.dumps(value) for value in given}) < 2:
            continue
        numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in given)
        names = () if numeric else tuple(sorted({_name(value) for value in given}))
        xs = [float(value) if numeric else float(names.index(_name(value))) for value in given]
        lines = [
            Line(label, tuple(x for x, _ in points), tuple(y for _, y in points), color=color, style="points")
            for color, label, chosen in ((0, "a trial", False), (1, "best", True))
            if (points := [(x, t.values[index]) for x, t in zip(xs, having, strict=True) if (t.row in best) is chosen])
        ]
        log_x = numeric and wants_log(xs)
        yield Panel(axis_title(key), title, tuple(lines), log_x=log_x, log_y=log_y, x_names=names)


def _name(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
