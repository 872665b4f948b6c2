"""Measures of the effect of scale equivariance: reconstruction, also of smaller latents, and the latents' spectrum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dfm_core.autoencoder_training.config import Downscaling
from dfm_core.autoencoder_training.downscaling import downscale_both
from dfm_core.autoencoder_training.spectrum import Spectrum
from dfm_core.autoencoders.base import Autoencoder
from dfm_core.data.image_dataset import to_pixels
from dfm_core.metrics.features.base import FeatureNetwork
from dfm_core.metrics.scores.frechet import frechet_distance
from dfm_core.metrics.scores.moments import Moments

_PEAK = 2.0
"""Range of pixels in [-1, 1]."""


@dataclass
class _Errors:
    """Absolute and squared errors, summed."""

    count: int = 0
    absolute: float = 0.0
    squared: float = 0.0

    def add(self, wanted: Tensor, found: Tensor) -> None:
        difference = found.clamp(-1.0, 1.0).double() - wanted.double()
        self.count += difference.numel()
        self.absolute += float(difference.abs().sum())
        self.squared += float(difference.square().sum())

    def named(self, prefix: str) -> dict[str, float]:
        """Mean absolute error, and the PSNR in dB of the mean squared error over all images; no PSNR without error."""
        mean = self.squared / self.count
        psnr = {f"{prefix}_psnr": 10.0 * math.log10(_PEAK**2 / mean)} if mean > 0 else {}
        return {f"{prefix}_l1": self.absolute / self.count, **psnr}


@dataclass
class _Sums:
    """Sums over batches."""

    reconstruction: _Errors = field(default_factory=_Errors)
    downscaled: dict[int, _Errors] = field(default_factory=dict)
    spectra: dict[str, Spectrum] = field(default_factory=dict)
    features: dict[tuple[str, str], Moments] = field(default_factory=dict)
    latents: list[Tensor] = field(default_factory=list)
    num_samples: int = 0

    def add_spectrum(self, name: str, x: Tensor) -> None:
        self.spectra[name] = self.spectra.get(name, Spectrum.empty()).merge(Spectrum.of(x))

    def add_features(self, kind: str, features: dict[str, Tensor]) -> None:
        for output, rows in features.items():
            own, key = Moments.of(rows), (output, kind)
            self.features[key] = self.features[key].merge(own) if key in self.features else own


def measure_autoencoder(
    autoencoder: Autoencoder,
    batches: Iterable[Tensor],
    factors: Sequence[int],
    how: Downscaling,
    network: FeatureNetwork | None = None,
    device: torch.device | None = None,
) -> dict[str, float]:
    """Return named numbers of an autoencoder on real images; latents are posterior means.

    `reconstruction_l1`, `_psnr` (dB): of decoded latents. `downscaled_x<f>_l1`, `_psnr`: of decoded latents that were
    made smaller by f, against pixels that were. `latent_power_<k>of8`, `pixel_power_<k>of8`: shares of the spectrum;
    `latent_high_share`, `pixel_high_share`: that of its upper half. `latent_mean`, `latent_std` over all elements.
    `reconstruction_fd_<network>_<output>`: Fréchet distance between images and their reconstructions, frames as images,
    biased like every such distance by `num_samples`.

    Args: batches: pixels, [B, 3, (T,) H, W] in [-1, 1]. factors: by which the latents' sides are divided.
    Raises: ValueError if there are no pixels, or they do not fit.
    """
    sums = _Sums(downscaled={factor: _Errors() for factor in factors})
    with torch.no_grad():
        for pixels in batches:
            _add(sums, autoencoder, pixels.to(device), how, network)
    if not sums.num_samples:
        raise ValueError("there are no pixels to measure the autoencoder with")
    return _named(sums, network)


def _add(
    sums: _Sums, autoencoder: Autoencoder, pixels: Tensor, how: Downscaling, network: FeatureNetwork | None
) -> None:
    latents = autoencoder.encode(pixels).mean
    back = autoencoder.decode(latents)
    sums.num_samples += len(pixels)
    sums.reconstruction.add(pixels, back)
    for factor, errors in sums.downscaled.items():
        small_pixels, small_latents = downscale_both(pixels, latents, factor, how)
        errors.add(small_pixels, autoencoder.decode(small_latents))
    sums.add_spectrum("latent", latents)
    sums.add_spectrum("pixel", pixels)
    elements = latents.double()
    sums.latents.append(torch.stack([elements.new_tensor(elements.numel()), elements.sum(), elements.square().sum()]))
    if network is not None:
        for kind, images in (("real", pixels), ("back", back)):
            frames = images if images.ndim == 4 else images.transpose(1, 2).flatten(0, 1)
            sums.add_features(kind, network(to_pixels(frames)))


def _named(sums: _Sums, network: FeatureNetwork | None) -> dict[str, float]:
    count, total, squares = torch.stack(sums.latents).sum(dim=0).tolist()
    numbers = {"num_samples": float(sums.num_samples), "latent_mean": total / count}
    numbers["latent_std"] = math.sqrt(max(0.0, squares / count - (total / count) ** 2))
    numbers |= sums.reconstruction.named("reconstruction")
    for factor, errors in sums.downscaled.items():
        numbers |= errors.named(f"downscaled_x{factor}")
    for name, spectrum in sums.spectra.items():
        numbers[f"{name}_high_share"] = spectrum.high_share
        bands = len(spectrum.shares)
        numbers |= {f"{name}_power_{band}of{bands}": float(own) for band, own in enumerate(spectrum.shares)}
    if network is not None:
        for output in network.card.outputs:
            distance = frechet_distance(sums.features[output, "real"], sums.features[output, "back"])
            numbers[f"reconstruction_fd_{network.card.name}_{output}"] = distance
    return numbers
