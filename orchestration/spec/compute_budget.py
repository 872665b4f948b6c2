"""Equal compute: a budget of training FLOPs from which each row's steps follow (numerics 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Gt, Interval, Len

from dfm_core.config import ExperimentConfig
from dfm_core.config.experiment import expert_config
from orchestration.tasks.training_chain import flops_per_step

MOST_STEPS = 10**9


@dataclass(frozen=True)
class ComputeConfig:
    """The sweep's `compute:`."""

    budget: Annotated[float, Gt(0.0)] | str | None = None
    """Training FLOPs of every row, or the label of the row whose `training.steps` set them; the steps of all other
    rows, and of a cascade's networks, follow. Not given: every row keeps its own steps."""
    measure_at: Annotated[tuple[Annotated[float, Interval(gt=0.0, le=1.0)], ...], Len(0, 100)] = ()
    """Shares of the budget after which rows are measured; experts and cascades only at the end. Empty: at the end, or
    as `evaluation.at_steps` says."""
    allow_unequal: bool = False
    """Rows of one part may differ by more than 1%; their table then says so."""


@dataclass(frozen=True)
class Budget:
    """The training FLOPs that every row of a sweep uses up."""

    flops: float
    set_by: str | None
    """Label of the row whose own steps set them."""
    measure_at: tuple[float, ...] = ()

    def problems(self, label: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return (key, message) for settings that a row must not have, since they follow from the budget."""
        problems = []
        if label != self.set_by and "training.steps" in settings:
            problems.append(("training.steps", "steps follow from compute.budget; leave them out"))
        if self.measure_at and settings.get("evaluation.at_steps"):
            problems.append(("evaluation.at_steps", "compute.measure_at says when rows are measured; leave them out"))
        return problems

    def step_problems(self, config: ExperimentConfig) -> list[tuple[str, str]]:
        """Return (key, message) if the budget gives a training of an applied config no step, or too many."""
        steps = config.experts.steps or (config.training.steps,)
        if min(steps) < 1:
            return [("compute.budget", f"{self.flops:.4g} FLOPs are less than a step of every training")]
        if max(steps) > MOST_STEPS:
            return [("compute.budget", f"{self.flops:.4g} FLOPs are {max(steps):.4g} steps, more than {MOST_STEPS:,}")]
        return []

    def applied(self, config: ExperimentConfig) -> ExperimentConfig:
        """Return the config with whole steps that use up the budget most nearly; explicit `experts.steps` stay."""
        experts = config.experts
        if experts.steps:
            return config
        if experts.compute_shares:
            networks = [expert_config(config, stage) for stage in range(config.num_stages)]
            steps = tuple(
                _steps(share * self.flops, own) for share, own in zip(experts.compute_shares, networks, strict=True)
            )
            return replace(config, experts=replace(experts, steps=steps, compute_shares=()))
        count = _steps(self.flops, config)
        own = replace(config, training=replace(config.training, steps=count))
        if not self.measure_at:
            return own
        at_steps = tuple(sorted({max(1, round(share * count)) for share in self.measure_at}))  # the last share is 1
        return replace(own, evaluation=replace(config.evaluation, at_steps=at_steps))


def _steps(flops: float, config: ExperimentConfig) -> int:
    return round(flops / flops_per_step(config))
