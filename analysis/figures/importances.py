"""Importance of each key of a search for an objective, by Optuna's fANOVA. Only this module here imports optuna."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

_SEED = 0
_NUM_PERMUTATIONS, _FEW_TREES = 5, 8
_MOST_TRIALS = 400  # beyond, the forest takes seconds and shows no more
FEWEST_TRIALS = 20
"""Fewest trials: of fewer, the largest share of pure noise is 40% or more in the median."""


def compute_importances(
    settings: Sequence[Mapping[str, Any]], values: Sequence[float], num_trees: int = 64
) -> dict[str, float]:
    """Compute the share of an objective's variance that each key explains alone or with others, the largest first.

    Keys that some trial lacks are left out, as are those that never vary. fANOVA (Hutter et al., 2014) fits a random
    forest, here with a fixed seed, and averages over the range that was tried; a key that a sampler moved little looks
    unimportant. Above 400 trials an even choice is read.

    Args: settings: values by key, one mapping per trial, [N]. values: finite, [N].
    Returns: shares that sum to 1; empty for fewer than 20 trials, for a single value, and where nothing varies.
    """
    size = -(-len(values) // _MOST_TRIALS) or 1
    settings, values = settings[::size], values[::size]
    shared = [key for key in settings[0] if all(key in one for one in settings)] if settings else []
    columns = {key: [_plain(one[key]) for one in settings] for key in shared}
    spaces = {key: _distribution(column) for key, column in columns.items() if len(set(column)) > 1}
    if len(values) < FEWEST_TRIALS or len(set(values)) < 2 or not spaces:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials(
        optuna.trial.create_trial(
            params={key: columns[key][index] for key in spaces}, distributions=spaces, value=float(value)
        )
        for index, value in enumerate(values)
    )
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=num_trees, seed=_SEED))
    return {key: float(share) for key, share in sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))}


def noise_shares(settings: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Return the largest share that each key reaches when the values are permuted, five times: what noise gives.

    Forests of eight trees are quick and find a little more in noise.

    Args: settings, values: see `compute_importances`. Returns: by key; a share below it says nothing.
    """
    generator = random.Random(_SEED)  # noqa: S311  no secret
    largest: dict[str, float] = {}
    for _ in range(_NUM_PERMUTATIONS):
        permuted = generator.sample(list(values), len(values))
        for key, share in compute_importances(settings, permuted, num_trees=_FEW_TREES).items():
            largest[key] = max(largest.get(key, 0.0), share)
    return largest


def _plain(value: Any) -> Any:
    """Return numbers unchanged, all else as JSON text."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number else json.dumps(value)


def _distribution(column: Sequence[Any]) -> BaseDistribution:
    if any(isinstance(value, str) for value in column):
        return CategoricalDistribution(sorted(set(map(str, column))))
    if all(isinstance(value, int) for value in column):
        return IntDistribution(min(column), max(column))
    return FloatDistribution(min(column), max(column))
