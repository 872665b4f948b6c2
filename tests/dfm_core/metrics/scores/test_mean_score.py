"""CLIPSIM and label accuracy: angles that are known, and their standard errors."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import ndtri
from scipy.stats import binomtest

from dfm_core.metrics.scores.accumulator import Batch, Score
from dfm_core.metrics.scores.jackknife import Groups
from dfm_core.metrics.scores.mean_score import MeanScoreAccumulator, cosines, hits

GENERATOR = torch.Generator().manual_seed(0)
IMAGES, TEXTS = torch.randn(40, 8, generator=GENERATOR), torch.randn(40, 8, generator=GENERATOR)


def batch(features: torch.Tensor, targets: torch.Tensor) -> Batch:
    return Batch(torch.arange(len(features)), features, targets)


def score(name: str, given: Batch) -> Score:
    return MeanScoreAccumulator.empty(name, Groups.of(len(given.indices), 10, 1)).update(given).compute()[name]  # type: ignore[arg-type]


def wilson_interval(hits: int, num_samples: int) -> tuple[float, float]:
    """Interval of scipy."""
    interval = binomtest(hits, num_samples).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def test_angles_that_are_known() -> None:
    images = torch.tensor([[3.0, 0.0], [1.0, 1.0], [0.0, 2.0], [-1.0, 0.0]])
    texts = torch.tensor([[1.0, 0.0]]).expand(4, 2)
    assert cosines(batch(images, texts)).tolist() == pytest.approx([1, math.sqrt(0.5), 0, -1], abs=1e-15)


def test_lengths_of_features_do_not_matter() -> None:
    scaled = batch(IMAGES * torch.linspace(0.1, 50, 40)[:, None], 7 * TEXTS)
    expected = torch.nn.functional.cosine_similarity(IMAGES.double(), TEXTS.double()).mean()
    assert score("clip_similarity", scaled).value == pytest.approx(float(expected), rel=1e-6)
    assert score("clip_similarity", batch(IMAGES, TEXTS)).value == pytest.approx(float(expected), rel=1e-12)


def test_a_video_has_the_mean_of_its_frames_and_is_one_sample() -> None:
    videos, texts = IMAGES.reshape(10, 4, 8), TEXTS[:10]
    frames = cosines(batch(IMAGES, texts.repeat_interleave(4, dim=0)))
    torch.testing.assert_close(cosines(batch(videos, texts)), frames.reshape(10, 4).mean(dim=1), rtol=0, atol=1e-15)
    assert MeanScoreAccumulator.empty("clip_similarity", Groups(10, 10)).update(batch(videos, texts)).count == 10


def test_accuracy_is_the_share_of_targets_with_the_largest_score() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])
    given = batch(scores, torch.tensor([1, 0, 0, 1]))
    assert hits(given).tolist() == [1, 1, 0, 0]
    found = score("label_accuracy", given)
    assert found.value == 0.5
    assert found.error is not None
    low, high = wilson_interval(2, 4)
    assert found.error.interval == pytest.approx((low, high), rel=1e-12)
    assert found.error.standard_error == pytest.approx((high - low) / 2 / float(ndtri(0.975)), rel=1e-12)


@pytest.mark.parametrize("hit", [0, 1])
def test_accuracy_of_all_or_nothing_has_an_error(hit: int) -> None:
    given = batch(torch.tensor([[1.0 - hit, float(hit)]]).expand(300, 2), torch.ones(300, dtype=torch.int64))
    error = score("label_accuracy", given).error
    assert error is not None
    assert error.interval == pytest.approx(wilson_interval(300 * hit, 300), abs=1e-12)
    assert error.standard_error > 0.003


def test_labels_in_turn_leave_the_variance_within_labels() -> None:
    """Labels that are always right, and always wrong: nothing would change with other samples."""
    labels = torch.arange(400) % 4
    scores = torch.nn.functional.one_hot(torch.where(labels < 2, labels, 0), 4).float()
    in_turn = MeanScoreAccumulator.empty("label_accuracy", Groups(400, 50, 4)).update(batch(scores, labels))
    found, at_random = in_turn.compute()["label_accuracy"].error, score("label_accuracy", batch(scores, labels)).error
    assert found is not None
    assert at_random is not None
    assert at_random.standard_error == pytest.approx(0.025, rel=0.01)
    assert found.standard_error == pytest.approx(found.apart) == pytest.approx(1.96 / 800, rel=0.02)


def test_the_variance_within_labels_is_the_stratified_one() -> None:
    values = cosines(batch(IMAGES, TEXTS))
    error = MeanScoreAccumulator.empty("clip_similarity", Groups(40, 10, 4)).update(batch(IMAGES, TEXTS)).compute()
    expected = sum(float(values[label::4].var()) / 10 * (1 / 4) ** 2 for label in range(4))
    found = error["clip_similarity"].error
    assert found is not None
    assert found.standard_error == pytest.approx(math.sqrt(expected), rel=1e-9)


def test_the_standard_error_is_the_deviation_over_the_root_of_the_number() -> None:
    found, values = score("clip_similarity", batch(IMAGES, TEXTS)), cosines(batch(IMAGES, TEXTS))
    assert found.error is not None
    assert found.error.standard_error == pytest.approx(float(values.std(correction=1)) / math.sqrt(40), rel=1e-10)
    assert score("clip_similarity", batch(IMAGES[:1], TEXTS[:1])).error is None


def test_a_direction_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="2 feature vectors have length 0 and no direction"):
        cosines(batch(IMAGES[:3] * torch.tensor([[0.0], [1.0], [0.0]]), TEXTS[:3]))


def test_targets_are_needed() -> None:
    with pytest.raises(AssertionError, match="CLIPSIM needs text features as targets"):
        cosines(Batch(torch.arange(40), IMAGES))
    with pytest.raises(AssertionError, match="label accuracy needs classes as targets"):
        hits(Batch(torch.arange(40), IMAGES))


def test_different_metrics_do_not_merge() -> None:
    groups = Groups(40, 10)
    with pytest.raises(AssertionError, match="clip_similarity and label_accuracy do not merge"):
        MeanScoreAccumulator.empty("clip_similarity", groups).merge(
            MeanScoreAccumulator.empty("label_accuracy", groups)
        )
