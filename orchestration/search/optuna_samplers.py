"""The space and the samplers of a search in Optuna's terms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import Trial

from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.space import Parameter


def sampler_of(search: SearchSpec, number: int) -> BaseSampler:
    """Return the sampler for the proposal of a number; its seed depends on the search's and the number alone."""
    config = search.config
    seed = _seed_of(config.seed, number)
    if config.sampler == "tpe":
        conditional = any(parameter.when for parameter in search.parameters)
        return TPESampler(seed=seed, multivariate=True, group=conditional, constant_liar=True)
    if config.sampler == "nsga2":
        return NSGAIISampler(population_size=config.population, seed=seed)
    if config.sampler == "cmaes":
        return CmaEsSampler(seed=seed, independent_sampler=RandomSampler(seed), warn_independent_sampling=False)
    return RandomSampler(seed)  # random; a grid's points are given


def suggest(search: SearchSpec, trial: Trial) -> dict[str, Any]:
    """Draw values for the keys that are read, in the order of the space."""
    settings: dict[str, Any] = {}
    for parameter in search.parameters:
        if parameter.is_read(settings):
            settings[parameter.key] = _suggest_value(trial, parameter)
    return settings


def encode(search: SearchSpec, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as Optuna knows them: choices as JSON."""
    choices = {parameter.key for parameter in search.parameters if parameter.kind == "choice"}
    return {key: json.dumps(value) if key in choices else value for key, value in settings.items()}


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Return the distribution by which Optuna knows a parameter."""
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.choices)
    if parameter.kind == "int":
        return IntDistribution(int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.kind == "log", step=parameter.step)


def _suggest_value(trial: Trial, parameter: Parameter) -> Any:
    key = parameter.key
    if parameter.kind == "choice":
        return json.loads(trial.suggest_categorical(key, parameter.choices))
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.kind == "int":
        return trial.suggest_int(key, int(low), int(high), step=int(step or 1))
    return parameter.on_step(trial.suggest_float(key, low, high, step=step, log=parameter.kind == "log"))


def _seed_of(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"search {seed} {number}".encode()).digest()[:4], "big")
