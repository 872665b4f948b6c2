"""Fourier bands against torch's transform (numerics 2.5)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.decompositions.fourier import FourierPyramid


def cropped(image: Tensor, side: int) -> Tensor:
    """The image's frequencies |u|, |v| < side / 2 as an image of that side, by the fast transform."""
    fine = image.shape[-1]
    spectrum, kept = torch.fft.fft2(image), torch.zeros(*image.shape[:-2], side, side, dtype=torch.complex128)
    frequencies = range(-((side - 1) // 2), (side - 1) // 2 + 1)
    for u in frequencies:
        for v in frequencies:
            kept[..., u % side, v % side] = spectrum[..., u % fine, v % fine]
    result = torch.fft.ifft2(kept) * (side / fine) ** 2
    assert result.imag.abs().max() < 1e-14
    return result.real


@pytest.mark.parametrize("resolutions", [(8, 16), (4, 16), (5, 15), (2, 4, 16)])
def test_the_coarse_image_has_the_low_frequencies(resolutions: tuple[int, ...]) -> None:
    image = torch.randn(2, 1, resolutions[-1], resolutions[-1], dtype=torch.float64)
    pyramid = FourierPyramid(resolutions)
    scales = pyramid.analyze(image)
    for count, side in enumerate(resolutions[:-1], start=1):
        torch.testing.assert_close(pyramid.partial(scales, count), cropped(image, side), rtol=0, atol=1e-13)


def test_the_finest_scale_has_no_low_frequency() -> None:
    detail = FourierPyramid((8, 16)).analyze(torch.randn(1, 1, 16, 16, dtype=torch.float64))[1]
    spectrum = torch.fft.fft2(detail)[0, 0].abs()
    low = [u % 16 for u in range(-3, 4)]
    assert spectrum[low][:, low].max() < 1e-12
    assert spectrum[4].min() > 1e-3  # the coarse image's Nyquist row stays in the detail


def test_a_wave_goes_to_the_scale_that_can_hold_it() -> None:
    position = torch.arange(16, dtype=torch.float64) / 16
    for frequency, scale in [(3, 0), (4, 1), (7, 1)]:
        wave = torch.cos(2 * torch.pi * frequency * position).expand(1, 1, 16, 16)
        energies = [part.square().sum() for part in FourierPyramid((8, 16)).analyze(wave)]
        assert energies[scale] > 1
        assert energies[1 - scale] < 1e-24
