"""The Fréchet distance against pytorch-fid and dgm-eval, and what a squared distance must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dfm_core.metrics.accumulator import Batch
from dfm_core.metrics.frechet import frechet, frechet_distance, weighted_frechet_distances
from dfm_core.metrics.frechet_accumulator import FrechetAccumulator
from dfm_core.metrics.moments import Moments
from tests.dfm_core.builders import golden_json, golden_tensors

FEATURES = golden_tensors("frechet_inputs")
VALUES = golden_json("frechet_values")["values"]
MOMENTS = {name: Moments.of(FEATURES[name]) for name in "ABCD"}


def gaussian(mean: np.ndarray, covariance: np.ndarray, count: int = 1000) -> Moments:
    """Moments that have this mean and covariance."""
    return Moments(count, count * mean, (count - 1) * covariance + count * np.outer(mean, mean))


def rotation(width: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).standard_normal((width, width))).Q


def centred(features: torch.Tensor) -> np.ndarray:
    """Rows whose outer products sum to the covariance."""
    return ((features - features.mean(dim=0)) / (len(features) - 1) ** 0.5).numpy()


@pytest.mark.parametrize("routine", ["pytorch_fid", "dgm_eval_reps", "dgm_eval_efficient"])
def test_the_distance_equals_the_originals(routine: str) -> None:
    assert frechet_distance(MOMENTS["A"], MOMENTS["B"]) == pytest.approx(VALUES[f"AB_{routine}"], rel=1e-10)
    # The originals take the root of a singular, non-symmetric product here.
    expected = VALUES[f"CD_rank_deficient_{routine}"]
    assert frechet_distance(MOMENTS["C"], MOMENTS["D"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", "ABCD")
def test_equal_moments_have_distance_zero(name: str) -> None:
    assert frechet_distance(MOMENTS[name], MOMENTS[name]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("a", "b"), ["AB", "CD"])
def test_the_distance_is_symmetric(a: str, b: str) -> None:
    forth, back = frechet_distance(MOMENTS[a], MOMENTS[b]), frechet_distance(MOMENTS[b], MOMENTS[a])
    assert forth == pytest.approx(back, rel=1e-7)


def test_covariances_without_full_rank_stay_finite() -> None:
    few, fewer = Moments.of(torch.randn(3, 200)), Moments.of(torch.randn(2, 200))
    constant = Moments.of(torch.ones(5, 200))
    for a, b in ((few, fewer), (few, constant), (constant, constant)):
        assert np.isfinite(frechet_distance(a, b))


def test_one_dimension_has_the_closed_form() -> None:
    a, b = torch.randn(50, 1, dtype=torch.float64), 3 * torch.randn(70, 1, dtype=torch.float64) + 2
    expected = float((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(expected, rel=1e-10)


def test_a_shift_costs_its_squared_length_and_a_rotation_nothing() -> None:
    shift = torch.arange(12, dtype=torch.float64) / 10
    shifted = frechet_distance(MOMENTS["A"], Moments.of(FEATURES["A"] + shift))
    assert shifted == pytest.approx(float(shift @ shift), rel=1e-9)
    rotation = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64)).Q
    rotated = frechet_distance(Moments.of(FEATURES["A"] @ rotation), Moments.of(FEATURES["B"] @ rotation))
    assert rotated == pytest.approx(frechet_distance(MOMENTS["A"], MOMENTS["B"]), rel=1e-9)


def test_covariances_that_commute_have_the_closed_form() -> None:
    axes, a, b = rotation(5), np.array([4.0, 1.0, 0.25, 9.0, 0.0]), np.array([1.0, 1.0, 4.0, 0.0, 0.0])
    means = np.array([1.0, 2.0, 0.0, -1.0, 0.5]), np.zeros(5)
    expected = (means[0] ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    distance = frechet_distance(gaussian(means[0], axes * a @ axes.T), gaussian(means[1], axes * b @ axes.T))
    assert distance == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("a", "b"), ["AB", "CD", "DC"])
def test_it_is_the_distance_that_the_features_have_without_covariances(a: str, b: str) -> None:
    """tr (S_a S_b)^(1/2) is the nuclear norm of X_a X_b^T for centred features: nothing is squared, nothing clipped."""
    x, y = centred(FEATURES[a]), centred(FEATURES[b])
    difference = (FEATURES[a].mean(dim=0) - FEATURES[b].mean(dim=0)).numpy()
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    expected = difference @ difference + (x**2).sum() + (y**2).sum() - 2 * root
    assert frechet_distance(MOMENTS[a], MOMENTS[b]) == pytest.approx(expected, rel=1e-11)


def test_fewer_samples_than_dimensions_are_named_with_the_bias_they_bring() -> None:
    notes = frechet(MOMENTS["C"], MOMENTS["D"]).notes
    assert [note.partition(",")[0] for note in notes] == [
        "samples: 40 for 48 dimensions",
        "reference: 30 for 48 dimensions",
    ]
    assert all("biased upwards" in note for note in notes)
    assert frechet(MOMENTS["A"], MOMENTS["B"]).notes == ()
    assert len(frechet(MOMENTS["C"], gaussian(np.zeros(48), np.eye(48))).notes) == 1


def test_few_samples_do_bias_the_distance_upwards() -> None:
    reference, generator = gaussian(np.zeros(8), np.eye(8)), torch.Generator().manual_seed(0)
    few, many = (
        np.mean([frechet_distance(Moments.of(torch.randn(n, 8, generator=generator)), reference) for _ in range(40)])
        for n in (8, 80)
    )
    assert few > 5 * many > 0


def test_a_nearly_singular_covariance_is_finite_and_says_so() -> None:
    repeated = torch.cat([FEATURES["A"], FEATURES["A"][:, :1] * (1 + 1e-14)], dim=1)
    score = frechet(Moments.of(repeated), Moments.of(repeated))
    assert score.value == pytest.approx(0, abs=1e-9)
    expected = "the covariance of 300 is singular to working precision (rank 12 of 13)"
    assert [expected in note for note in score.notes] == [True, True]
    noisy = torch.cat([FEATURES["A"], FEATURES["A"][:, :1] + 1e-3 * FEATURES["A"][:, 1:2].roll(1, 0)], dim=1)
    assert frechet(Moments.of(noisy), Moments.of(noisy)).notes == ()


def test_a_stream_of_batches_has_the_distance_of_the_whole() -> None:
    accumulator = FrechetAccumulator.empty(12)
    for rows in torch.arange(300).split(32):
        accumulator = accumulator.update(Batch(rows, FEATURES["A"][rows]))
    score = accumulator.compute(MOMENTS["B"])["frechet_distance"]
    assert score.value == pytest.approx(VALUES["AB_pytorch_fid"], rel=1e-10)


def test_the_frames_of_videos_are_samples() -> None:
    videos = FEATURES["A"].reshape(60, 5, 12)
    accumulator = FrechetAccumulator.empty(12).update(Batch(torch.arange(60), videos))
    assert accumulator.count == 300
    assert accumulator.compute(MOMENTS["B"])["frechet_distance"].value == pytest.approx(
        VALUES["AB_pytorch_fid"], rel=1e-10
    )


def test_one_sample_has_no_covariance() -> None:
    one = FrechetAccumulator.empty(12).update(Batch(torch.arange(1), FEATURES["A"][:1]))
    with pytest.raises(ValueError, match="a covariance needs two samples, got 1"):
        one.compute(MOMENTS["B"])


def test_counts_are_copies_of_the_features() -> None:
    counts = torch.tensor([[1.0, 0.0], [1.0, 3.0], [1.0, 1.0]]).repeat(100, 1)
    ones, drawn = weighted_frechet_distances(FEATURES["A"], MOMENTS["B"], counts)
    assert float(ones) == pytest.approx(VALUES["AB_pytorch_fid"], rel=1e-10)
    copies = FEATURES["A"].repeat_interleave(counts[:, 1].long(), dim=0)
    assert float(drawn) == pytest.approx(frechet_distance(Moments.of(copies), MOMENTS["B"]), rel=1e-10)
