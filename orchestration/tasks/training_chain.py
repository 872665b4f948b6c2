"""Trainings behind one config: one, or a chain: networks of which each starts from the one before, or the segments of
a training whose settings change on its way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dfm_core.compute import model_cost, training_flops
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.config.experiment import expert_config
from dfm_core.config.training import TrainingChange
from orchestration.common.digests import digest_of
from orchestration.data.backbone_recipe import BackboneRecipes, start_snapshot
from orchestration.storage.layout import SnapshotRef
from orchestration.tasks.training import train_payload


@dataclass(frozen=True)
class ChainedTraining:
    """One training of a chain, with the steps that the config needs of it."""

    digest: str
    config: ExperimentConfig
    initial: SnapshotRef | None
    until_step: int
    snapshot_steps: tuple[int, ...]
    stage: int | None = None
    """The stage of an expert, or of a cascade's network; None: all."""
    continued: SnapshotRef | None = None
    """Training, and its last step, whose state it takes over with changed settings."""

    @property
    def start_step(self) -> int:
        return self.continued[1] if self.continued is not None else 0


def trained_configs(config: ExperimentConfig) -> tuple[ExperimentConfig, ...]:
    """Return the configs of the trainings of a config, in order."""
    return tuple(expert_config(config, stage) for stage in range(len(config.experts.steps))) or (config,)


def training_chain(config: ExperimentConfig) -> tuple[ChainedTraining, ...]:
    """Return the trainings of a config, each after the one it starts from."""
    if config.training.changes:
        return _segments(config)
    if not config.experts.steps:
        initial = start_snapshot(config)
        digest = digest_of(train_payload(config, initial))
        return (ChainedTraining(digest, config, initial, config.training.steps, config.evaluation_steps),)
    chain: list[ChainedTraining] = []
    for stage, (own, steps) in enumerate(zip(trained_configs(config), config.experts.steps, strict=True)):
        initial = None
        if chain and config.experts.initialize == "previous":
            before = chain[-1]
            step = config.experts.initialize_at or before.until_step
            initial = (before.digest, step)
            until = max(before.until_step, step)
            chain[-1] = replace(before, until_step=until, snapshot_steps=(*before.snapshot_steps, step))
        digest = digest_of(train_payload(own, initial))
        chain.append(ChainedTraining(digest, own, initial, steps, (steps,), stage))
    return tuple(chain)


def trainings_before(config: ExperimentConfig, recipes: BackboneRecipes) -> tuple[tuple[str, ChainedTraining], ...]:
    """Return (name, training) of each backbone that has to be trained before a config, the first one first."""
    described = config.model.described
    recipe = recipes.get(described.identity) if described is not None else None
    if recipe is None:
        return ()
    (link,) = training_chain(recipe.config)
    own = replace(link, until_step=recipe.steps, snapshot_steps=(recipe.steps,))
    return (*trainings_before(recipe.config, recipes), (recipe.name, own))


def _segments(config: ExperimentConfig) -> tuple[ChainedTraining, ...]:
    """Return the stretches between the changes of a training's settings; each takes over the state of the one before.

    Their digests are of the settings up to then alone, so that trainings with the same past share it; and of the step
    at which they end by a change, since their last checkpoint is what the next ones begin with.
    """
    changes, training = config.training.changes, replace(config.training, changes=())
    ends = sorted({*(change.after_step for change in changes), training.steps})
    chain: list[ChainedTraining] = []
    for number, end in enumerate(ends):
        continued, initial = None, start_snapshot(config)  # which later ones need for what is frozen
        if chain:
            training = replace(training, **dict[str, Any](changes[number - 1].settings))
            continued = (chain[-1].digest, chain[-1].until_step)
        mark = (TrainingChange(end),) if number < len(changes) else ()
        own = replace(config, training=replace(training, steps=end, changes=mark))
        steps = tuple(step for step in config.evaluation_steps if (ends[number - 1] if number else 0) < step <= end)
        digest = digest_of(train_payload(own, initial, continued))
        chain.append(ChainedTraining(digest, own, initial, end, steps, continued=continued))
    return tuple(chain)


def snapshots_at(config: ExperimentConfig, chain: tuple[ChainedTraining, ...], step: int) -> tuple[SnapshotRef, ...]:
    """Return the snapshots that are sampled at an evaluation step: the training's, or each expert's last."""
    if not config.experts.steps:
        return ((next(link.digest for link in chain if step <= link.until_step), step),)
    return tuple((link.digest, steps) for link, steps in zip(chain, config.experts.steps, strict=True))


def flops_per_step(config: ExperimentConfig) -> int:
    """Return the training FLOPs of one step of one training."""
    return training_flops(config, model_cost(config, card_of(config.data).shape), 1)


def whole_flops(config: ExperimentConfig) -> int:
    """Return the training FLOPs of a config's trainings to their ends."""
    return sum((link.until_step - link.start_step) * flops_per_step(link.config) for link in training_chain(config))


def spent_flops(config: ExperimentConfig) -> int:
    """Return the training FLOPs behind the last evaluation of a config, of all its trainings."""
    if config.experts.steps:  # measured at their ends only
        return whole_flops(config)
    return config.evaluation_steps[-1] * flops_per_step(config)
