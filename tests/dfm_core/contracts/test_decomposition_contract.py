"""What every decomposition promises; run over the registry, so that a new one is tested by being registered."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor

from dfm_core.config import DataConfig, DecompositionConfig, ExperimentConfig
from dfm_core.config.choices import HeldAt, Upsampling, WaveletFamily
from dfm_core.config.model import DECOMPOSITION_SETTINGS, PyramidFitConfig
from dfm_core.config.rules import broken_rules
from dfm_core.decompositions import DECOMPOSITIONS, Decomposition
from dfm_core.decompositions.learned import initial_pyramid

CHANNELS = 2
ORTHONORMALITY = 1e-11
"""Relative; PyWavelets tabulates the filters of sym4 to 12 digits, all others to 15."""
LADDERS = ((16,), (8, 16), (4, 16), (4, 8, 16), (2, 4, 8, 16), (12, 24), (5, 15), (8, 8), (16, 8), (6, 16))
VALUES = {
    "upsampling": get_args(Upsampling),
    "held_at": get_args(HeldAt),
    "wavelet": get_args(WaveletFamily),
    "block_size": (4, 8),
    "domain": ("spatial", "frequency"),
    "fit": (PyramidFitConfig(width=4),),
}
"""Of every setting in `DECOMPOSITION_SETTINGS`, all that there are, or one small one."""


@dataclass(frozen=True)
class OnBucket(DecompositionConfig):
    """A decomposition that takes any size, on data of one bucket."""

    bucket: tuple[int, int] = (0, 0)
    """Height and width."""


def buckets() -> list[tuple[int, int]]:
    """All sizes of latents at 1024 px (FLUX.md: cells of 8 latents, at most 256, ratio up to 2), an eighth of a side:
    11 of them."""
    cells = [(a, b) for a in range(1, 33) for b in range(1, 33) if a * b <= 256 and max(a, b) <= 2 * min(a, b)]
    return [(a, b) for a, b in cells if not {(a + 1, b), (a, b + 1)} & set(cells)]


def on_every_bucket(config: DecompositionConfig) -> list[DecompositionConfig]:
    """The config, and where any size is taken the same on each bucket."""
    if (config.name, config.held_at, config.resolutions) not in (
        ("identity", "own", (16,)),
        ("laplacian", "full", (8, 16)),
    ):
        return [config]
    settings = {field.name: getattr(config, field.name) for field in fields(config)}
    return [config, *(OnBucket(**settings, bucket=(2 * a, 2 * b)) for a, b in buckets())]


def size_of(config: DecompositionConfig) -> tuple[int, int]:
    """Height and width of the data."""
    return config.bucket if isinstance(config, OnBucket) else (config.resolutions[-1],) * 2


def every_config() -> list[DecompositionConfig]:
    """Every decomposition with every combination of its settings and every ladder."""
    return [each for config in every_setting() for each in on_every_bucket(config)]


def every_setting() -> list[DecompositionConfig]:
    return [
        DecompositionConfig(name=name, resolutions=ladder, **dict(zip(settings, values, strict=True)))
        for name, settings in DECOMPOSITION_SETTINGS.items()
        for values in product(*(VALUES[setting] for setting in settings))
        for ladder in LADDERS
    ]


def resolution_problems(config: DecompositionConfig) -> list[str]:
    """What the rules of configs have against a decomposition, wherever its data comes from."""
    if isinstance(config, OnBucket):
        return []  # what the rules know of it, they know of its squares
    experiment = ExperimentConfig(decomposition=config, data=DataConfig(dataset="of any side"))
    return [message for key, message in broken_rules(experiment) if key.startswith("decomposition")]


def name_of(config: DecompositionConfig) -> str:
    settings = (getattr(config, setting) for setting in DECOMPOSITION_SETTINGS[config.name] if setting != "fit")
    bucket = size_of(config) if isinstance(config, OnBucket) else ()
    return "-".join(map(str, (config.name, *settings, *config.resolutions, *bucket)))


def decomposition_of(config: DecompositionConfig) -> Decomposition:
    """With random weights where there are any: initial ones hide what is behind a zero."""
    weights = None
    if config.name == "learned":
        generator, initial = torch.Generator().manual_seed(5), initial_pyramid(config, CHANNELS)
        weights = {name: 0.2 * torch.randn(weight.shape, generator=generator) for name, weight in initial.items()}
    return DECOMPOSITIONS[config.name](config, weights)


def data_of(config: DecompositionConfig, frames: int | None = None, seed: int = 1) -> Tensor:
    """Three random images, or videos."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, CHANNELS, *([frames] if frames else []), *size_of(config))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


ACCEPTED = [config for config in every_config() if not resolution_problems(config)]
REFUSED = [config for config in every_config() if resolution_problems(config)]
LINEAR = [config for config in ACCEPTED if decomposition_of(config).linear]
ORTHONORMAL = [config for config in ACCEPTED if decomposition_of(config).orthonormal]
for_every_config = pytest.mark.parametrize("config", ACCEPTED, ids=name_of)


def test_the_registry_has_every_name_and_each_accepts_several_ladders() -> None:
    assert set(DECOMPOSITIONS) == set(DECOMPOSITION_SETTINGS)
    for name in set(DECOMPOSITIONS) - {"identity"}:
        assert len({config.resolutions for config in ACCEPTED if config.name == name}) >= 4


@pytest.mark.parametrize("config", REFUSED, ids=name_of)
def test_ladders_that_the_rules_refuse_are_refused(config: DecompositionConfig) -> None:
    weights = {} if config.name == "learned" else None
    with pytest.raises(
        ValueError,
        match=r"each resolution must be|identity has one scale|blocks of|keeps no|halves|nothing to learn|two scales",
    ):
        DECOMPOSITIONS[config.name](config, weights)


@for_every_config
def test_synthesis_inverts_analysis_in_float64(config: DecompositionConfig) -> None:
    decomposition, data = decomposition_of(config), data_of(config)
    torch.testing.assert_close(decomposition.synthesize(decomposition.analyze(data)), data, rtol=0, atol=5e-14)


@for_every_config
def test_synthesis_inverts_analysis_in_float32(config: DecompositionConfig) -> None:
    decomposition, data = decomposition_of(config), data_of(config).float()
    torch.testing.assert_close(decomposition.synthesize(decomposition.analyze(data)), data, rtol=0, atol=1e-5)


@for_every_config
def test_scales_come_coarse_first_as_the_config_says(config: DecompositionConfig) -> None:
    decomposition, sizes = decomposition_of(config), config.scale_sizes(*size_of(config))
    scales, expected = decomposition.analyze(data_of(config)), zip(config.channels(CHANNELS), sizes, strict=True)
    assert [tuple(scale.shape) for scale in scales] == [(3, channels, *size) for channels, size in expected]
    assert decomposition.resolutions == config.resolutions


@for_every_config
def test_it_follows_its_input_to_another_device(config: DecompositionConfig) -> None:
    decomposition = decomposition_of(config)
    scales = decomposition.analyze(data_of(config).to("meta"))
    assert {scale.device.type for scale in [*scales, decomposition.synthesize(scales)]} == {"meta"}


@for_every_config
def test_the_partial_image_of_all_scales_is_the_whole(config: DecompositionConfig) -> None:
    decomposition = decomposition_of(config)
    scales = decomposition.analyze(data_of(config))
    assert torch.equal(decomposition.partial(scales, len(scales)), decomposition.synthesize(scales))


@for_every_config
def test_a_partial_image_has_the_side_of_its_last_scale_and_ignores_later_ones(config: DecompositionConfig) -> None:
    decomposition = decomposition_of(config)
    scales = decomposition.analyze(data_of(config))
    for count, side in enumerate(config.resolutions, start=1):
        size = [length * side // config.resolutions[-1] for length in size_of(config)]
        disturbed = [*scales[:count], *(torch.randn_like(scale) for scale in scales[count:])]
        seen = decomposition.partial(disturbed, count)
        assert seen.shape == (3, CHANNELS, *size)
        assert torch.equal(seen, decomposition.partial(scales, count))


@pytest.mark.parametrize("config", [config for config in LINEAR if len(config.resolutions) > 2], ids=name_of)
def test_a_level_does_not_depend_on_those_below(config: DecompositionConfig) -> None:
    decomposition, data = decomposition_of(config), data_of(config)
    shorter = decomposition_of(replace(config, resolutions=config.resolutions[1:]))
    partial, expected = decomposition.partial(decomposition.analyze(data), 2), shorter.analyze(data)
    torch.testing.assert_close(partial, shorter.partial(expected, 1), rtol=0, atol=5e-14)


@pytest.mark.parametrize("config", LINEAR, ids=name_of)
def test_every_partial_image_of_a_constant_is_that_constant(config: DecompositionConfig) -> None:
    decomposition = decomposition_of(config)
    scales = decomposition.analyze(torch.full_like(data_of(config), 0.75))
    for count in range(1, len(scales) + 1):
        seen = decomposition.partial(scales, count)
        torch.testing.assert_close(seen, torch.full_like(seen, 0.75), rtol=0, atol=5e-14)


@for_every_config
def test_a_frame_of_a_video_is_taken_as_the_image_alone(config: DecompositionConfig) -> None:
    decomposition, video = decomposition_of(config), data_of(config, frames=2)
    scales = decomposition.analyze(video)
    for frame in range(2):
        for scale, alone in zip(scales, decomposition.analyze(video[:, :, frame]), strict=True):
            torch.testing.assert_close(scale[:, :, frame], alone, rtol=0, atol=5e-14)
    torch.testing.assert_close(decomposition.synthesize(scales), video, rtol=0, atol=5e-14)
    size = (length * config.resolutions[0] // config.resolutions[-1] for length in size_of(config))
    assert decomposition.partial(scales, 1).shape == (3, CHANNELS, 2, *size)


@for_every_config
def test_images_do_not_mix(config: DecompositionConfig) -> None:
    decomposition, images = decomposition_of(config), data_of(config)
    for whole, alone in zip(decomposition.analyze(images), decomposition.analyze(images[1:2]), strict=True):
        torch.testing.assert_close(whole[1:2], alone, rtol=0, atol=5e-14)


@pytest.mark.parametrize("config", LINEAR, ids=name_of)
def test_channels_of_a_linear_one_do_not_mix(config: DecompositionConfig) -> None:
    decomposition, images = decomposition_of(config), data_of(config)
    for whole, alone in zip(decomposition.analyze(images), decomposition.analyze(images[:, 1:]), strict=True):
        torch.testing.assert_close(whole.chunk(CHANNELS, dim=1)[1], alone, rtol=0, atol=5e-14)


@pytest.mark.parametrize("config", LINEAR, ids=name_of)
def test_a_linear_one_is_linear_both_ways(config: DecompositionConfig) -> None:
    decomposition, first, second = decomposition_of(config), data_of(config), data_of(config, seed=2)
    combined = decomposition.analyze(2.0 * first - 3.0 * second)
    for whole, a, b in zip(combined, decomposition.analyze(first), decomposition.analyze(second), strict=True):
        torch.testing.assert_close(whole, 2.0 * a - 3.0 * b, rtol=0, atol=1e-12)
    scales = [torch.randn_like(scale) for scale in combined]
    total = decomposition.synthesize([a + b for a, b in zip(scales, combined, strict=True)])
    expected = decomposition.synthesize(scales) + decomposition.synthesize(combined)
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("config", ORTHONORMAL, ids=name_of)
def test_an_orthonormal_one_keeps_the_energy(config: DecompositionConfig) -> None:
    decomposition, data = decomposition_of(config), data_of(config)
    scales, finest = decomposition.analyze(data), config.resolutions[-1]
    plain_sum = config.name == "cosine" and config.domain == "frequency"
    energy = sum(
        (1 if plain_sum else (finest / side) ** 2) * scale.square().sum()
        for scale, side in zip(scales, config.resolutions, strict=True)
    )
    torch.testing.assert_close(energy, data.square().sum(), rtol=ORTHONORMALITY, atol=0)


@pytest.mark.parametrize("config", ORTHONORMAL, ids=name_of)
def test_the_levels_of_an_orthonormal_one_are_orthogonal_to_the_scales_above(config: DecompositionConfig) -> None:
    decomposition, data = decomposition_of(config), data_of(config)
    scales = decomposition.analyze(data)
    for count in range(1, len(scales)):
        kept = [*scales[:count], *(torch.zeros_like(scale) for scale in scales[count:])]
        blurred = decomposition.synthesize(kept)
        assert ((data - blurred) * blurred).sum().abs() < ORTHONORMALITY * data.square().sum()


@for_every_config
def test_gradients_pass_unchanged_through_the_round_trip(config: DecompositionConfig) -> None:
    decomposition, data = decomposition_of(config), data_of(config).requires_grad_()
    weight = data_of(config, seed=2)
    (decomposition.synthesize(decomposition.analyze(data)) * weight).sum().backward()
    torch.testing.assert_close(data.grad, weight, rtol=0, atol=5e-13)


@for_every_config
def test_gradients_of_every_scale_are_its_differences(config: DecompositionConfig) -> None:
    decomposition, data, direction = decomposition_of(config), data_of(config).requires_grad_(), data_of(config, seed=2)
    for number, scale in enumerate(decomposition.analyze(data)):
        weight = torch.randn_like(scale)
        (gradient,) = torch.autograd.grad((scale * weight).sum(), data, retain_graph=True)
        with torch.no_grad():
            ahead, behind = (decomposition.analyze(data + h * direction)[number] for h in (1e-5, -1e-5))
        difference = ((ahead - behind) * weight).sum() / 2e-5
        torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-6, atol=1e-6)


@for_every_config
def test_analysis_and_synthesis_leave_their_inputs_alone(config: DecompositionConfig) -> None:
    decomposition, data = decomposition_of(config), data_of(config)
    before = data.clone()
    scales = decomposition.analyze(data)
    copies = [scale.clone() for scale in scales]
    decomposition.synthesize(scales)
    assert torch.equal(data, before)
    assert all(torch.equal(scale, copy) for scale, copy in zip(scales, copies, strict=True))


@for_every_config
def test_another_side_is_refused(config: DecompositionConfig) -> None:
    decomposition, side = decomposition_of(config), config.resolutions[-1]
    shapes = [(side, side // 2), (side // 2, side), (side + 1, side + 1), (2 * side, 2 * side)]
    made_for = rf"\[B, C, {side}, {side}\] images or .* videos"
    if decomposition.any_size:
        made_for = r"\[B, C, \(T,\) H, W\] with H and W multiples of \d"
        shapes = [] if config.name == "identity" else [(side, side + 1), (side + 1, side)]
    for shape in shapes:
        with pytest.raises(ValueError, match=rf"was made for {made_for}, got"):
            decomposition.analyze(torch.zeros(1, CHANNELS, *shape))
    with pytest.raises(ValueError, match=rf"was made for .*, got \[{side}, {side}\]"):
        decomposition.analyze(torch.zeros(side, side))


def test_there_are_eleven_buckets_between_half_and_twice_as_wide() -> None:
    assert len(buckets()) == 11
    assert {buckets()[0], buckets()[-1]} == {(11, 22), (22, 11)}
