"""The rows of a sweep held to equal training compute: the budget they share, and parts whose rows differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dfm_core.config_rules import broken_rules
from orchestration.budgets import TOLERANCE, Budget, ComputeConfig, compute_spread
from orchestration.chains import spent_flops
from orchestration.composition import Source
from orchestration.problems import Problem, nearest
from orchestration.rows import Common, DeclaredPart, PartSpec, row_config

_ROUNDING = 1e-9


def find_budget(
    compute: ComputeConfig, common: Common, declared: Sequence[DeclaredPart], path: Path
) -> tuple[Budget | None, list[Problem]]:
    """The training FLOPs that all rows share; none if the row that sets them is wrong, which that row reports."""
    source, given = common.source, compute.budget
    if given is None:
        message = "are shares of compute.budget, which is not given"
        return None, [Problem(source.locate("compute.measure_at"), message)] if compute.measure_at else []
    problems = []
    if compute.measure_at and source.data.get("evaluation", {}).get("at_steps"):
        message = "says when rows are measured, as evaluation.at_steps does: give one of them"
        problems.append(Problem(source.locate("compute.measure_at"), message))
    if not isinstance(given, str):
        # Steps of a base file, or of the file under a budget from the command line, are simply overruled.
        if _strength(source, "training.steps", path) >= _strength(source, "compute.budget", path):
            message = "steps follow from compute.budget: leave them out, or give the label of a row as the budget"
            problems.append(Problem(source.locate("training.steps"), message))
        return Budget(given, None, compute.measure_at), problems
    named = [row for part in declared for row in part.rows if row[0] == given]
    if not named:
        labels = [row[0] for part in declared for row in part.rows]
        message = f"{given!r} is neither a number of FLOPs nor the label of a row{nearest(given, labels)}"
        return None, [*problems, Problem(source.locate("compute.budget"), message)]
    config, _ = row_config(common, named[0])
    if config is None or not common.whole or broken_rules(config):
        return None, problems
    return Budget(spent_flops(config), given, compute.measure_at), problems


def _strength(source: Source, key: str, path: Path) -> int:
    """How close to the user a key was written: 0 nowhere or in a base, 1 in the sweep's file, 2 on the command line."""
    origin = source.origin.get(key, "")
    return 2 if origin.startswith("command line") else int(origin.startswith(f"{path}: "))


def unequal_compute(parts: Sequence[PartSpec], source: Source, budget: Budget | None) -> Iterator[Problem]:
    for part in parts:
        rows = {row.label: row.configs[0] for row in part.rows}
        if len(rows) < 2:
            continue
        spread = compute_spread(rows)
        # Rows of a budget of few steps cannot come nearer to it than whole steps do.
        allowed = TOLERANCE if budget is None else max(TOLERANCE, spread.one_step)
        if spread.share > allowed + _ROUNDING:
            message = f"its rows differ by {spread.share:.1%} in training compute ({spread.words})"
            mend = "give compute.budget, from which their steps follow, or compute.allow_unequal: true"
            yield Problem(f"{source.locate('parts')}.{part.name}", f"{message}; {mend}")
