"""Guidance in an interval of t: what it costs, whom it steers, and where it changes no bit (numerics 1, 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from dfm_core.compute import num_evaluations
from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.config.choices import Solver
from dfm_core.flow.guidance import guide
from dfm_core.flow.schedules import stage_schedule
from dfm_core.flow.solvers import SOLVERS
from dfm_core.models.velocity import scale_shapes
from dfm_core.paradigms import SampleResult
from dfm_core.paradigms.base import VelocityPredictor
from dfm_core.seeding import normal
from tests.support.models import (
    NUM_CLASSES,
    SHAPE,
    THREE_SCALES,
    FormulaModel,
    paradigm_of,
    random_sampler,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
    with_values,
)

CONFIGS = {
    "S1": tiny_flow_matching(),
    "S2": tiny_dfm(),
    "S3": tiny_dfm(THREE_SCALES),
    "tied": tiny_dfm({"training.timesteps": "tied"}),
    "cascade": tiny_cascade(None),
}
NOWHERE = (0.501, 0.502)
"""No timestep of the schedules above lies in it."""
GUIDED_EVERYWHERE = {**CONFIGS, "pyramid": tiny_pyramidal_flow()}
"""Pyramidal Flow knows no intervals."""
LABELS = torch.tensor([0, 2, 1])


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> ExperimentConfig:
    return CONFIGS[request.param]


def sample(config: ExperimentConfig, model: VelocityPredictor) -> SampleResult:
    return paradigm_of(config).sample(model, LABELS, range(len(LABELS)), 5, config.sampling)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.1, 0.65), (0.5, 0.5), NOWHERE])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_evaluations_are_counted_as_they_happen(
    config: ExperimentConfig, guidance: float, interval: tuple[float, float], solver: Solver
) -> None:
    values = {"guidance": guidance, "guidance_interval": interval, "solver": solver, "time_shift": 1.5}
    config = replace(config, sampling=replace(config.sampling, **values))
    model = FormulaModel(lambda scales, *_: list(scales), scale_shapes(config, SHAPE))
    result = sample(config, model)
    assert sum(len(labels) for *_, labels in model.calls) / len(LABELS) == result.num_evaluations
    assert result.num_evaluations == num_evaluations(config)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", GUIDED_EVERYWHERE)
def test_the_whole_interval_is_guidance_everywhere_bit_for_bit(name: str, solver: Solver) -> None:
    # The same network, guided by hand at every call and for every scale.
    config = with_values(GUIDED_EVERYWHERE[name], {"sampling.solver": solver})
    model = random_sampler(config)

    def guided(scales: Sequence[Tensor], t: Tensor, mask: Tensor, labels: Tensor) -> list[Tensor]:
        null = torch.full_like(labels, NUM_CLASSES)
        doubled = [torch.cat([x, x]) for x in (*scales, t, mask)]
        both = model(doubled[:-2], *doubled[-2:], torch.cat([labels, null]))
        return [guide(*v.chunk(2), 3.0) for v in both]

    by_hand = sample(config, FormulaModel(guided, model.scale_shapes))
    whole = sample(with_values(config, {"sampling.guidance": 3.0, "sampling.guidance_interval": (0.0, 1.0)}), model)
    assert torch.equal(whole.images, by_hand.images)
    assert whole.num_evaluations == 2 * by_hand.num_evaluations


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_interval_without_a_timestep_is_guidance_one_bit_for_bit(config: ExperimentConfig, solver: Solver) -> None:
    config = with_values(config, {"sampling.solver": solver})
    model = random_sampler(config)
    none = sample(config, model)
    empty = sample(with_values(config, {"sampling.guidance": 3.0, "sampling.guidance_interval": NOWHERE}), model)
    assert torch.equal(empty.images, none.images)
    assert empty.num_evaluations == none.num_evaluations


@pytest.mark.parametrize("interval", [(0.0, 0.3), (0.3, 0.7), (0.7, 1.0)])
def test_each_scale_is_guided_in_its_own_time(interval: tuple[float, float]) -> None:
    # The conditional velocity is 1, the unconditional 0: a scale moves by w inside the interval and by 1 outside.
    weight, sampling = 3.0, SamplingConfig((2, 3, 2), (0.6, 0.8), guidance=3.0, guidance_interval=interval)
    config = tiny_dfm(THREE_SCALES)
    model = FormulaModel(
        lambda scales, _t, _m, labels: [
            (labels != NUM_CLASSES).float()[:, None, None, None].expand_as(x) for x in scales
        ],
        scale_shapes(config, SHAPE),
    )
    times = stage_schedule(sampling.steps, sampling.tau).times
    ends, moves = [], []
    for s, shape in enumerate(model.scale_shapes):
        steps = [(row[s], after[s] - row[s]) for row, after in pairwise(times)]
        moves.append(sum(dt * (weight if interval[0] <= t <= interval[1] else 1.0) for t, dt in steps))
        ends.append(normal(5, f"sample_noise/{s}", range(3), shape).double() + moves[-1])
    assert len(set(moves)) == 3
    paradigm = paradigm_of(config)
    images = paradigm.sample(model, LABELS, range(3), 5, sampling).images
    torch.testing.assert_close(images, paradigm.synthesize(ends).float())
