"""I3D trained on Kinetics-400, the network of FVD, from the TorchScript file that StyleGAN-V uses.

The file could rescale and resize by itself; both are turned off, and `fvd_input` does it as it did for the published
numbers. `return_features=True` gives the 400 activations before the softmax.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.base import MovableNetwork, checked_features
from dfm_core.metrics.features.preprocessing import fvd_input
from dfm_core.metrics.features.torchscript import call_torchscript, load_torchscript

_OPTIONS = {"rescale": False, "resize": False, "return_features": True}


class I3DNetwork(MovableNetwork):
    """Activations before the softmax, [B, 400], of 8-bit clips of 10 frames or more."""

    card = FEATURE_NETWORKS["i3d"]

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        clips = fvd_input(pixels.to(self._device))
        logits = call_torchscript(self._model, clips, _OPTIONS)
        return checked_features(self.card, {"logits": logits}, len(pixels))


def load_i3d(files: Mapping[str, GivenFile]) -> I3DNetwork:
    """Return the network from the user's file.

    Raises: FileNotFoundError or ValueError if the file is missing, its checksum another, or it does not behave like
    the file of StyleGAN-V.
    """
    (needed,), given = I3DNetwork.card.files, files["weights"]
    network = I3DNetwork(load_torchscript(given, needed))
    probe = torch.arange(3 * 10 * 8 * 8).remainder(256).reshape(1, 3, 10, 8, 8).to(torch.uint8)
    try:
        network(probe)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{given.path}: cannot be used as {needed.file_name} is: {error}") from error
    return network
