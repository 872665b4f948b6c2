"""A learned multi-scale autoencoder: a Laplacian pyramid whose down and up are small networks (numerics 2.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dfm_core.config import DecompositionConfig
from dfm_core.config.model import PyramidFitConfig
from dfm_core.data.sample_order import dataset_rows
from dfm_core.decompositions.base import PyramidDecomposition, check_halvings, fold_frames
from dfm_core.decompositions.laplacian import downsample, upsample
from dfm_core.seeding import sample_generator


class Halving(nn.Module):
    """[B, C, H, W] -> [B, C, H / 2, W / 2]: the mean over cells plus what is learned, at first nothing."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, kernel_size=4, stride=2, padding=1)
        self.leave = nn.Conv2d(width, channels, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        learned: Tensor = self.leave(nn.functional.silu(self.enter(image)))
        return downsample(image, image.shape[-1] // 2) + learned


class Doubling(nn.Module):
    """[B, C, H, W] -> [B, C, 2 H, 2 W]: bilinear plus what is learned, at first nothing."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        self.middle = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.leave = nn.Conv2d(width, 4 * channels, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.middle(nn.functional.silu(self.enter(image))))
        learned = nn.functional.pixel_shuffle(self.leave(hidden), 2)
        return upsample(image, 2 * image.shape[-1]) + learned


@dataclass(frozen=True, eq=False)
class LearnedPyramid(PyramidDecomposition):
    """A network down and one up per halving; exact whatever they are. Channels mix."""

    linear: ClassVar[bool] = False
    networks: nn.ModuleDict
    """`down_N` and `up_N` for each halving, N its lower side."""

    def down(self, image: Tensor, side: int) -> Tensor:
        while image.shape[-1] > side:
            image = _apply(self.networks[f"down_{image.shape[-1] // 2}"], image)
        return image

    def up(self, image: Tensor, side: int) -> Tensor:
        while image.shape[-1] < side:
            image = _apply(self.networks[f"up_{image.shape[-1]}"], image)
        return image


def _apply(network: nn.Module, image: Tensor) -> Tensor:
    """The network where the image is and in its precision: the sampler's scales are float64, training's float32."""
    if next(network.parameters()).device != image.device:
        network.to(image.device)  # once: a copy in every step would make the host wait
    parameters = {name: parameter.to(image) for name, parameter in network.named_parameters()}
    result: Tensor = functional_call(network, parameters, (image,))
    return result


def load_pyramid(config: DecompositionConfig, weights: Mapping[str, Tensor] | None) -> LearnedPyramid:
    """Return the pyramid with the weights of `fit_pyramid`, whose width and channels it takes from them.

    Raises: ValueError if there are none, or they were fitted for other resolutions.
    """
    finest = f"down_{_lower_sides(config.resolutions)[0]}.enter.weight"
    if weights is None:
        raise ValueError(
            "the learned pyramid needs weights: make them with dfm_core.decompositions.learned.fit_pyramid"
        )
    if finest in weights:
        width, channels = weights[finest].shape[:2]
        networks = _empty_networks(config.resolutions, channels, width)
        if networks.state_dict().keys() == weights.keys():
            networks.load_state_dict(weights, assign=True)
            return LearnedPyramid(config.resolutions, networks.requires_grad_(requires_grad=False))
    given = sorted({name.partition(".")[0] for name in weights})
    raise ValueError(f"weights of {given} are not those of resolutions {config.resolutions}: fit the pyramid again")


def fit_pyramid(
    config: DecompositionConfig,
    images: Tensor | Iterable[Tensor],
    channels: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """Return weights that make the details small and leave each level near the mean over cells of the one above.

    The loss is the sum over s > 1 of mean(X^s ^2) + coarse_weight mean((D_{s-1} - mean over cells of D_s)^2). Bitwise
    repeatable on a CPU with the same number of threads.

    Args: images: all of them, [N, C, (T,) H, W], uint8 or float in the model's range, drawn in an order that the seed
        gives; or batches of float ones, one a step. progress: called with the number of steps done.
    Returns: weights for `DECOMPOSITIONS["learned"]`, on the CPU.
    Raises: ValueError if the resolutions do not suit it, or there are too few batches.
    """
    fit = config.fit
    pyramid = LearnedPyramid(config.resolutions, _initial_networks(config, channels, seed))
    optimizer = torch.optim.Adam(pyramid.networks.parameters(), lr=fit.learning_rate)
    done = 0
    for batch in islice(_batches(images, fit, seed), fit.steps):
        pyramid.networks.to(batch.device)
        pyramid.check_size(batch)
        loss = _fit_loss(pyramid, fold_frames(batch)[0], fit)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        done += 1
        if progress is not None:
            progress(done)
    if done < fit.steps:
        raise ValueError(f"{done} batches for {fit.steps} steps: give more, or lower decomposition.fit.steps")
    return _weights(pyramid.networks)


def initial_pyramid(config: DecompositionConfig, channels: int, seed: int = 0) -> dict[str, Tensor]:
    """Return the weights before the first step of `fit_pyramid`: the Laplacian pyramid with `doubling`."""
    return _weights(_initial_networks(config, channels, seed))


def _weights(networks: nn.ModuleDict) -> dict[str, Tensor]:
    return {name: weight.detach().cpu().clone() for name, weight in networks.state_dict().items()}


def _fit_loss(pyramid: LearnedPyramid, images: Tensor, fit: PyramidFitConfig) -> Tensor:
    levels = pyramid.levels(images)
    details = [detail.square().mean() for detail in pyramid.details(levels)]
    drifts = [(low - downsample(high, low.shape[-1])).square().mean() for low, high in pairwise(levels)]
    return torch.stack(details).sum() + fit.coarse_weight * torch.stack(drifts).sum()


def _batches(images: Tensor | Iterable[Tensor], fit: PyramidFitConfig, seed: int) -> Iterator[Tensor]:
    if not isinstance(images, Tensor):
        yield from images
        return
    for step in range(fit.steps):
        indices = range(step * fit.batch_size, (step + 1) * fit.batch_size)
        chosen = images[torch.from_numpy(dataset_rows(seed, indices, len(images)))]
        yield chosen.float() / 127.5 - 1.0 if images.dtype == torch.uint8 else chosen


def _lower_sides(resolutions: Sequence[int]) -> list[int]:
    """Return the lower side of every halving, finest first.

    Raises: ValueError if the resolutions are no halvings, or there is none to learn.
    """
    check_halvings(resolutions, "learned")
    if len(resolutions) < 2:
        raise ValueError(f"the learned pyramid has nothing to learn with resolutions {tuple(resolutions)}: give two")
    num_halvings = (resolutions[-1] // resolutions[0]).bit_length() - 1
    return [resolutions[-1] >> halving for halving in range(1, num_halvings + 1)]


def _empty_networks(resolutions: Sequence[int], channels: int, width: int) -> nn.ModuleDict:
    """Return the networks without memory: torch would otherwise fill them from its global generator."""
    with torch.device("meta"):
        down = {f"down_{side}": Halving(channels, width) for side in _lower_sides(resolutions)}
        up = {f"up_{side}": Doubling(channels, width) for side in _lower_sides(resolutions)}
    return nn.ModuleDict({**down, **up})


def _initial_networks(config: DecompositionConfig, channels: int, seed: int) -> nn.ModuleDict:
    """Normal hidden layers (He) from the seed alone, and zeros at last."""
    networks = _empty_networks(config.resolutions, channels, config.fit.width).to_empty(device="cpu")
    draw = sample_generator(seed, "pyramid_weights", 0)
    generator = torch.Generator().manual_seed(int(draw.integers(2**63)))
    for name, parameter in networks.named_parameters():
        if name.endswith("bias") or "leave" in name:
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter, generator=generator)
    return networks
