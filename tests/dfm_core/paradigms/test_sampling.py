"""What a watcher of sampling is shown, and that watching changes nothing (numerics 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.decompositions import build_decomposition
from dfm_core.flow.jumps import pyramid_stages
from dfm_core.flow.solvers import SOLVERS
from dfm_core.paradigms.base import SampleProgress
from dfm_core.paradigms.pyramidal_flow import stage_ends
from tests.support.models import (
    SAMPLED,
    FormulaModel,
    paradigm_of,
    random_sampler,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
    with_values,
)

LABELS = torch.tensor([0, 2])
CONFIGS = {**SAMPLED, "S1": tiny_flow_matching({"paradigm": "dfm"})}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> ExperimentConfig:
    return with_values(CONFIGS[request.param], {"data.standardize": True})


def std_of(config: ExperimentConfig) -> tuple[float, ...]:
    return (0.5, 0.25, 0.125)[: config.num_stages]


class Album:
    """A watcher that keeps everything."""

    def __init__(self) -> None:
        self.steps: list[SampleProgress] = []
        self.previews: list[Tensor] = []

    def __call__(self, progress: SampleProgress) -> None:
        self.steps.append(progress)
        self.previews.append(progress.preview())


@pytest.mark.parametrize("solver", SOLVERS)
def test_watching_changes_no_bit_of_the_result(config: ExperimentConfig, solver: Any) -> None:
    config = with_values(config, {"sampling.solver": solver, "sampling.guidance": 2.0})
    model, paradigm = random_sampler(config), paradigm_of(config, std_of(config))
    alone = paradigm.sample(model, LABELS, range(2), 5, config.sampling)
    watched = paradigm.sample(model, LABELS, range(2), 5, config.sampling, Album())
    assert torch.equal(alone.images, watched.images)
    assert alone.num_evaluations == watched.num_evaluations


def test_a_watcher_is_called_after_every_step_and_told_of_the_ends_of_stages(config: ExperimentConfig) -> None:
    album, steps = Album(), config.sampling.steps
    paradigm_of(config, std_of(config)).sample(random_sampler(config), LABELS, range(2), 5, config.sampling, album)
    assert [(p.step, p.num_steps) for p in album.steps] == [(n + 1, sum(steps)) for n in range(sum(steps))]
    tied = config.training.timesteps == "tied"
    ends = [sum(steps)] if tied else [sum(steps[: s + 1]) for s in range(len(steps))]
    assert [p.step for p in album.steps if p.ends_stage] == ends


def test_a_preview_has_the_side_of_the_last_scale_that_is_generated(config: ExperimentConfig) -> None:
    album, steps = Album(), config.sampling.steps
    paradigm_of(config, std_of(config)).sample(random_sampler(config), LABELS, range(2), 5, config.sampling, album)
    sides = [side for side, count in zip(config.decomposition.resolutions, steps, strict=True) for _ in range(count)]
    if config.training.timesteps == "tied":
        sides = [8] * sum(steps)
    assert [tuple(preview.shape) for preview in album.previews] == [(2, 1, side, side) for side in sides]
    assert {preview.dtype for preview in album.previews} == {torch.float32}


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_last_state_and_the_last_preview_are_the_images(config: ExperimentConfig, solver: Any) -> None:
    config = with_values(config, {"sampling.solver": solver})
    album, paradigm, std = Album(), paradigm_of(config, std_of(config)), std_of(config)
    images = paradigm.sample(random_sampler(config), LABELS, range(2), 5, config.sampling, album).images
    torch.testing.assert_close(album.previews[-1], images, rtol=0, atol=1e-6)
    last = [x * d for x, d in zip(album.steps[-1].scales, std, strict=True)]
    synthesized = build_decomposition(config.decomposition).synthesize(last).float()
    torch.testing.assert_close(synthesized, images, rtol=0, atol=1e-6)


def test_what_a_watcher_keeps_does_not_change_behind_its_back(config: ExperimentConfig) -> None:
    # Cascades and Pyramidal Flow change the state between their stages, after the last step of one was shown.
    album, copies = Album(), []

    def keep(progress: SampleProgress) -> None:
        album(progress)
        copies.append([x.clone() for x in progress.scales])

    paradigm_of(config, std_of(config)).sample(random_sampler(config), LABELS, range(2), 5, config.sampling, keep)
    for progress, copy, preview in zip(album.steps, copies, album.previews, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(progress.scales, copy, strict=True))
        assert torch.equal(progress.preview(), preview)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("resolutions", [(4, 8), (2, 4, 8)])
def test_previews_of_one_known_image_are_that_image_at_every_side(solver: Any, resolutions: tuple[int, ...]) -> None:
    # All data is one image: the exact velocity (X_1 - x) / (1 - t) leads to it in a straight line, and a preview, which
    # follows that line to its end, shows the image at its side from the first step on.
    stages, image = len(resolutions), torch.randn(2, 1, 8, 8)
    config = tiny_dfm({"decomposition.resolutions": resolutions})
    clean = build_decomposition(config.decomposition).analyze(image)

    def velocity(scales: Sequence[Tensor], t: Tensor, _mask: Tensor, _labels: Tensor) -> list[Tensor]:
        return [
            (end - x) / (1 - t[:, s, None, None, None]) for s, (x, end) in enumerate(zip(scales, clean, strict=True))
        ]

    model = FormulaModel(velocity, [(1, side, side) for side in resolutions])
    sampling = SamplingConfig((4, 3, 3)[:stages], (0.7, 0.8)[: stages - 1], solver=solver)
    album = Album()
    images = paradigm_of(config).sample(model, LABELS, range(2), 5, sampling, album).images
    torch.testing.assert_close(images, image, rtol=0, atol=1e-5)
    for preview in album.previews:
        expected = avg_pool2d(image, 8 // preview.shape[-1])
        torch.testing.assert_close(preview, expected, rtol=0, atol=1e-5)
    # The state itself is still noisy there: tau of the image and 1 - tau of the noise.
    (end_of_stage_1,) = [p for p in album.steps if p.ends_stage][:1]
    assert float((end_of_stage_1.scales[0] - clean[0]).abs().max()) > 0.1


@pytest.mark.parametrize("solver", SOLVERS)
def test_previews_of_a_cascade_show_the_level_of_the_network_that_works(solver: Any) -> None:
    image, album = torch.randn(2, 1, 8, 8), Album()
    clean = [avg_pool2d(image, 2), image]
    model = FormulaModel(
        lambda scales, t, *_: [
            (end - x) / (1 - t[:, s, None, None, None]).clamp_min(0.01)
            for s, (x, end) in enumerate(zip(scales, clean, strict=True))
        ]
    )
    sampling = SamplingConfig((4, 3), (), solver=solver)
    paradigm_of(tiny_cascade(None)).sample(model, LABELS, range(2), 5, sampling, album)
    for number, preview in enumerate(album.previews):
        torch.testing.assert_close(preview, clean[int(number >= 4)], rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("gamma", [1 / 3, 0.2])
@pytest.mark.parametrize("stages", [2, 3])
def test_previews_of_pyramidal_flow_show_the_clean_level_through_the_noise(
    stages: int, gamma: float, solver: Any
) -> None:
    # With one known image a state tells its noise, and the noise the velocity: v = end - start.
    image, sides, std = torch.randn(2, 1, 8, 8), (2, 4, 8)[-stages:], 0.5
    clean = [avg_pool2d(image, 8 // side) / std for side in sides]
    wiring = pyramid_stages(stages, gamma)

    def velocity(scales: Sequence[Tensor], t: Tensor, mask: Tensor, _labels: Tensor) -> list[Tensor]:
        q = int(mask[0].sum()) - 1
        stage, found = wiring[q], [torch.full_like(x, torch.nan) for x in scales]
        p = (t[0, q].double() - stage.start_t) / (stage.end_t - stage.start_t)
        zero = torch.zeros_like(scales[q], dtype=torch.float64)
        start, end = stage_ends(stage, clean[q].double(), clean[q - 1].double() if q else None, zero)
        noise = scales[q].double() - (1 - p) * start - p * end
        noise = noise / ((1 - p) * stage.start_noise + p * stage.end_noise)
        found[q] = end - start + (stage.end_noise - stage.start_noise) * noise
        return found

    config = tiny_pyramidal_flow({"decomposition.resolutions": sides, "pyramidal_flow.gamma": gamma})
    config = with_values(config, {"data.standardize": True})
    model = FormulaModel(velocity, [(1, side, side) for side in sides])
    album, sampling = Album(), SamplingConfig((4, 3, 3)[:stages], (), solver=solver)
    paradigm = paradigm_of(config, (0.1, 0.2, std)[-stages:])
    images = paradigm.sample(model, LABELS, range(2), 5, sampling, album).images
    torch.testing.assert_close(images, image, rtol=0, atol=1e-4)
    for preview in album.previews:
        expected = avg_pool2d(image, 8 // preview.shape[-1])
        torch.testing.assert_close(preview, expected, rtol=0, atol=1e-4)
    first = album.steps[3]
    assert first.ends_stage
    assert float((first.scales[0] - clean[0]).abs().max()) > 0.1
