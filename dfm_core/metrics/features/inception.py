"""Inception-v3 of 2015-12-05, the network of FID and inception score, from the TorchScript file of StyleGAN2-ADA.

The file takes 8-bit RGB of any size and resizes and scales inside, as TensorFlow's graph does. With
`return_features=True` it gives pool3; with `no_output_bias=True` the softmax over 1008 classes without bias. Logits are
wanted, and one pass for both: they are pool3 times the weight of the file's last layer, and the loader holds them
against the file's own softmax.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.base import MovableNetwork, checked_features
from dfm_core.metrics.features.preprocessing import as_rgb_images
from dfm_core.metrics.features.torchscript import call_torchscript, load_torchscript

_PROBABILITY_TOLERANCE = 1e-4


class InceptionNetwork(MovableNetwork):
    """pool3 [B, 2048] and logits without bias [B, 1008] of 8-bit images."""

    card = FEATURE_NETWORKS["inception"]

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        images = as_rgb_images(pixels).to(self._device)
        pool3 = call_torchscript(self._model, images, {"return_features": True}).float()
        logits = pool3 @ self._model.output.weight.detach().float().T
        return checked_features(self.card, {"pool3": pool3, "logits": logits}, len(pixels))


def load_inception(files: Mapping[str, GivenFile]) -> InceptionNetwork:
    """Return the network from the user's file.

    Raises: FileNotFoundError or ValueError if the file is missing, its checksum another, or it does not behave like
    the file of StyleGAN2-ADA.
    """
    (needed,), given = InceptionNetwork.card.files, files["weights"]
    module = load_torchscript(given, needed)
    network = InceptionNetwork(module)
    probe = torch.arange(2 * 3 * 16 * 16).remainder(256).reshape(2, 3, 16, 16).to(torch.uint8)
    try:
        own = network(probe)["logits"].softmax(dim=1)
        difference = (own - call_torchscript(module, probe, {"no_output_bias": True})).abs().max().item()
    except (RuntimeError, AttributeError, ValueError) as error:
        raise ValueError(f"{given.path}: cannot be used as {needed.file_name} is: {error}") from error
    if difference > _PROBABILITY_TOLERANCE:
        raise ValueError(f"{given.path}: its classes differ from pool3 times its last layer by {difference:.2g}")
    return network
