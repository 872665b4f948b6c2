"""Proposals of a search as rows, held to the rules of every row and to the limits that need no computing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from dfm_core.compute import model_cost, num_evaluations, sampling_flops
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of, find_card
from dfm_core.config.experiment import NUMERICS_VERSION
from dfm_core.config.plain import as_plain
from dfm_core.config.rules import broken_rules
from dfm_core.config.training import TrainingChange
from orchestration.common.digests import digest_of, without_neutral
from orchestration.common.errors import Problem
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.identity import training_identity
from orchestration.spec.batches import batch_problems
from orchestration.spec.compute_budget import Budget
from orchestration.spec.declared_parts import DeclaredPart, DeclaredRow
from orchestration.spec.equal_compute import TOLERANCE, compute_spread
from orchestration.spec.rows import RowSpec, SweepContext, resolve_row, row_config
from orchestration.spec.search.pruning import rung_steps
from orchestration.spec.search.section import COSTS, ConfirmConfig, SearchSpec, confirmed_name
from orchestration.spec.search.trial import SearchTrial, best_first


@dataclass(frozen=True)
class PartSearch:
    """The search of a part, with all that turns its proposals into rows."""

    part: str
    spec: SearchSpec
    context: SweepContext
    settings: Mapping[str, Any]
    """Settings of all rows of the part."""
    where: str
    runtime: RuntimeConfig
    base: ExperimentConfig
    """The config from which its trials deviate."""
    budget: Budget | None = None
    allow_unequal: bool = False

    @property
    def trains(self) -> bool:
        """Return whether trials can differ in their training, so that each has its own."""
        return any(parameter.key.split(".")[0] != "sampling" for parameter in self.spec.parameters)

    @property
    def about(self) -> dict[str, Any]:
        """Identity of the search as plain data; the number of its trials is no part of it."""
        config, files = self.spec.config, (self.runtime.networks, self.runtime.references)
        return {
            "space": [str(parameter) for parameter in self.spec.parameters],
            "exact_space": as_plain(self.spec.parameters),
            "objectives": dict(config.objectives),
            "constraints": {name: as_plain(limit) for name, limit in config.constraints.items()},
            "sampler": config.sampler,
            "sampler_seed": config.seed,
            "population": config.population if config.sampler == "nsga2" else None,
            "pruner": without_neutral("search.pruner", as_plain(config.pruner)),
            **self._tune_about,
            "inner": None if self.spec.inner is None else self._inner_about(self.spec.inner),
            "base": without_neutral("", as_plain(self.base)),
            "data": training_identity(self.base.data),
            "files": [
                {key: [[r, f.sha256] for r, f in sorted(fs.items())] for key, fs in kind.items()} for kind in files
            ],
            "budget_flops": None if self.budget is None else self.budget.flops,
            "seeds": list(self.context.seeds),
            "numerics": NUMERICS_VERSION,
        }

    @property
    def _tune_about(self) -> dict[str, Any]:
        """Settings that earlier releases did not have, where they are given: the digests of then stay."""
        config, given = self.spec.config, dict[str, Any]()
        if config.trial_scheduler.kind != "none":
            scheduler = as_plain(config.trial_scheduler)
            given["trial_scheduler"] = without_neutral("search.trial_scheduler", scheduler)
        if config.searcher is not None:
            given["searcher"] = config.searcher
        return given

    @staticmethod
    def _inner_about(inner: SearchSpec) -> dict[str, Any]:
        space = as_plain(inner.parameters)
        return {"space": space, "sampler": inner.config.sampler, "num_trials": inner.config.num_trials}

    @property
    def digest(self) -> str:
        return digest_of(self.about)

    def row(self, trial: SearchTrial) -> tuple[RowSpec | None, list[Problem]]:
        """Return the row of a trial, trained as far as is wanted by now, or the mistakes in it."""
        first = trial.stretches(len(trial.at_rungs))[0]
        declared = DeclaredRow(trial.label, {**self.settings, **first}, f"{self.where}.space")
        row, problems = resolve_row(self.context, declared, self.budget)
        if row is None:
            return None, problems
        if broken := [Problem(where, message, trial.label) for where, message in self._broken(row.configs[0])]:
            return None, broken
        configs = tuple(self._until(config, trial) for config in row.configs)
        return replace(row, configs=configs, left=tuple(self._left(trial))), []

    def _left(self, trial: SearchTrial) -> Iterator[ExperimentConfig]:
        """Yield the trainings that a population's member was on, each to the rung at which it took over another."""
        for rung in sorted(trial.exploits):
            row, _ = self.row(trial.at(rung))
            yield from row.configs if row is not None else ()

    def _broken(self, config: ExperimentConfig) -> Iterator[tuple[str, str]]:
        """Yield place and message of each limit that a trial's config breaks."""
        costs = sampling_costs(config)
        for name, limit in self.spec.config.constraints.items():
            if name in costs and limit.excess(costs[name]) > 0:
                yield f"{self.where}.constraints.{name}", f"{name} is {costs[name]:,}, not {limit}"
        for problem in batch_problems(self.context.composed, self.runtime.workers, [config.training.batch_size]):
            yield problem.where, problem.message
        yield from self._broken_rungs(config)
        if not self.allow_unequal and not broken_rules(self._reference):
            spread = compute_spread({"the search's base": self._reference, "the trial": config})
            if spread.share > max(TOLERANCE, 0 if self.budget is None else spread.one_step):
                remedy = "give compute.budget, from which steps follow, or compute.allow_unequal: true"
                message = f"it differs by {spread.share:.1%} from the base in training compute; {remedy}"
                yield f"{self.where}.space", message

    def _broken_rungs(self, config: ExperimentConfig) -> Iterator[tuple[str, str]]:
        ladder = self.spec.ladder
        is_pruner = ladder is self.spec.config.pruner
        where = f"{self.where}.{'pruner' if is_pruner else 'trial_scheduler'}"
        rungs_at = f"{where}.rungs" if is_pruner else where
        rungs, last = rung_steps(ladder, config), config.training.steps
        if rungs and config.experts.steps:
            yield where, "experts and cascades are measured only at the end, so that they cannot be pruned"
        elif beyond := [rung for rung, step in zip(ladder.rungs, rungs, strict=True) if step >= last]:
            shown = ", ".join(f"{rung:g}" for rung in beyond) + f" {ladder.rungs_in}"
            message = f"{shown} {'is' if len(beyond) == 1 else 'are'} not before the end, training.steps = {last}"
            yield rungs_at, f"{message}: such a rung is never reached; give rungs before it"
        elif len(set(rungs)) < len(rungs):
            yield rungs_at, f"two rungs are reached at the same step ({', '.join(map(str, rungs))})"

    @property
    def _reference(self) -> ExperimentConfig:
        """The config to whose training compute trials are held."""
        return self.base if self.budget is None else self.budget.applied(self.base)

    def _until(self, config: ExperimentConfig, trial: SearchTrial) -> ExperimentConfig:
        """Return the config with its training cut at the rung that the trial is to reach, or reached last."""
        rungs = rung_steps(self.spec.ladder, config)
        if not rungs:
            return config
        if self.spec.config.trial_scheduler.kind == "pbt":
            changes = _changes(trial, rungs)
            config = replace(config, training=replace(config.training, changes=changes))
        rung = self.next_rung(trial) if trial.state != "pruned" else max(trial.at_rungs, default=0)
        if rung is None or trial.state == "complete":
            at_steps = tuple(sorted({*rungs, *config.evaluation_steps}))
            return replace(config, evaluation=replace(config.evaluation, at_steps=at_steps))
        ends = (TrainingChange(rungs[rung]),) if self.spec.config.trial_scheduler.kind == "pbt" else ()
        training = replace(config.training, steps=rungs[rung], changes=(*config.training.changes, *ends))
        at_steps = rungs[: rung + 1]
        return replace(config, training=training, evaluation=replace(config.evaluation, at_steps=at_steps))

    def ranked(self, trials: list[SearchTrial]) -> list[SearchTrial]:
        """Return the trials that have a row, the best first."""
        return best_first(trials, self.spec.directions)

    def next_rung(self, trial: SearchTrial) -> int | None:
        """Return the number of the rung that a trial is to reach; None: its end."""
        return next((rung for rung in range(len(self.spec.ladder.rungs)) if rung not in trial.at_rungs), None)


def _changes(trial: SearchTrial, rungs: Sequence[int]) -> tuple[TrainingChange, ...]:
    """Return the changes of a member's training at the rungs that it has passed; a rung without one is there too: its
    checkpoint is what others may go on from."""
    stretches = trial.stretches(len(trial.at_rungs))
    return tuple(
        TrainingChange(step, tuple((key.rpartition(".")[2], float(value)) for key, value in after.items()))
        if after != before
        else TrainingChange(step)
        for step, (before, after) in zip(rungs, pairwise(stretches), strict=False)
    )


def sampling_costs(config: ExperimentConfig) -> dict[str, int]:
    """Return all `COSTS` of one evaluation."""
    cost = model_cost(config, card_of(config.data).shape)
    return dict(
        zip(COSTS, (sampling_flops(config, cost, config.evaluation.num_samples), num_evaluations(config)), strict=True)
    )


def part_searches(
    context: SweepContext,
    declared: Sequence[DeclaredPart],
    budget: Budget | None,
    runtime: RuntimeConfig | None,
    *,
    allow_unequal: bool,
) -> tuple[list[PartSearch], list[Problem]]:
    """Return the searches of a sweep, and the mistakes in the values of their spaces, taken one by one."""
    searches: list[PartSearch] = []
    problems: list[Problem] = []
    for part in declared:
        if part.search is None:
            continue
        where = f"{part.where}.search"
        for parameter in part.search.all_parameters:
            problems.extend(_end_problems(context, part, budget, parameter.key, parameter.ends))
        base, _ = row_config(context, DeclaredRow("", dict(part.settings), where))
        if context.is_sound and base is not None and find_card(base.data) is not None:
            problems.extend(_unmeasured(part.search, base, where))
            confirm = part.search.config.confirm
            if confirm is not None:
                problems.extend(
                    _confirm_problems(part.name, confirm, context.seeds, [one.name for one in declared], where)
                )
            if runtime is not None:
                search = PartSearch(
                    part.name, part.search, context, part.settings, where, runtime, base, budget, allow_unequal
                )
                same = next((other.part for other in searches if other.digest == search.digest), None)
                if same is not None:
                    problems.append(Problem(where, f"is the same search as that of {same}, and would share its trials"))
                searches.append(search)
    return searches, problems


def _confirm_problems(
    part: str, confirm: ConfirmConfig, seeds: Sequence[int], names: Sequence[str], where: str
) -> Iterator[Problem]:
    """Yield the mistakes in a search's `confirm:`. Args: seeds: the sweep's. names: of its parts."""
    if used := sorted({*confirm.seeds} & {*seeds}):
        message = f"{used[0]} is one of the sweep's seeds, on which the trials were chosen: give others"
        yield Problem(f"{where}.confirm.seeds", message)
    if len({*confirm.seeds}) < len(confirm.seeds):
        yield Problem(f"{where}.confirm.seeds", f"{list(confirm.seeds)} has a seed twice, which would count as two")
    if (name := confirmed_name(part)) in names:
        yield Problem(f"parts.{name}", f"the winners of {part} on new seeds have this name: choose another")


def _end_problems(
    context: SweepContext, part: DeclaredPart, budget: Budget | None, key: str, ends: Sequence[Any]
) -> Iterator[Problem]:
    """Yield the mistakes in a key's values that do not depend on other keys."""
    for value in ends:
        row = DeclaredRow("", {**part.settings, key: value}, f"{part.where}.search.space")
        yield from row_config(context, row)[1]
    if budget is not None:
        for where, message in budget.problems("", {key: ends}):
            yield Problem(f"{part.where}.search.space.{where}", message)


def _unmeasured(search: SearchSpec, base: ExperimentConfig, where: str) -> Iterator[Problem]:
    """Yield objectives and limits that no evaluation measures."""
    for section in ("objectives", "constraints"):
        for name in getattr(search.config, section):
            if name not in COSTS and name not in base.evaluation.metrics:
                yield Problem(f"{where}.{section}.{name}", "is not measured: it is not in evaluation.metrics")
