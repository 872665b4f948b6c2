"""The contract of a feature network: 8-bit pixels in, named float32 vectors out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FeatureNetworkCard


class FeatureNetwork(Protocol):
    """A frozen network that measures images or clips.

    It is deterministic, and a sample's features depend on that sample alone: what else is in the batch changes them by
    float32 rounding at most. Grey samples count as three equal channels.
    """

    card: FeatureNetworkCard
    """Its name, outputs and preprocessing."""

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return features of a batch.

        Args: pixels: images [B, C, H, W] or clips [B, C, T, H, W], as the card says, uint8, C 1 or 3, on any device.
        Returns: each output of the card, [B, dimension] float32, on the network's device.
        Raises: ValueError if pixels are no such tensor, or if a feature is NaN or infinite.
        """

    def to(self, device: torch.device) -> Self:
        """Itself, moved."""


class MovableNetwork:
    """The module of a feature network and its device, at first the CPU."""

    def __init__(self, model: Any) -> None:
        self._model, self._device = model, torch.device("cpu")

    def to(self, device: torch.device) -> Self:
        self._model, self._device = self._model.to(device), device
        return self


def checked_features(card: FeatureNetworkCard, features: Mapping[str, Tensor], num_samples: int) -> dict[str, Tensor]:
    """Return features as float32, checked against the card: a file that is another network is noticed at its first use.

    Raises: ValueError if a shape is not [num_samples, dimension]; or if a value is not finite, with the samples.
    """
    checked = {}
    for name, dimension in card.outputs.items():
        output = features[name].float()
        if tuple(output.shape) != (num_samples, dimension):
            raise ValueError(
                f"{card.name}: output {name} has shape {list(output.shape)} instead of {[num_samples, dimension]}: "
                f"its file is not {card.title}"
            )
        if bad := (~output.isfinite().all(dim=1)).nonzero().flatten().tolist():
            raise ValueError(
                f"{card.name}: {len(bad)} of {num_samples} samples have NaN or infinite features in {name}: {bad}"
            )
        checked[name] = output
    return checked
