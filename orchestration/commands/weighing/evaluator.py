"""Memory of an evaluator: its sampler, the autoencoder and the feature networks, each at its batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.fitting_batches import AUTOENCODER_BYTES, first_part
from dfm_core.models.registry import build_network
from dfm_core.models.text_tables import ZeroTextTable
from orchestration.commands.weighing.activations import FusedAttention
from orchestration.commands.weighing.held_bytes import HeldBytes

_FP32, _BF16, _MIB = 4, 2, 2**20
BF16_SAMPLING = 0.75
"""Activations of a call of the network under bf16 autocast, against fp32, counted on a fake GPU; autocast's bf16
weights come on top."""
AUTOENCODER_WEIGHTS = 320 * _MIB
"""Weights of FLUX's autoencoder; others have fewer."""
NETWORK_BYTES: Mapping[FeatureNetworkName, tuple[int, int]] = {
    "lite0": (18 * _MIB, 3 * _MIB),
    "inception": (92 * _MIB, 16 * _MIB),
    "dinov2": (1161 * _MIB, 16 * _MIB),
    "i3d": (49 * _MIB, 120 * _MIB),
    "clip": (577 * _MIB, 3 * _MIB),
}
"""Network -> bytes of its weights, and those of an image, or of a clip of 17 frames, while it runs. Those of files with
code of their own (inception, i3d) are estimates from the sizes of their layers."""


@dataclass(frozen=True)
class EvaluatorFootprint:
    """Bytes that an evaluator's GPU holds for one config."""

    batch: int
    """Samples at a time, `workers.evaluation_batch_size`."""
    sampler_weights: int
    sampler_activations: int
    """Activations of a call for one batch, guidance and autocast's copies of weights included."""
    pixels: int
    """Pixels of a sample that the autoencoder decodes, all frames; 0: there is none."""
    networks: Mapping[FeatureNetworkName, int]
    """Network -> weights and activations at one batch."""

    @property
    def resident_bytes(self) -> int:
        """Bytes of everything that stays loaded."""
        weights = sum(NETWORK_BYTES[name][0] for name in self.networks)
        return self.sampler_weights + weights + (AUTOENCODER_WEIGHTS if self.pixels else 0)

    def decoded_at_once(self, memory_bytes: int) -> int:
        """Return the samples that the autoencoder takes at a time on a GPU of this memory."""
        free = memory_bytes - self.resident_bytes
        return min(self.batch, first_part(free, AUTOENCODER_BYTES * self.pixels)) if self.pixels else self.batch

    def peak_bytes(self) -> int:
        """Return the most that is held when the sampler or a network is at work; the autoencoder takes what is free."""
        own = [size - NETWORK_BYTES[name][0] for name, size in self.networks.items()]
        return self.resident_bytes + max(self.sampler_activations, *own, 0)


def evaluator_footprint(
    config: ExperimentConfig, batch: int, networks: tuple[FeatureNetworkName, ...]
) -> EvaluatorFootprint:
    """Call the sampler's network once on the meta device, and look up the others."""
    shape = card_of(config.data).shape
    with torch.device("meta"):
        model = build_network(config, shape, (1.0,) * config.num_stages)
    model.use_attention(FusedAttention.apply)
    if config.model.described is not None:
        model.use_text(ZeroTextTable(config.data.text_length, *config.model.described.architecture.text_widths))
    size = 2 * batch if config.sampling.guidance != 1.0 else batch
    with torch.no_grad(), torch.device("meta"), HeldBytes("meta") as held:
        scales = [torch.empty(size, *of_scale) for of_scale in model.scale_shapes]
        ones, labels = torch.ones(size, len(scales)), torch.zeros(size, dtype=torch.int64)
        model(scales, ones, ones, labels, (0,) * (len(scales) - 1) + (size,))
    mixed, data = config.training.precision == "bf16", config.data
    num_parameters = sum(weight.numel() for weight in model.parameters())
    pixels = max(data.side, 1, *data.sides) ** 2 * (data.frames or 1) if data.autoencoder else 0
    return EvaluatorFootprint(
        batch,
        _FP32 * num_parameters,
        round(BF16_SAMPLING * held.peak) + _BF16 * num_parameters if mixed else held.peak,
        pixels,
        {name: NETWORK_BYTES[name][0] + batch * NETWORK_BYTES[name][1] for name in networks},
    )
