"""The Fréchet distance against pytorch-fid and dgm-eval, and what a squared distance must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dfm_core.metrics.scores import frechet as frechet_module
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.frechet import frechet, frechet_distance, weighted_frechet_distances
from dfm_core.metrics.scores.frechet_accumulator import FrechetAccumulator
from dfm_core.metrics.scores.moments import GaussianStatistics, Moments
from tests.support.models import golden_json, golden_tensors

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


def features_of(num_rows: int, width: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    """Positive, of correlated dimensions with spreads from 1 to `scale`."""
    z = torch.randn(num_rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (z + z.roll(1, dims=1) / 2).abs() * torch.logspace(0, np.log10(scale), width, dtype=torch.float64)


def distance_of_rows(x: torch.Tensor, y: torch.Tensor) -> float:
    """Without covariances: tr (S_a S_b)^(1/2) is the nuclear norm of X_a X_b^T for centred features."""
    difference = (x.mean(dim=0) - y.mean(dim=0)).numpy()
    a, b = centred(x), centred(y)
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(difference @ difference + (a**2).sum() + (b**2).sum() - 2 * root)


def published(moments: Moments) -> GaussianStatistics:
    """What a file with `mu` and `sigma` tells of them."""
    return GaussianStatistics(moments.mean, moments.covariance, None)


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
    expected = distance_of_rows(FEATURES[a], FEATURES[b])
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


@pytest.mark.parametrize(("a", "b"), ["AB", "CD", "DC"])
def test_statistics_without_their_sums_are_a_reference_too(a: str, b: str) -> None:
    expected, ones = frechet_distance(MOMENTS[a], MOMENTS[b]), torch.ones(len(FEATURES[a]), 1)
    assert frechet_distance(MOMENTS[a], published(MOMENTS[b])) == expected
    assert frechet(MOMENTS[a], published(MOMENTS[b])).value == expected
    resampled = weighted_frechet_distances(FEATURES[a], published(MOMENTS[b]), ones)
    assert float(resampled[0]) == pytest.approx(expected, rel=1e-9)
    rows = torch.arange(len(FEATURES[a]))
    accumulator = FrechetAccumulator.empty(FEATURES[a].shape[1]).update(Batch(rows, FEATURES[a]))
    score = accumulator.compute(published(MOMENTS[b]))["frechet_distance"]
    assert score.value == pytest.approx(expected, rel=1e-9)
    assert any(note.startswith("reference: the number of images") for note in score.notes)


def test_an_unknown_number_of_images_is_said_and_so_is_what_can_be_seen_without_it() -> None:
    unknown = "reference: the number of images behind it is unknown, and so is its share of the distance's bias"
    assert frechet(MOMENTS["A"], published(MOMENTS["B"])).notes == (unknown,)
    samples, *others = frechet(MOMENTS["C"], published(MOMENTS["D"])).notes
    assert samples.startswith("samples: 40 for 48 dimensions")
    singular = "reference: the covariance is singular to working precision (rank 29 of 48)"
    assert others == [unknown, f"{singular}; directions without variance count as exactly 0"]
    known = GaussianStatistics(MOMENTS["D"].mean, MOMENTS["D"].covariance, MOMENTS["D"].count)
    assert frechet(MOMENTS["C"], known).notes == frechet(MOMENTS["C"], MOMENTS["D"]).notes


def test_statistics_of_two_widths_are_refused() -> None:
    with pytest.raises(AssertionError, match=r"\[3\] and \[2, 2\] do not fit"):
        GaussianStatistics(np.zeros(3), np.eye(2), None)


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_spreads_of_any_range_and_order_cost_no_digits(scale: float, ascending: bool) -> None:
    """Products of two such covariances have eigenvalues from 1 to 1e16, of which the smallest matter too."""
    columns = torch.arange(30) if ascending else torch.arange(30).flip(0)
    x, y = (features_of(200 * n, 30, n, scale)[:, columns] for n in (1, 2))
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(distance_of_rows(x, y), rel=1e-11)
    resampled = weighted_frechet_distances(x, Moments.of(y), torch.ones(200, 1))
    assert float(resampled[0]) == pytest.approx(distance_of_rows(x, y), rel=1e-11)


def test_spreads_of_any_range_cost_no_digits_beside_a_dimension_without_variance() -> None:
    x, y = (torch.cat([features_of(200 * n, 30, n, scale=1e4), torch.ones(200 * n, 1)], dim=1) for n in (1, 2))
    score = frechet(Moments.of(x), Moments.of(y))
    assert score.value == pytest.approx(distance_of_rows(x, y), rel=1e-11)
    assert ["rank 30 of 31" in note for note in score.notes] == [True, True]
    resampled = weighted_frechet_distances(x, Moments.of(y), torch.ones(200, 1))
    assert float(resampled[0]) == pytest.approx(distance_of_rows(x, y), rel=1e-11)


CASES = {
    "full rank": (features_of(300, 40, 0), features_of(400, 40, 1, scale=3)),
    "more samples than two ranks": (features_of(120, 20, 0), features_of(400, 20, 1)),
    "spreads of 1 to 1000": (features_of(200, 30, 0, scale=1000), features_of(400, 30, 1, scale=1000)),
    "fewer rows drawn than dimensions, more rows": (features_of(60, 50, 0), features_of(400, 50, 1)),
    "fewer samples than dimensions": (features_of(40, 90, 0), features_of(400, 90, 1)),
    "fewer of both": (features_of(40, 90, 0), features_of(30, 90, 1)),
    "a small reference of many samples": (features_of(200, 50, 0), features_of(20, 50, 1)),
    "samples that repeat": (features_of(8, 30, 0).repeat(12, 1), features_of(400, 30, 1)),
    "samples that repeat, fewer than dimensions": (features_of(8, 90, 0).repeat(6, 1), features_of(400, 90, 1)),
    "dimensions that only the reference has": (
        features_of(300, 40, 0) * (torch.arange(40) >= 15),
        features_of(400, 40, 1),
    ),
    "spreads of 1000 to 1": (features_of(200, 30, 0, scale=1e-3) * 1000, features_of(400, 30, 1, scale=1e-3) * 1000),
    "far from the origin": (features_of(300, 40, 0) + 100, features_of(400, 40, 1) + 100),
    "float32": (features_of(300, 40, 0).float(), features_of(400, 40, 1).float()),
}


def drawn_counts(num_samples: int, num_replicates: int, seed: int) -> torch.Tensor:
    """How often each sample is drawn, with replacement, [N, R]."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(num_samples, (num_replicates, num_samples), generator=generator)
    return torch.stack([draw.bincount(minlength=num_samples) for draw in draws], dim=1).double()


@pytest.mark.parametrize("name", CASES)
def test_every_replicate_has_the_distance_of_its_rows(name: str) -> None:
    """Against the plain distance of the repeated rows, and against one that makes no covariance."""
    x, y = CASES[name]
    reference, counts = Moments.of(y), drawn_counts(len(x), 6, seed=3)
    found = weighted_frechet_distances(x, reference, counts)
    rows = [x.repeat_interleave(column.long(), dim=0) for column in counts.T]
    assert found.tolist() == pytest.approx([frechet_distance(Moments.of(drawn), reference) for drawn in rows], rel=1e-9)
    assert found.tolist() == pytest.approx([distance_of_rows(r.double(), y.double()) for r in rows], rel=1e-9)
    assert (found.dtype, found.shape) == (torch.float64, (6,))


@pytest.mark.parametrize("name", ["full rank", "fewer samples than dimensions", "float32"])
def test_the_size_of_blocks_changes_no_replicate(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = CASES[name]
    reference, counts = Moments.of(y), drawn_counts(len(x), 3, seed=4)
    whole = weighted_frechet_distances(x, reference, counts)
    monkeypatch.setattr(frechet_module, "_CHUNK_ROWS", 13)
    monkeypatch.setattr(frechet_module, "_BLOCK_COLUMNS", 7)
    torch.testing.assert_close(weighted_frechet_distances(x, reference, counts), whole, rtol=1e-11, atol=0)


def test_two_rows_or_a_reference_without_variance_have_a_distance() -> None:
    x, y = CASES["fewer samples than dimensions"]
    counts = torch.zeros(40, 2)
    counts[:2, 0], counts[5, 1] = 1, 40  # two rows; one row again and again
    two, one = weighted_frechet_distances(x, Moments.of(y), counts).tolist()
    assert two == pytest.approx(distance_of_rows(x[:2], y), rel=1e-9)
    assert one == pytest.approx(distance_of_rows(x[[5, 5]], y), rel=1e-9)
    alike = GaussianStatistics(y[0].numpy(), np.zeros((90, 90)), None)
    constant = weighted_frechet_distances(x, alike, torch.ones(40, 1))
    assert float(constant[0]) == pytest.approx(distance_of_rows(x, y[:1].repeat(5, 1)), rel=1e-9)


def test_replicates_that_have_no_distance_are_refused() -> None:
    with pytest.raises(ValueError, match="a covariance needs two samples, got 1"):
        weighted_frechet_distances(FEATURES["A"], MOMENTS["B"], torch.eye(300)[:, :2])
    spoilt = FEATURES["A"].clone()
    spoilt[4, 1] = torch.nan
    with pytest.raises(ValueError, match="features of 1 of 300 samples are not finite: 4"):
        weighted_frechet_distances(spoilt, MOMENTS["B"], torch.ones(300, 1))


def test_only_rows_that_were_drawn_enter_the_eigenvalue_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []
    original = torch.linalg.eigvalsh

    def spy(matrix: torch.Tensor) -> torch.Tensor:
        sides.append(len(matrix))
        return original(matrix)

    monkeypatch.setattr(torch.linalg, "eigvalsh", spy)
    for name, rank in (
        ("fewer samples than dimensions", 90),
        ("full rank", 40),
        ("a small reference of many samples", 19),
    ):
        x, y = CASES[name]
        counts = drawn_counts(len(x), 4, seed=5)
        weighted_frechet_distances(x, Moments.of(y), counts)
        assert sides[-4:] == [min(int((column > 0).sum()), rank) for column in counts.T]
