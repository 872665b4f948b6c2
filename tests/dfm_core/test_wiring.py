"""The layers of each paradigm's networks, and that a built network has these and no others."""

from __future__ import annotations

from typing import Any

import pytest

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.models.dit import DiT
from dfm_core.wiring import StageWiring, network, networks
from tests.support.models import (
    THREE_SCALES,
    random_model,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
    trainings,
)

PER_STAGE: dict[str, Any] = {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)}
JOINED: dict[str, Any] = {"cascade.condition_tokens": "joined"}
ALL_OF_TWO = StageWiring(inputs=(0, 1), outputs=(0, 1), timesteps=((0, 0), (1, 1)), grid=1)
FACTS: dict[str, tuple[ExperimentConfig, dict[int, StageWiring]]] = {
    "flow_matching": (
        tiny_flow_matching(),
        {0: StageWiring(inputs=(0,), outputs=(0,), timesteps=((0, 0),), grid=0)},
    ),
    "dfm": (tiny_dfm(), {0: ALL_OF_TWO, 1: ALL_OF_TWO}),
    "dfm on a grid per stage": (
        tiny_dfm(PER_STAGE),
        {0: StageWiring(inputs=(0,), outputs=(0,), timesteps=((0, 0), (1, 1)), grid=0), 1: ALL_OF_TWO},
    ),
    "a cascade's first network": (
        tiny_cascade(0),
        {0: StageWiring(inputs=(0,), outputs=(0,), timesteps=((0, 0),), grid=0)},
    ),
    "a cascade's second network": (
        tiny_cascade(1),
        {1: StageWiring(inputs=(0, 1), outputs=(1,), timesteps=((0, 0), (1, 1)), grid=1)},
    ),
    "the first network of a cascade that joins tokens": (
        tiny_cascade(0, JOINED),
        {0: StageWiring(inputs=(0,), outputs=(0,), timesteps=((0, 0),), grid=0)},
    ),
    "the second network of a cascade that joins tokens": (
        tiny_cascade(1, JOINED),
        {1: StageWiring(inputs=(0, 1), outputs=(1,), timesteps=((0, 0), (1, 1)), grid=1, joined=(0,))},
    ),
    "pyramidal flow": (
        tiny_pyramidal_flow(),
        {q: StageWiring(inputs=(q,), outputs=(q,), timesteps=((0, q),), grid=q) for q in range(2)},
    ),
}
TABLES = ("flow_matching", "dfm", "dfm on a grid per stage")
"""Who embeds the active stage."""
ALIKE = {name for name in FACTS if name not in ("dfm on a grid per stage", "pyramidal flow")}
"""Whose stages can run as one batch."""


@pytest.mark.parametrize("name", FACTS)
def test_a_stage_reads_and_predicts_what_its_paradigm_says(name: str) -> None:
    config, stages = FACTS[name]
    own = network(config)
    assert own.stages == stages
    assert own.has_stage_table is (name in TABLES)
    assert own.alike is (name in ALIKE)


@pytest.mark.parametrize("name", FACTS)
def test_a_built_network_has_the_layers_of_its_wiring_and_no_others(name: str) -> None:
    config, _ = FACTS[name]
    own, built = network(config), random_model(config).network
    assert isinstance(built, DiT)
    assert tuple(map(int, built.patch_embedders)) == own.inputs
    assert tuple(map(int, built.heads)) == own.outputs
    assert tuple(map(int, built.timestep_embedders)) == own.embedders
    assert (built.stage_table is not None) is own.has_stage_table
    rotations = {scale for scale in range(config.num_stages) if getattr(built, f"rotation_{scale}") is not None}
    assert rotations == set(own.grids)


def test_layers_are_the_union_over_the_stages() -> None:
    own = network(tiny_pyramidal_flow({**THREE_SCALES, "sampling": SamplingConfig((2, 3, 2), ())}))
    assert (own.inputs, own.outputs, own.embedders, own.grids) == ((0, 1, 2), (0, 1, 2), (0,), (0, 1, 2))
    joined = network(tiny_cascade(1, JOINED))
    assert (joined.inputs, joined.outputs, joined.embedders, joined.grids) == ((0, 1), (1,), (0, 1), (0, 1))


def test_a_cascade_is_its_networks_one_after_the_other() -> None:
    whole = tiny_cascade(None)
    assert networks(whole) == tuple(network(own) for own in trainings(whole))
    with pytest.raises(AssertionError, match=r"cascaded has a network for each of stages \(0, 1\)"):
        network(whole)


def test_without_a_stage_table_nobody_has_one() -> None:
    assert not network(tiny_dfm({"model.stage_embedding": False})).has_stage_table
