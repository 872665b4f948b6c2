"""What is measured of an autoencoder, against answers by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dfm_core.autoencoder_training.measures import measure_autoencoder
from dfm_core.autoencoder_training.spectrum import NUM_BANDS, Spectrum
from dfm_core.autoencoders.base import Posterior
from dfm_core.autoencoders.pixels import Pixels
from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.data.image_dataset import load_dataset
from dfm_core.metrics.features.lite0 import load_lite0_network


class Brighter:
    """Decodes what is smaller than it should be too bright."""

    card, identity, scale, shift = AutoencoderCard(3, 1), "brighter", 1.0, 0.0

    def __init__(self, side: int) -> None:
        self.side = side

    def encode(self, pixels: Tensor) -> Posterior:
        return Posterior(pixels, None)

    def decode(self, latents: Tensor) -> Tensor:
        return latents + 0.1 * (self.side // latents.shape[-1])


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5


def test_errors_are_those_of_the_whole_set_however_it_is_cut() -> None:
    numbers = measure_autoencoder(Brighter(16), images().split(4), (2, 4), "mean")
    assert numbers["num_samples"] == 6
    for name, error in {"reconstruction": 0.1, "downscaled_x2": 0.2, "downscaled_x4": 0.4}.items():
        assert numbers[f"{name}_l1"] == pytest.approx(error, rel=1e-5)
        assert numbers[f"{name}_psnr"] == pytest.approx(20 * math.log10(2 / error), rel=1e-5)
    whole = measure_autoencoder(Brighter(16), [images()], (2, 4), "mean")
    assert numbers == pytest.approx(whole, rel=1e-9)
    assert numbers["latent_mean"] == pytest.approx(float(images().mean()), rel=1e-5)
    assert numbers["latent_std"] == pytest.approx(float(images().std(correction=0)), rel=1e-5)


def test_what_is_exact_has_no_psnr_and_the_spectrum_of_its_pixels() -> None:
    numbers = measure_autoencoder(Pixels(), [images()], (2,), "mean")
    assert numbers["reconstruction_l1"] == numbers["downscaled_x2_l1"] == 0.0
    assert "reconstruction_psnr" not in numbers
    assert numbers["latent_high_share"] == numbers["pixel_high_share"]


def test_values_out_of_range_count_as_the_ends_that_pixels_have() -> None:
    white = torch.ones(1, 3, 16, 16)
    assert measure_autoencoder(Brighter(16), [white], (2,), "mean")["reconstruction_l1"] == 0.0


def test_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="there are no pixels"):
        measure_autoencoder(Pixels(), [], (2,), "mean")


def test_the_distance_of_reconstructions_is_zero_if_exact_and_grows_with_the_error() -> None:
    network, real = load_lite0_network({}), load_dataset("fashion_mnist", "reference").images(slice(0, 40))
    batches = list(real.expand(-1, 3, -1, -1).split(20))
    exact, off = (
        measure_autoencoder(own, batches, (), "mean", network)["reconstruction_fd_lite0_block10"]
        for own in (Pixels(), Brighter(32))
    )
    assert exact == pytest.approx(0.0, abs=1e-6)
    assert off > 1.0


@pytest.mark.parametrize(("rows", "columns"), [(3, 0), (0, 7), (3, 4), (15, 15)])
def test_a_cosine_has_its_power_in_the_band_of_its_frequency(rows: int, columns: int) -> None:
    at = (torch.arange(16.0) + 0.5) * math.pi / 16
    wave = (at * rows).cos()[:, None] * (at * columns).cos()[None]
    shares = Spectrum.of(5.0 + wave[None, None].double()).shares
    band = min(int(math.hypot(rows, columns) / 16 * NUM_BANDS), NUM_BANDS - 1)
    assert shares[band] == pytest.approx(1.0)


def test_white_noise_has_the_spectrum_of_the_number_of_frequencies() -> None:
    noise = torch.randn(200, 2, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    flat = Spectrum.of(noise)
    assert flat.power.sum() == pytest.approx(float(noise.square().sum()), rel=0.02)  # all but the constant
    bands = torch.hypot(*torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")) / 16
    high = int((bands >= 0.5).sum()) / 255
    assert flat.high_share == pytest.approx(high, rel=0.01)


def test_an_image_of_one_colour_has_no_power_and_a_video_that_of_its_frames() -> None:
    assert not Spectrum.of(torch.ones(2, 3, 8, 8)).shares.any()
    clip = torch.rand(2, 3, 5, 8, 8, dtype=torch.float64)
    frames = clip.transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(torch.tensor(Spectrum.of(clip).power), torch.tensor(Spectrum.of(frames).power))
