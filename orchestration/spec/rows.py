"""The rows of a sweep, from `rows:`, `grid:` or a search's proposals, each resolved into one config a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dfm_core.config import ExperimentConfig
from dfm_core.config.rules import broken_rules
from orchestration.common.errors import Problem
from orchestration.config.published_table import PublishedPart
from orchestration.data.describe import DatasetInspector
from orchestration.parsing.dotted_keys import set_dotted
from orchestration.parsing.validation import validate
from orchestration.spec.backbones import BackboneInspector
from orchestration.spec.compose import ComposedFile
from orchestration.spec.compute_budget import Budget
from orchestration.spec.declared_parts import DeclaredPart, DeclaredRow

DESCRIBED_IS_DERIVED = "is found when a sweep is read, never given"
CHANGES_ARE_DECIDED = "are decided by a search with trial_scheduler: {kind: pbt}, never given"


@dataclass(frozen=True)
class RowSpec:
    """One row of a table: its settings, resolved once per seed."""

    label: str
    settings: Mapping[str, Any]
    """Deviations from the sweep's shared sections, by dotted key."""
    configs: tuple[ExperimentConfig, ...]
    """One per seed."""
    given_short: str = ""
    """Label in few letters, for tables, figures and MLflow; "": the label itself."""
    left: tuple[ExperimentConfig, ...] = ()
    """Trainings that a population's member was on before it took over others: planned with it, in no table."""

    @property
    def short(self) -> str:
        """Label in few letters."""
        return self.given_short or self.label


@dataclass(frozen=True)
class PartSpec:
    """One part of a table."""

    name: str
    title: str
    rows: tuple[RowSpec, ...]
    published: PublishedPart | None = None
    """Published values that its rows stand beside; None: those of the part's own name."""


@dataclass(frozen=True)
class SweepContext:
    """Everything that the rows of a sweep share."""

    composed: ComposedFile
    sections: Mapping[str, Any]
    """The experiment's sections."""
    is_sound: bool
    """Nothing in `sections` is wrong, so that rules which span fields can be trusted."""
    seeds: tuple[int, ...]
    inspector: DatasetInspector = field(default_factory=lambda: DatasetInspector(None))
    backbones: BackboneInspector = field(default_factory=lambda: BackboneInspector(None))

    def place(self, row: DeclaredRow, key: str) -> str:
        """Return the place where a key of a row's config was written."""
        return f"{row.where}.{key}" if row.has(key) else self.composed.locate(key)

    def locate(self, key: str) -> str:
        """Return the place where a key of the sweep was written."""
        return self.composed.locate(key)

    def resolve(self, row: DeclaredRow) -> tuple[ExperimentConfig | None, list[Problem]]:
        """Return `row_config`, for the trainings that make backbones."""
        return row_config(self, row)


def row_config(context: SweepContext, row: DeclaredRow) -> tuple[ExperimentConfig | None, list[Problem]]:
    """Return a row's config without seed and budget, or the mistakes in its values."""
    sections: dict[str, Any] = dict(context.sections)
    for dotted, value in row.settings.items():
        set_dotted(sections, dotted, value)
    if "seed" in sections:
        return None, [Problem(f"{row.where}.seed", "seeds are given once for the sweep, as `seeds: [0, 1, ...]`")]
    data = sections.get("data")
    if isinstance(data, Mapping) and "described" in data:
        return None, [Problem(context.place(row, "data.described"), DESCRIBED_IS_DERIVED)]
    model = sections.get("model")
    if isinstance(model, Mapping) and "described" in model:
        return None, [Problem(context.place(row, "model.described"), DESCRIBED_IS_DERIVED)]
    training = sections.get("training")
    if isinstance(training, Mapping) and "changes" in training:
        return None, [Problem(context.place(row, "training.changes"), CHANGES_ARE_DECIDED)]
    config, mistakes = validate(ExperimentConfig, sections, lambda key: context.place(row, key))
    if config is None:
        return None, list(mistakes)
    described, problems = context.inspector.describe(config.data)
    if problems:
        won = _won_over(context, row, config.data.dataset)
        told = []
        for key, message in problems:
            why = won if key.startswith("data.") else ""  # files are the same for all
            told.append(Problem(context.place(row, key), f"{message}{why}", f"row {row.label!r}" if why else ""))
        return None, told
    config = replace(config, data=described)
    model, unusable = context.backbones.describe(context, config, context.place(row, "model.start"))
    return (None, unusable) if unusable else (replace(config, model=model), [])


def _won_over(context: SweepContext, row: DeclaredRow, dataset: str) -> str:
    """Return what a row's own dataset wins over: whoever gives another for all rows may take it for theirs."""
    data = context.sections.get("data")
    shared = data.get("dataset") if isinstance(data, Mapping) else None
    if shared in (None, dataset) or not row.has("data.dataset"):
        return ""
    place = context.composed.locate("data.dataset").split(": ")[0]
    return f"; it names data.dataset {dataset!r} itself, or its part does, which wins over {shared!r} ({place})"


def resolve_part(context: SweepContext, part: DeclaredPart, budget: Budget | None) -> tuple[PartSpec, list[Problem]]:
    """Return the part with its sound rows, and the mistakes in the others."""
    problems, rows = [], []
    for declared in part.rows:
        row, row_problems = resolve_row(context, declared, budget)
        problems.extend(row_problems)
        rows.extend([row] if row else [])
    return PartSpec(part.name, part.title, tuple(rows), part.published), problems


def resolve_row(context: SweepContext, row: DeclaredRow, budget: Budget | None) -> tuple[RowSpec | None, list[Problem]]:
    """Return a row's configs, one per seed, or the mistakes in it."""
    config, problems = row_config(context, row)
    if config is None or not context.is_sound:
        return None, problems
    # The steps that a budget gives are held to the rules, not those that it replaces.
    broken = [rule for rule in broken_rules(config) if budget is None or rule[0] != "evaluation.at_steps"]
    is_trained = config.training.steps > 0  # a pretrained network measured as it is takes no part in the budget
    if budget is not None and is_trained and not broken:
        broken = budget.problems(row.label, row.settings)
        config = budget.applied(config)
        broken.extend([*budget.step_problems(config), *broken_rules(config)])
    elif config.experts.compute_shares and not config.experts.steps and not context.composed.locates("compute.budget"):
        broken.append(("experts.compute_shares", "are shares of the sweep's compute.budget, which is not given"))
    if config.paradigm == "cascaded" and 0.0 in config.training.stage_probabilities:
        message = "one network of a cascade cannot be sampled without the other's snapshot: leave them out"
        broken.append(("training.stage_probabilities", f"{message}, and give experts.steps"))
    if broken:
        return None, [Problem(context.place(row, key), message, f"row {row.label!r}") for key, message in broken]
    return RowSpec(
        row.label, dict(row.settings), tuple(replace(config, seed=seed) for seed in context.seeds), row.short
    ), []
