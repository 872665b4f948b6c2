"""What every decomposition promises; run over the registry, so that a new one is tested by being registered."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.decompositions import DECOMPOSITIONS, Decomposition

SIDE = 16
LADDERS = ((16,), (8, 16), (4, 16), (4, 8, 16), (2, 4, 8, 16))


def accepted_ladders(name: str) -> list[tuple[int, ...]]:
    """The ladders of resolutions for which a decomposition can be made."""
    found = []
    for ladder in LADDERS:
        try:
            DECOMPOSITIONS[name](ladder)
        except ValueError:
            continue
        found.append(ladder)
    return found


CASES = [(name, ladder) for name in DECOMPOSITIONS for ladder in accepted_ladders(name)]


@pytest.fixture
def image() -> Tensor:
    return torch.randn(3, 2, SIDE, SIDE, dtype=torch.float64)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1]))}")
def decomposition(request: pytest.FixtureRequest) -> Decomposition:
    name, ladder = request.param
    return DECOMPOSITIONS[name](ladder)


@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_every_decomposition_accepts_some_ladder(name: str) -> None:
    assert accepted_ladders(name)


def test_synthesis_inverts_analysis_in_float64(decomposition: Decomposition, image: Tensor) -> None:
    restored = decomposition.synthesize(decomposition.analyze(image))
    torch.testing.assert_close(restored, image, rtol=0, atol=1e-14)


def test_synthesis_inverts_analysis_in_float32(decomposition: Decomposition, image: Tensor) -> None:
    restored = decomposition.synthesize(decomposition.analyze(image.float()))
    torch.testing.assert_close(restored, image.float(), rtol=0, atol=2e-6)


def test_scales_come_coarse_first_at_their_resolutions(decomposition: Decomposition, image: Tensor) -> None:
    scales = decomposition.analyze(image)
    assert [tuple(scale.shape) for scale in scales] == [(3, 2, side, side) for side in decomposition.resolutions]
    assert list(decomposition.resolutions) == sorted(decomposition.resolutions)


def test_the_partial_image_of_all_scales_is_the_whole(decomposition: Decomposition, image: Tensor) -> None:
    scales = decomposition.analyze(image)
    assert torch.equal(decomposition.partial(scales, len(scales)), decomposition.synthesize(scales))


def test_a_partial_image_has_the_side_of_its_last_scale(decomposition: Decomposition, image: Tensor) -> None:
    scales = decomposition.analyze(image)
    for count, side in enumerate(decomposition.resolutions, start=1):
        assert decomposition.partial(scales, count).shape == (3, 2, side, side)


def test_a_partial_image_ignores_the_scales_after_it(decomposition: Decomposition, image: Tensor) -> None:
    scales = decomposition.analyze(image)
    for count in range(1, len(scales)):
        disturbed = [*scales[:count], *(torch.randn_like(scale) for scale in scales[count:])]
        assert torch.equal(decomposition.partial(disturbed, count), decomposition.partial(scales, count))


def test_analysis_and_synthesis_are_linear(decomposition: Decomposition, image: Tensor) -> None:
    other = torch.randn_like(image)
    combined = decomposition.analyze(2.0 * image - 3.0 * other)
    for whole, a, b in zip(combined, decomposition.analyze(image), decomposition.analyze(other), strict=True):
        torch.testing.assert_close(whole, 2.0 * a - 3.0 * b, rtol=0, atol=1e-12)
    first, second = decomposition.analyze(image), [torch.randn_like(scale) for scale in decomposition.analyze(other)]
    total = decomposition.synthesize([a + b for a, b in zip(first, second, strict=True)])
    expected = decomposition.synthesize(first) + decomposition.synthesize(second)
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-12)


def test_images_and_channels_do_not_mix(decomposition: Decomposition, image: Tensor) -> None:
    alone = decomposition.analyze(image[1:2, 1:])
    for whole, part in zip(decomposition.analyze(image), alone, strict=True):
        torch.testing.assert_close(whole[1:2, 1:], part, rtol=0, atol=1e-14)


def test_gradients_pass_unchanged_through_the_round_trip(decomposition: Decomposition, image: Tensor) -> None:
    image.requires_grad_()
    weight = torch.randn(image.shape, dtype=torch.float64)
    (decomposition.synthesize(decomposition.analyze(image)) * weight).sum().backward()
    torch.testing.assert_close(image.grad, weight, rtol=0, atol=1e-13)


def test_analysis_leaves_its_input_alone(decomposition: Decomposition, image: Tensor) -> None:
    before = image.clone()
    decomposition.analyze(image)
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    "shape", [(1, 1, SIDE, SIDE // 2), (1, 1, SIDE // 2, SIDE), (1, 1, 2 * SIDE, 2 * SIDE), (1, SIDE, SIDE)]
)
def test_another_side_is_refused(decomposition: Decomposition, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"was made for \[B, C, {SIDE}, {SIDE}\] images, got"):
        decomposition.analyze(torch.zeros(shape))
