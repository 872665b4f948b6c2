"""Draws made ahead of a loss: the same numbers, whoever makes them and when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from dfm_core.config import DecompositionConfig, ExperimentConfig
from dfm_core.paradigms.draws import stage_counts
from tests.support.models import (
    THREE_SCALES,
    paradigm_of,
    random_batch,
    random_model,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
)

BANDS = DecompositionConfig("cosine", (4, 8), block_size=4, domain="frequency")
CONFIGS = {
    "flow_matching": tiny_flow_matching(),
    "dfm": tiny_dfm(),
    "three": tiny_dfm(THREE_SCALES),
    "tied": tiny_dfm({"training.timesteps": "tied"}),
    "bands": tiny_dfm({"decomposition": BANDS, "model.patch_sizes": (1, 1)}),
    "cascade_first": tiny_cascade(0),
    "cascade_second": tiny_cascade(1),
    "pyramid": tiny_pyramidal_flow(),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_loss_takes_its_draws_from_the_batch_and_makes_the_same_itself(config: ExperimentConfig) -> None:
    paradigm, model, batch = paradigm_of(config), random_model(config), random_batch(8, first_index=16)
    with ThreadPoolExecutor(2) as threads:
        drawn, others = threads.map(lambda first: paradigm.draw(range(first, first + 8), (1, 8, 8)), (16, 24))
    own = paradigm.loss(model, batch)
    assert torch.equal(paradigm.loss(model, replace(batch, draws=drawn)).loss, own.loss)
    assert not torch.equal(paradigm.loss(model, replace(batch, draws=others)).loss, own.loss)
    assert drawn.stage_counts == stage_counts(drawn.mask)
    assert sum(drawn.stage_counts) == 8


def test_counts_of_stages_are_those_of_the_mask() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 0]]).float()
    assert stage_counts(mask) == (1, 2, 0)


def test_draws_of_a_part_of_a_batch_are_that_part() -> None:
    paradigm = paradigm_of(tiny_dfm())
    whole, part = paradigm.draw(range(8), (1, 8, 8)), paradigm.draw(range(5, 8), (1, 8, 8))
    for a, b in zip(
        (*whole.noises, whole.t, whole.mask, whole.dropped),
        (*part.noises, part.t, part.mask, part.dropped),
        strict=True,
    ):
        assert torch.equal(a[5:], b)
