"""Standard errors: closed forms, and the spread over sets drawn anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from dfm_core.metrics.bootstrap import Statistic, resampling_counts, standard_errors
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.frechet import frechet_distance, weighted_frechet_distances
from dfm_core.metrics.scores.inception_score import equal_splits, weighted_inception_scores
from dfm_core.metrics.scores.kernel_distance import weighted_mmd2
from dfm_core.metrics.scores.mean_score import MeanScoreAccumulator, cosines
from dfm_core.metrics.scores.moments import GaussianStatistics, Moments
from dfm_core.metrics.scores.neighbours import weighted_neighbour_scores

COUNT, WIDTH = 100, 3
REFERENCE = torch.randn(150, WIDTH, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
METRICS: dict[str, Callable[[Tensor, Tensor], dict[str, Tensor]]] = {
    "frechet": lambda x, counts: {"value": weighted_frechet_distances(x, Moments.of(REFERENCE), counts)},
    "inception_score": lambda x, counts: {"value": weighted_inception_scores(3 * x, equal_splits(COUNT, 2), counts)},
    "kernel_distance": lambda x, counts: {"value": weighted_mmd2(x, REFERENCE, counts)},
    "neighbours": lambda x, counts: weighted_neighbour_scores(x, REFERENCE, 5, counts),
}


def samples(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.8 * torch.randn(COUNT, WIDTH, generator=generator, dtype=torch.float64) + 0.3


def mean_of(values: Tensor) -> Statistic:
    return lambda counts: {"mean": counts.T @ values / len(values)}


def test_every_replicate_has_as_many_samples_and_its_own_draw() -> None:
    counts = resampling_counts(50, 8, seed=1)
    assert counts.shape == (50, 8)
    assert counts.sum(dim=0).tolist() == [50.0] * 8
    assert len({tuple(column.tolist()) for column in counts.T}) == 8
    assert torch.equal(counts[:, :3], resampling_counts(50, 3, seed=1))
    assert not torch.equal(counts, resampling_counts(50, 8, seed=2))


def test_samples_are_drawn_evenly() -> None:
    counts = resampling_counts(20, 2000, seed=0)
    torch.testing.assert_close(counts.mean(dim=1), torch.ones(20, dtype=torch.float64), rtol=0, atol=0.1)
    assert float(counts.var()) == pytest.approx(0.95, abs=0.05)  # binomial: N (1/N) (1 - 1/N)


def test_the_error_of_a_mean_is_the_closed_form() -> None:
    values = samples(0)[:, 0]
    found = standard_errors(mean_of(values), COUNT, num_replicates=4000)["mean"]
    assert found == pytest.approx(float(values.std(correction=0)) / math.sqrt(COUNT), rel=0.04)


def test_the_error_of_clipsim_and_of_accuracy_is_that_of_their_accumulators() -> None:
    videos = Batch(torch.arange(COUNT), samples(1), samples(2))
    classes = (torch.arange(COUNT) * 7) % WIDTH
    labelled = Batch(torch.arange(COUNT), samples(1), classes)
    hit = (labelled.features.argmax(dim=1) == classes).double()
    for name, batch, values in (("clip_similarity", videos, cosines(videos)), ("label_accuracy", labelled, hit)):
        closed = MeanScoreAccumulator.empty(name).update(batch).compute()[name].standard_error  # type: ignore[arg-type]
        found = standard_errors(mean_of(values), COUNT, num_replicates=2000)["mean"]
        assert found == pytest.approx(closed, rel=0.05)


@pytest.mark.parametrize("metric", METRICS)
def test_the_error_is_the_spread_over_sets_drawn_anew(metric: str) -> None:
    """Over 150 sets of samples; the mean of four bootstraps, each of one set."""
    compute, ones = METRICS[metric], torch.ones(COUNT, 1, dtype=torch.float64)
    drawn = [compute(samples(seed), ones) for seed in range(150)]
    bootstraps = [standard_errors(partial(compute, samples(1000 + seed)), COUNT, 60, seed) for seed in range(4)]
    for name in drawn[0]:
        spread = float(torch.cat([values[name] for values in drawn]).std())
        mean = sum(errors[name] for errors in bootstraps) / len(bootstraps)
        assert 0.65 < mean / spread < 1.5, (name, mean, spread)


@pytest.mark.parametrize(("width", "rows_per_sample"), [(WIDTH, 1), (130, 1), (WIDTH, 4), (130, 4)])
def test_the_error_of_a_distance_is_the_deviation_of_the_distances_of_drawn_rows(
    width: int, rows_per_sample: int
) -> None:
    """Each replicate measured for itself, from its own rows; also with fewer rows than dimensions."""
    generator = torch.Generator().manual_seed(5)
    rows, others = (torch.randn(n, width, generator=generator, dtype=torch.float64) for n in (COUNT, 150))
    moments = Moments.of(others)
    reference = GaussianStatistics(moments.mean, moments.covariance, None)
    num_samples = COUNT // rows_per_sample
    drawn = []
    for counts in resampling_counts(num_samples, 12, seed=2).T:
        samples = torch.arange(num_samples).repeat_interleave(counts.long())
        frames = rows.reshape(num_samples, rows_per_sample, width)[samples].flatten(0, 1)
        drawn.append(frechet_distance(Moments.of(frames), reference))
    found = standard_errors(
        lambda counts: {"fid": weighted_frechet_distances(rows, reference, counts)}, num_samples, 12, 2, rows_per_sample
    )
    assert found["fid"] == pytest.approx(float(torch.tensor(drawn, dtype=torch.float64).std()), rel=1e-8)


def test_frames_of_a_video_are_drawn_together() -> None:
    """Frames that are all alike tell no more than one: drawn one by one, the error would be half."""
    values = samples(0)[:, 0]
    frames = values.repeat_interleave(4)
    found = standard_errors(mean_of(frames), COUNT, num_replicates=500, rows_per_sample=4)
    assert found == pytest.approx(standard_errors(mean_of(values), COUNT, num_replicates=500), rel=1e-9)


def test_too_few_samples_or_replicates_are_refused() -> None:
    with pytest.raises(ValueError, match="a standard error needs two samples and two replicates, got 1, 200"):
        standard_errors(mean_of(torch.ones(1)), 1)
    with pytest.raises(ValueError, match="a standard error needs two samples and two replicates, got 5, 1"):
        standard_errors(mean_of(torch.ones(5)), 5, num_replicates=1)


def test_the_deviation_over_replicates_is_the_unbiased_one() -> None:
    found = standard_errors(lambda _: {"given": torch.tensor([1.0, 3.0])}, COUNT, num_replicates=2)
    assert found == {"given": pytest.approx(math.sqrt(2))}
