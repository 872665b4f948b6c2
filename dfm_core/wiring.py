"""Layers of a network and the stages in which each runs. Needs no torch: planning counts them.

| paradigm | a sample of stage q reads | predicts |
|---|---|---|
| dfm, flow_matching | all scales; on a token grid per stage those up to q | the same |
| cascaded | scale q, and the noisy scale q - 1 as its condition | scale q |
| pyramidal_flow | scale q, through the one timestep embedder of all stages | scale q |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dfm_core.config import ExperimentConfig


@dataclass(frozen=True)
class StageWiring:
    """Layers that run for a sample whose active stage is q."""

    inputs: tuple[int, ...]
    """Scales whose tokens the transformer reads."""
    outputs: tuple[int, ...]
    """Scales whose velocity it predicts."""
    timesteps: tuple[tuple[int, int], ...]
    """(timestep embedder, scale whose timestep it embeds), one for each embedder that runs."""
    grid: int
    """The scale on whose token grid the transformer runs."""
    joined: tuple[int, ...] = ()
    """Inputs whose tokens lengthen the sequence, on a grid of their own, instead of being added."""


@dataclass(frozen=True)
class Wiring:
    """Layers of one network."""

    stages: dict[int, StageWiring]
    """Layers by stage; a cascade's network serves one."""
    has_stage_table: bool
    """True if the active stage is embedded."""
    alike: bool
    """All stages run the same layers on one grid, so that their samples can run as one batch."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """Scales that have a patchify layer."""
        return _union(stage.inputs for stage in self.stages.values())

    @property
    def outputs(self) -> tuple[int, ...]:
        """Scales that have a head."""
        return _union(stage.outputs for stage in self.stages.values())

    @property
    def embedders(self) -> tuple[int, ...]:
        """Names of the timestep embedders."""
        return _union([embedder for embedder, _ in stage.timesteps] for stage in self.stages.values())

    @property
    def grids(self) -> tuple[int, ...]:
        """Scales on whose token grids tokens stand in the sequence."""
        return _union((stage.grid, *stage.joined) for stage in self.stages.values())


def networks(config: ExperimentConfig) -> tuple[Wiring, ...]:
    """Return the networks of a config, each serving its stages: one, or for a whole cascade one a stage."""
    if config.paradigm != "cascaded":
        return (_one_network(config),)
    joins = config.cascade.condition_tokens == "joined"
    return tuple(
        Wiring({stage: _cascade_stage(stage, joins=joins)}, has_stage_table=False, alike=True)
        for stage in config.own_stages
    )


def network(config: ExperimentConfig) -> Wiring:
    """Return the network of a config that has one."""
    wirings = networks(config)
    assert len(wirings) == 1, f"{config.paradigm} has a network for each of stages {config.own_stages}"
    return wirings[0]


def _one_network(config: ExperimentConfig) -> Wiring:
    stages = range(config.num_stages)
    if config.paradigm == "pyramidal_flow":
        wired = {q: StageWiring((q,), (q,), ((0, q),), q) for q in stages}
        return Wiring(wired, has_stage_table=False, alike=False)
    shared = config.model.patch_grid == "shared"
    # Every embedder runs in every stage, on t = 0 for the scales that wait (numerics 5.6).
    timesteps = tuple((scale, scale) for scale in stages)
    wired = {}
    for q in stages:
        last = stages[-1] if shared else q
        used = tuple(stages[: last + 1])
        wired[q] = StageWiring(used, used, timesteps, last)
    return Wiring(wired, config.model.stage_embedding, alike=shared)


def _cascade_stage(stage: int, *, joins: bool) -> StageWiring:
    condition = () if stage == 0 else (stage - 1,)
    inputs = (*condition, stage)
    return StageWiring(inputs, (stage,), tuple((s, s) for s in inputs), stage, condition if joins else ())


def _union(groups: Iterable[Iterable[int]]) -> tuple[int, ...]:
    return tuple(sorted({item for group in groups for item in group}))
