"""The trainings behind one config: one, or a chain of experts of which each starts from the one before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dfm_core.config import ExperimentConfig, ExpertsConfig
from orchestration.digests import digest_of
from orchestration.tasks import SnapshotRef, train_payload


@dataclass(frozen=True)
class Link:
    """One training of a chain, and what is needed of it."""

    digest: str
    config: ExperimentConfig
    initial: SnapshotRef | None
    until_step: int
    snapshot_steps: tuple[int, ...]
    stage: int | None = None
    """The stage that an expert generates; None: all."""


def training_chain(config: ExperimentConfig) -> tuple[Link, ...]:
    """The trainings of a config, each after the one it starts from."""
    if not config.experts.steps:
        digest = digest_of(train_payload(config))
        return (Link(digest, config, None, config.training.steps, config.evaluation_steps),)
    chain: list[Link] = []
    for stage, steps in enumerate(config.experts.steps):
        initial = None
        if chain and config.experts.initialize == "previous":
            before = chain[-1]
            step = config.experts.initialize_at or before.until_step
            initial = (before.digest, step)
            until = max(before.until_step, step)
            chain[-1] = replace(before, until_step=until, snapshot_steps=(*before.snapshot_steps, step))
        own = expert_config(config, stage)
        digest = digest_of(train_payload(own, initial))
        chain.append(Link(digest, own, initial, steps, (steps,), stage))
    return tuple(chain)


def expert_config(config: ExperimentConfig, stage: int) -> ExperimentConfig:
    """The config that trains one stage alone."""
    shares = tuple(float(other == stage) for other in range(config.num_stages))
    training = replace(config.training, stage_probabilities=shares, steps=config.experts.steps[stage])
    return replace(config, training=training, experts=ExpertsConfig())


def snapshots_at(config: ExperimentConfig, chain: tuple[Link, ...], step: int) -> tuple[SnapshotRef, ...]:
    """What is sampled at an evaluation step: the training's snapshot, or each expert's last."""
    if not config.experts.steps:
        return ((chain[0].digest, step),)
    return tuple((link.digest, steps) for link, steps in zip(chain, config.experts.steps, strict=True))
