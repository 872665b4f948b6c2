"""Proposals of a search as rows: held to the same rules as every row, and to the limits that need no computing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfm_core.compute import model_cost, num_evaluations, sampling_flops
from dfm_core.config import NUMERICS_VERSION, ExperimentConfig, as_plain
from dfm_core.config.rules import broken_rules
from dfm_core.data.cards import card_of, find_card
from orchestration.common.digests import digest_of
from orchestration.common.errors import Problem
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.identity import training_identity
from orchestration.spec.compute_budget import Budget
from orchestration.spec.equal_compute import TOLERANCE, compute_spread
from orchestration.spec.pruning import rung_steps
from orchestration.spec.rows import DeclaredPart, DeclaredRow, RowSpec, SweepContext, resolve_row, row_config
from orchestration.spec.search_section import COSTS, SearchSpec
from orchestration.spec.search_trial import SearchTrial, best_first


@dataclass(frozen=True)
class PartSearch:
    """The search of a part, and all that makes a row of what it proposes."""

    part: str
    spec: SearchSpec
    common: SweepContext
    settings: Mapping[str, Any]
    """Of all rows of the part."""
    where: str
    runtime: RuntimeConfig
    base: ExperimentConfig
    """What its trials deviate from."""
    budget: Budget | None = None
    allow_unequal: bool = False

    @property
    def trains(self) -> bool:
        """Whether trials can differ in their training, so that it is theirs."""
        return any(parameter.key.split(".")[0] != "sampling" for parameter in self.spec.parameters)

    @property
    def about(self) -> dict[str, Any]:
        """What makes it this search and no other, as plain data; how many trials it has is no part of it."""
        config, files = self.spec.config, (self.runtime.networks, self.runtime.references)
        return {
            "space": [str(parameter) for parameter in self.spec.parameters],
            "exact_space": as_plain(self.spec.parameters),
            "objectives": dict(config.objectives),
            "constraints": {name: as_plain(limit) for name, limit in config.constraints.items()},
            "sampler": config.sampler,
            "sampler_seed": config.seed,
            "population": config.population if config.sampler == "nsga2" else None,
            "pruner": as_plain(config.pruner),
            "inner": None if self.spec.inner is None else self._inner_about(self.spec.inner),
            "base": as_plain(self.base),
            "data": training_identity(self.base.data),
            "files": [
                {key: [[r, f.sha256] for r, f in sorted(fs.items())] for key, fs in kind.items()} for kind in files
            ],
            "budget_flops": None if self.budget is None else self.budget.flops,
            "seeds": list(self.common.seeds),
            "numerics": NUMERICS_VERSION,
        }

    @staticmethod
    def _inner_about(inner: SearchSpec) -> dict[str, Any]:
        space = as_plain(inner.parameters)
        return {"space": space, "sampler": inner.config.sampler, "num_trials": inner.config.num_trials}

    @property
    def digest(self) -> str:
        return digest_of(self.about)

    def row(self, trial: SearchTrial) -> tuple[RowSpec | None, list[Problem]]:
        """The row of a trial, trained as far as it is wanted by now, or what is wrong with it."""
        declared = (trial.label, {**self.settings, **trial.settings}, f"{self.where}.space")
        row, problems = resolve_row(self.common, declared, self.budget)
        if row is None:
            return None, problems
        found = [Problem(declared[2], message, trial.label) for message in self._broken(row.configs[0])]
        if found:
            return None, found
        return replace(row, configs=tuple(self._until(config, trial) for config in row.configs)), []

    def _broken(self, config: ExperimentConfig) -> Iterator[str]:
        costs = sampling_costs(config)
        for name, limit in self.spec.config.constraints.items():
            if name in costs and limit.excess(costs[name]) > 0:
                yield f"{name} is {costs[name]:,}, not {limit}"
        batch = config.training.batch_size
        if not self.runtime.workers.divide(batch):
            yield f"training.batch_size {batch} cannot be divided over workers and micro-batches"
        rungs = rung_steps(self.spec.config.pruner, config)
        if rungs and config.experts.steps:
            yield "experts and cascades are measured only at the end, so that they cannot be pruned"
        elif rungs and rungs[-1] >= config.training.steps:
            last = f"{self.spec.config.pruner.rungs[-1]:g} {self.spec.config.pruner.rungs_in}"
            yield f"pruner.rungs: {last} are not before the last of {config.training.steps} training steps"
        elif len(set(rungs)) < len(rungs):
            yield f"pruner.rungs: two of them are reached at the same step ({', '.join(map(str, rungs))})"
        if not self.allow_unequal and not broken_rules(self._reference):
            spread = compute_spread({"the search's base": self._reference, "the trial": config})
            if spread.share > max(TOLERANCE, 0 if self.budget is None else spread.one_step):
                mend = "give compute.budget, from which steps follow, or compute.allow_unequal: true"
                yield f"it differs by {spread.share:.1%} from the base in training compute; {mend}"

    @property
    def _reference(self) -> ExperimentConfig:
        """Whose training compute trials are held to."""
        return self.base if self.budget is None else self.budget.applied(self.base)

    def _until(self, config: ExperimentConfig, trial: SearchTrial) -> ExperimentConfig:
        """The config with its training cut at the rung that the trial is to reach, or reached last."""
        rungs = rung_steps(self.spec.config.pruner, config)
        if not rungs:
            return config
        rung = self.next_rung(trial) if trial.state != "pruned" else max(trial.at_rungs)
        if rung is None or trial.state == "complete":
            at_steps = tuple(sorted({*rungs, *config.evaluation_steps}))
            return replace(config, evaluation=replace(config.evaluation, at_steps=at_steps))
        training = replace(config.training, steps=rungs[rung])
        at_steps = rungs[: rung + 1]
        return replace(config, training=training, evaluation=replace(config.evaluation, at_steps=at_steps))

    def ranked(self, trials: list[SearchTrial]) -> list[SearchTrial]:
        """Those that have a row, the best first."""
        return best_first(trials, self.spec.directions)

    def next_rung(self, trial: SearchTrial) -> int | None:
        """The number of the rung that a trial is to reach; None: its end."""
        return next((rung for rung in range(len(self.spec.config.pruner.rungs)) if rung not in trial.at_rungs), None)


def sampling_costs(config: ExperimentConfig) -> dict[str, int]:
    """Of `COSTS`, each for one evaluation."""
    cost = model_cost(config, card_of(config.data).shape)
    return dict(
        zip(COSTS, (sampling_flops(config, cost, config.evaluation.num_samples), num_evaluations(config)), strict=True)
    )


def part_searches(
    common: SweepContext,
    declared: Sequence[DeclaredPart],
    budget: Budget | None,
    runtime: RuntimeConfig | None,
    *,
    allow_unequal: bool,
) -> tuple[list[PartSearch], list[Problem]]:
    """The searches of a sweep, and what is wrong with the values of their spaces, taken one by one."""
    found: list[PartSearch] = []
    problems: list[Problem] = []
    for part in declared:
        if part.search is None:
            continue
        where = f"{part.where}.search"
        for parameter in part.search.all_parameters:
            problems.extend(_end_problems(common, part, budget, parameter.key, parameter.ends))
        base, _ = row_config(common, ("", dict(part.settings), where))
        if base is not None and find_card(base.data) is not None:
            problems.extend(_unmeasured(part.search, base, where))
            if runtime is not None:
                own = (part.name, part.search, common, part.settings, where, runtime, base, budget, allow_unequal)
                found.append(PartSearch(*own))
                same = next((other for other in found[:-1] if other.digest == found[-1].digest), None)
                if same is not None:
                    problems.append(
                        Problem(where, f"is the same search as that of {same.part}, and would share its trials")
                    )
    return found, problems


def _end_problems(
    common: SweepContext, part: DeclaredPart, budget: Budget | None, key: str, ends: Sequence[Any]
) -> Iterator[Problem]:
    """What is wrong with a key's values whatever the others are."""
    for value in ends:
        row: DeclaredRow = ("", {**part.settings, key: value}, f"{part.where}.search.space")
        yield from row_config(common, row)[1]
    if budget is not None:
        for where, message in budget.problems("", {key: ends}):
            yield Problem(f"{part.where}.search.space.{where}", message)


def _unmeasured(search: SearchSpec, base: ExperimentConfig, where: str) -> Iterator[Problem]:
    """Objectives and limits that no evaluation gives."""
    for section in ("objectives", "constraints"):
        for name in getattr(search.config, section):
            if name not in COSTS and name not in base.evaluation.metrics:
                yield Problem(f"{where}.{section}.{name}", "is not measured: it is not in evaluation.metrics")
