"""What each paradigm divides its scales by, and that loss and samples agree on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import avg_pool2d

from dfm_core.config import ExperimentConfig
from dfm_core.paradigms.standardization import scale_divisors
from dfm_core.seeding import normal
from dfm_core.training.state import build_model
from tests.support.models import (
    SHAPE,
    FormulaModel,
    paradigm_of,
    random_batch,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
    with_values,
)

STD = (0.5, 0.25)
MAKERS: list[Callable[[], ExperimentConfig]] = [
    tiny_dfm,
    tiny_flow_matching,
    lambda: tiny_cascade(None),
    tiny_pyramidal_flow,
]
IDS = ["dfm", "flow_matching", "cascaded", "pyramidal_flow"]


def std_of(config: ExperimentConfig) -> tuple[float, ...]:
    return STD[-config.num_stages :]


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_without_standardisation_nothing_is_divided(make: Callable[[], ExperimentConfig]) -> None:
    config = make()
    assert scale_divisors(config, std_of(config)) == (1.0,) * config.num_stages


@pytest.mark.parametrize(
    ("make", "expected"), list(zip(MAKERS, [STD, (0.25,), STD, (0.25, 0.25)], strict=True)), ids=IDS
)
def test_scales_are_divided_by_their_own_deviation_continued_levels_by_the_finest(
    make: Callable[[], ExperimentConfig], expected: tuple[float, ...]
) -> None:
    config = with_values(make(), {"data.standardize": True})
    assert scale_divisors(config, std_of(config)) == expected


@pytest.mark.parametrize("stage", [0, 1])
def test_a_cascade_is_trained_on_levels_of_unit_deviation(stage: int) -> None:
    config = tiny_cascade(stage, {"data.standardize": True})
    batch, model = random_batch(4), FormulaModel(lambda scales, *_: list(scales))
    paradigm_of(config, STD).loss(model, batch)
    ((scales, t, _, _),) = model.calls
    for s, (level, side) in enumerate(((avg_pool2d(batch.images, 2), 4), (batch.images, 8))):
        noise, own = normal(config.seed, f"noise/{s}", batch.indices, (1, side, side)), t[:, s, None, None, None]
        torch.testing.assert_close(scales[s], own * level / STD[s] + (1 - own) * noise)


def test_pyramidal_flow_is_trained_as_on_images_that_were_divided_themselves() -> None:
    batch, model = random_batch(8), FormulaModel(lambda scales, *_: [0.3 * x for x in scales])
    standardized = paradigm_of(tiny_pyramidal_flow({"data.standardize": True}), STD).loss(model, batch)
    by_hand = paradigm_of(tiny_pyramidal_flow()).loss(model, replace(batch, images=batch.images / STD[-1]))
    assert torch.equal(standardized.loss, by_hand.loss)
    assert standardized.loss != paradigm_of(tiny_pyramidal_flow()).loss(model, batch).loss


def test_the_preconditioning_knows_the_deviation_that_is_left() -> None:
    left = {
        "dfm": (tiny_dfm(), (1.0, 1.0)),
        "cascaded": (tiny_cascade(1), (1.0, 1.0)),
        "pyramidal_flow": (tiny_pyramidal_flow(), (2.0, 1.0)),
    }
    for config, expected in left.values():
        model = build_model(with_values(config, {"data.standardize": True}), SHAPE, STD)
        assert tuple(model.data_std.tolist()) == expected
        assert tuple(build_model(config, SHAPE, STD).data_std.tolist()) == STD


def test_there_is_one_deviation_per_scale() -> None:
    with pytest.raises(AssertionError, match="3 standard deviations for 2 scales"):
        scale_divisors(tiny_dfm(), (1.0, 1.0, 1.0))
