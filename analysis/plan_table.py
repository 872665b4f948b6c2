"""The plan as a table: what each row sets, how far it is trained and when it is measured. Pure."""

from __future__ import annotations

from analysis.plan_types import Part, PlanFile
from analysis.protocol_tables import PlainTable
from analysis.protocols import shown

_MOST_ROWS = 100
_HEADER = ("part / row", "settings", "seeds", "trained for", "evaluated after steps")


def plan_table(plan: PlanFile) -> PlainTable:
    """All rows of all parts; of a part with more than 100 the first, and how many more there are."""
    rows = []
    for part in plan.parts:
        rows += [_row(plan, part, label) for label in part.rows[:_MOST_ROWS]]
        left = len(part.rows) - _MOST_ROWS
        rows += [(f"{part.name} / …", f"{left} more rows in the published plan", "", "", "")] if left > 0 else []
    return PlainTable(_HEADER, tuple(rows))


def _row(plan: PlanFile, part: Part, label: str) -> tuple[str, ...]:
    trials = plan.trials_of(part.name, label)
    settings = "; ".join(f"{key} {shown(value)}" for key, value in part.settings.get(label, {}).items())
    seeds = ", ".join(str(trial.seed) for trial in trials)
    training = plan.trainings.get(trials[0].train)
    trained = "" if training is None else f"{training.until_step:,} steps of {training.batch_size:,} images"
    steps = ", ".join(f"{step:,}" for step, _ in trials[0].evaluations)
    return f"{part.name} / {label}", settings or "the sweep's defaults", seeds, trained, steps
