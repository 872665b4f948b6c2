"""What every autoencoder promises: shapes, scaled latents, the same result however samples are grouped, gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfm_core.autoencoders.base import MEAN, STD, Autoencoder, draw
from dfm_core.autoencoders.registry import LOADERS, load_autoencoder
from dfm_core.catalog.autoencoders import AUTOENCODER_KINDS, AUTOENCODERS, AutoencoderCard
from dfm_core.catalog.datasets import DataShape
from dfm_core.seeding import normal
from tests.support.tiny_autoencoders import SAVERS

SIDE, FRAMES = 16, 9


@pytest.fixture(scope="module", params=sorted(LOADERS))
def autoencoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    return load_autoencoder(request.param, SAVERS[request.param](tmp_path_factory.mktemp(request.param)))


def pixels(autoencoder: Autoencoder, count: int = 2) -> Tensor:
    frames = () if autoencoder.card.temporal_factor is None else (FRAMES,)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, *frames, SIDE, SIDE, generator=generator) * 2 - 1


def test_shapes_are_those_of_the_card(autoencoder: Autoencoder) -> None:
    card, batch = autoencoder.card, pixels(autoencoder)
    with torch.no_grad():
        mean = autoencoder.encode(batch).mean
        back = autoencoder.decode(mean)
    frames = None if card.temporal_factor is None else FRAMES
    assert mean.shape[1:] == DataShape(card.channels, 7, card.latent_frames(frames)).of_scale(
        card.channels, card.latent_side(SIDE)
    )
    assert back.shape == batch.shape


def test_no_autoencoder_takes_videos_as_it_takes_images() -> None:
    pixels, video = load_autoencoder("pixels", Path()), torch.rand(2, 3, 6, SIDE, SIDE)
    assert torch.equal(pixels.decode(pixels.encode(video).mean), video)
    assert pixels.card.shape_of_latent((6, SIDE, SIDE)) == (3, 6, SIDE, SIDE)
    assert pixels.card.can_decode(6)


def test_a_samples_latent_does_not_depend_on_its_neighbours(autoencoder: Autoencoder) -> None:
    batch = pixels(autoencoder, 3)
    with torch.no_grad():
        whole = autoencoder.encode(batch).mean
        alone = torch.cat([autoencoder.encode(batch[at : at + 1]).mean for at in range(3)])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
    assert (whole[0] - whole[1]).abs().max() > 1e-3


def test_what_is_stored_is_the_posterior_in_half_precision(autoencoder: Autoencoder) -> None:
    with torch.no_grad():
        posterior = autoencoder.encode(pixels(autoencoder))
    kept = posterior.stored()
    torch.testing.assert_close(kept[MEAN].float(), posterior.mean, rtol=2**-8, atol=1e-3)
    if posterior.std is None:
        assert set(kept) == {MEAN}
        assert torch.equal(draw(kept, 0, [4, 5]), kept[MEAN].float())
        return
    assert {own.dtype for own in kept.values()} == {torch.bfloat16}
    assert posterior.std.min() > 0
    drawn = draw(kept, 3, [4, 5])
    noise = normal(3, "posterior", [4, 5], tuple(drawn.shape[1:]))
    torch.testing.assert_close(drawn, kept[MEAN].float() + kept[STD].float() * noise)
    assert torch.equal(draw({name: own[1:] for name, own in kept.items()}, 3, [5])[0], drawn[1])


def test_gradients_flow_both_ways(autoencoder: Autoencoder) -> None:
    batch = pixels(autoencoder, 1).requires_grad_()
    autoencoder.decode(autoencoder.encode(batch).mean).square().mean().backward()
    assert batch.grad is not None
    assert batch.grad.abs().max() > 0


@pytest.mark.parametrize("change", ["side", "channels", "axes", "integers"])
def test_pixels_that_do_not_fit_are_refused(autoencoder: Autoencoder, change: str) -> None:
    batch = pixels(autoencoder)
    if change == "side" and autoencoder.card.spatial_factor == 1:
        return
    unfit = {
        "side": batch[..., :-1],
        "channels": batch[:, :2],
        "axes": batch[0],
        "integers": (batch * 100).to(torch.uint8),
    }[change]
    with pytest.raises(ValueError, match="is no multiple of" if change == "side" else "pixels are floats"):
        autoencoder.encode(unfit)


def test_the_identity_is_not_empty(autoencoder: Autoencoder) -> None:
    assert autoencoder.identity
    kind = autoencoder.identity.split(":")[0]
    assert kind in AUTOENCODER_KINDS
    assert AUTOENCODERS.get(kind, AutoencoderCard(channels=4, spatial_factor=4)) == autoencoder.card


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    folder = SAVERS["flux"](tmp_path)
    before = torch.get_rng_state()
    load_autoencoder("flux", folder)
    assert torch.equal(torch.get_rng_state(), before)
