"""The labels and the sizes of generated samples: classes by index, or the captions and shapes of the test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dfm_core.config import EvaluationConfig
from dfm_core.models.experts import StageExperts
from dfm_core.models.network import SizedNetwork, VelocityNetwork
from dfm_core.models.text_tables import TextTable
from dfm_core.seeding import sample_generator
from orchestration.artifacts.samples.captioned_images import CaptionedImages

Sampled = VelocityNetwork | StageExperts | SizedNetwork


class SampleConditions(Protocol):
    """Conditions of samples, each a function of its index."""

    @property
    def borders(self) -> tuple[int, ...]:
        """Indices at which no batch goes on: other shapes begin."""

    def labels(self, indices: range) -> Tensor:
        """Return the labels of samples, [B] int64."""

    def network(self, network: VelocityNetwork | StageExperts, indices: range) -> Sampled:
        """Return the network as it samples these; no border lies between them."""


@dataclass(frozen=True)
class ClassConditions:
    """`SampleConditions` of classes."""

    evaluation: EvaluationConfig
    num_classes: int
    borders: tuple[int, ...] = ()

    def labels(self, indices: range) -> Tensor:
        return sample_labels(self.evaluation, indices, self.num_classes)

    def network(self, network: VelocityNetwork | StageExperts, indices: range) -> Sampled:  # noqa: ARG002  one size
        return network


@dataclass(frozen=True)
class CaptionConditions:
    """`SampleConditions` of captions: sample i has caption and shape of test image i."""

    images: CaptionedImages
    texts: TextTable
    spatial_factor: int
    """Pixels of a side for each position of a latent's."""

    @property
    def borders(self) -> tuple[int, ...]:
        return self.images.borders

    def labels(self, indices: range) -> Tensor:
        return self.images.labels(indices)

    def network(self, network: VelocityNetwork | StageExperts, indices: range) -> Sampled:
        assert isinstance(network, VelocityNetwork), "what reads captions is one network"
        network.use_text(self.texts)
        height, width = self.images.bucket(indices.start)
        return network.sized(height // self.spatial_factor, width // self.spatial_factor)


def sample_labels(evaluation: EvaluationConfig, indices: Sequence[int], num_classes: int) -> Tensor:
    """Return the class of each generated image, a function of its index alone, [B] int64."""
    if evaluation.label_sampling == "balanced":
        return torch.tensor([index % num_classes for index in indices])
    draws = [sample_generator(evaluation.seed, "sample_label", index).integers(num_classes) for index in indices]
    return torch.tensor([int(draw) for draw in draws])
