"""Equal training compute of a sweep's rows: the budget that they share, and parts whose rows differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.contract.limits import EQUAL_COMPUTE_PERCENT
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import find_card
from dfm_core.config.rules import broken_rules
from orchestration.common.errors import Problem, nearest
from orchestration.spec.compose import ComposedFile
from orchestration.spec.compute_budget import Budget, ComputeConfig
from orchestration.spec.declared_parts import DeclaredPart
from orchestration.spec.rows import PartSpec, SweepContext, row_config
from orchestration.tasks.training_chain import flops_per_step, spent_flops, trained_configs, whole_flops

TOLERANCE = EQUAL_COMPUTE_PERCENT / 100
"""Rows of one part may differ by this share in training compute without the sweep saying so."""
_ROUNDING = 1e-9
_MOST_ROUNDING = 0.1


def find_budget(
    compute: ComputeConfig, context: SweepContext, declared: Sequence[DeclaredPart]
) -> tuple[Budget | None, list[Problem]]:
    """Return the training FLOPs that all rows share; none if the row that sets them is wrong, which it reports."""
    composed, given = context.composed, compute.budget
    if given is None:
        message = "are shares of compute.budget, which is not given"
        return None, [Problem(composed.locate("compute.measure_at"), message)] if compute.measure_at else []
    problems = []
    if compute.measure_at and context.sections.get("evaluation", {}).get("at_steps"):
        message = "says when rows are measured, as evaluation.at_steps does: give one of them"
        problems.append(Problem(composed.locate("compute.measure_at"), message))
    if compute.measure_at and max(compute.measure_at) != 1.0:
        message = f"{list(compute.measure_at)}: the last must be 1.0, where rows are compared"
        problems.append(Problem(composed.locate("compute.measure_at"), message))
    if not isinstance(given, str):
        # Steps of a base file, or of the file under a budget from the command line, are simply overruled.
        if composed.layer_of("training.steps") >= composed.layer_of("compute.budget"):
            message = "steps follow from compute.budget: leave them out, or give the label of a row as the budget"
            problems.append(Problem(composed.locate("training.steps"), message))
        return Budget(given, None, compute.measure_at), problems
    named = [row for part in declared for row in part.rows if row.label == given]
    if not named:
        labels = [row.label for part in declared for row in part.rows]
        message = f"{given!r} is neither a number of FLOPs nor the label of a row{nearest(given, labels)}"
        return None, [*problems, Problem(composed.locate("compute.budget"), message)]
    configs = [config for config, _ in (row_config(context, row) for row in named)]
    sound = [config for config in configs if config is not None and find_card(config.data) is not None]
    if len(sound) < len(configs) or not context.is_sound or any(map(broken_rules, sound)):
        return None, problems
    flops = {whole_flops(config) for config in sound}
    if len(flops) > 1:
        message = f"{len(named)} rows are called {given!r} and differ in training compute; give them other labels"
        problems.append(Problem(composed.locate("compute.budget"), message))
    return Budget(max(flops), given, compute.measure_at), problems


def unequal_compute(parts: Sequence[PartSpec], composed: ComposedFile, budget: Budget | None) -> Iterator[Problem]:
    """Yield a problem for every part whose rows differ by more than they may."""
    for part in parts:
        rows = {row.label: row.configs[0] for row in part.rows if row.configs[0].training.steps}
        if len(rows) < 2:
            continue
        spread = compute_spread(rows)
        # Rows of a budget of few steps cannot come nearer to it than whole steps do.
        allowed = TOLERANCE if budget is None else max(TOLERANCE, min(spread.one_step, _MOST_ROUNDING))
        if spread.share > allowed + _ROUNDING:
            message = f"its rows differ by {spread.share:.1%} in training compute ({spread.words})"
            remedy = "give compute.budget, from which their steps follow, or compute.allow_unequal: true"
            yield Problem(f"{composed.locate('parts')}.{part.name}", f"{message}; {remedy}")


@dataclass(frozen=True)
class Spread:
    """The difference in training compute between the rows of a part."""

    share: float
    """The most over the least, less 1."""
    one_step: float
    """The costliest step of their trainings as a share of the least: the most that rounding to whole steps leaves."""
    words: str
    """The most and the least."""


def compute_spread(rows: Mapping[str, ExperimentConfig]) -> Spread:
    """Compare the training FLOPs of rows. Args: rows: by label."""
    spent = {label: spent_flops(config) for label, config in rows.items()}
    most, least = max(spent, key=lambda label: spent[label]), min(spent, key=lambda label: spent[label])
    step = max(flops_per_step(trained) for config in rows.values() for trained in trained_configs(config))
    words = f"{most!r} {spent[most]:.4g} FLOPs, {least!r} {spent[least]:.4g}"
    return Spread(spent[most] / spent[least] - 1.0, step / spent[least], words)
