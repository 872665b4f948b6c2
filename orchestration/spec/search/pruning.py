"""Rungs of a training in steps, and the rules of `pruner:`, which are our own: they take any rungs.

A trial is trained to a rung, its snapshot there is evaluated, and it goes on from its own checkpoint or is pruned. This
is decided as soon as it has a value, against the trials that reached the rung before it: nobody waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from dfm_core.compute import model_cost, training_flops
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from orchestration.spec.search.section import Direction, Ladder, PrunerConfig, TrialSchedulerConfig


def rung_steps(ladder: Ladder, config: ExperimentConfig) -> tuple[int, ...]:
    """Return the training steps at which a trial reaches each rung."""
    per_step = 1.0
    if ladder.rungs_in == "images":
        per_step = config.training.batch_size
    elif ladder.rungs_in == "flops":
        per_step = training_flops(config, model_cost(config, card_of(config.data).shape), 1)
    return tuple(math.ceil(rung / per_step) for rung in ladder.rungs)


def keep_training(pruner: PrunerConfig, direction: Direction, value: float, others: Sequence[float]) -> bool:
    """Return whether a trial is trained on.

    Args: value: of the objective at a rung. others: values of the trials that were there before.

    `median`, after Golovin et al. (2017): no worse than their median. `asha`, after Li et al. (2020): in the best 1/eta
    of all that are there by now, itself included; but decided at once, not when a later trial makes room.
    """
    if len(others) < pruner.startup:
        return True
    sign = 1.0 if direction == "minimize" else -1.0
    costs = [sign * other for other in others]
    own = sign * value
    if pruner.kind == "median":
        return own <= median(costs)
    num_kept = max(1, (len(costs) + 1) // pruner.eta)
    return sum(cost < own for cost in costs) < num_kept


def bracket_sizes(config: TrialSchedulerConfig) -> list[int]:
    """Return the number of trials of each bracket of HyperBand: the one without halvings first.

    Li et al. (2018), algorithm 1, as Ray Tune rounds and orders the brackets. Together they are a band.
    """
    num = config.num_rungs + 1
    return [math.ceil(num / (halvings + 1) * config.eta**halvings) for halvings in range(num)]
