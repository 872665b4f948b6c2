"""Kept features: in the samples' order, each once."""

from __future__ import annotations

import pytest
import torch

from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.feature_store import FeatureStore

FEATURES = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))


def kept(*groups: list[int]) -> FeatureStore:
    features = FeatureStore.empty()
    for group in groups:
        features = features.update(Batch(torch.tensor(group), FEATURES[group]))
    return features


def test_features_come_back_in_the_samples_order_and_type() -> None:
    assert torch.equal(kept([5, 2], [0, 11]).merge(kept([7])).ordered(), FEATURES[[0, 2, 5, 7, 11]])


def test_samples_that_came_twice_are_named() -> None:
    with pytest.raises(ValueError, match=r"^2 samples came twice: 2, 7$"):
        kept([1, 2, 7]).merge(kept([7, 3, 2, 7])).ordered()


def test_videos_stay_whole() -> None:
    videos = FEATURES.reshape(4, 3, 3)
    features = FeatureStore.empty().update(Batch(torch.tensor([3, 1, 2, 0]), videos))
    assert torch.equal(features.ordered(), videos[[3, 1, 2, 0]])
