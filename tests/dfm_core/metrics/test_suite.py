"""All metrics of a measurement together: the same numbers as each alone, from as little work as possible."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.catalog.metrics import METRICS, MetricName, Output
from dfm_core.config import EvaluationConfig
from dfm_core.metrics.errors import JACKKNIFE
from dfm_core.metrics.reference import Reference, ReferenceAccumulator, stored_rows
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.feature_store import FeatureStore
from dfm_core.metrics.scores.frechet import frechet_distance, weighted_frechet_distances
from dfm_core.metrics.scores.jackknife import Groups, jackknife_of_pairs
from dfm_core.metrics.scores.moments import GaussianStatistics, Moments
from dfm_core.metrics.scores.neighbours import neighbour_scores
from dfm_core.metrics.scores.wilson import share_error
from dfm_core.metrics.suite import MetricSuite

COUNT, CLASSES = 40, 3
BLOCK10, PROBE = Output("lite0", "block10"), Output("lite0", "class_scores")
GENERATOR = torch.Generator().manual_seed(5)
FEATURES = torch.randn(COUNT, 112, generator=GENERATOR)
SCORES = torch.randn(COUNT, CLASSES, generator=GENERATOR)
LABELS = torch.arange(COUNT) % CLASSES
REAL = 1.1 * torch.randn(300, 112, generator=GENERATOR) + 0.1
REFERENCES = {"lite0": Reference({"block10": Moments.of(REAL)}, {"block10": REAL})}
ALL: tuple[MetricName, ...] = (
    "fd_lite0_block10",
    "kd_lite0",
    "precision_lite0",
    "recall_lite0",
    "label_accuracy",
    "class_score",
)
EVALUATION = EvaluationConfig(
    bootstrap_replicates=20, kernel_subsets=2, kernel_subset_size=20, inception_splits=2, num_neighbours=3
)


def suite(*metrics: MetricName, evaluation: EvaluationConfig = EVALUATION) -> MetricSuite:
    return MetricSuite(metrics or ALL, evaluation, COUNT, CLASSES)


def batches(rows: Tensor) -> dict[Output, Batch]:
    return {BLOCK10: Batch(rows, FEATURES[rows]), PROBE: Batch(rows, SCORES[rows], LABELS[rows])}


def kept(one: MetricSuite, parts: list[Tensor]) -> dict[Output, FeatureStore]:
    found = {output: FeatureStore.empty() for output in one.stored_outputs}
    for rows in parts:
        found = {output: features.update(batches(rows)[output]) for output, features in found.items()}
    return found


def values(one: MetricSuite, parts: list[Tensor]) -> dict[MetricName, tuple[float, float | None]]:
    partials = [one.update(one.empty(), batches(rows)) for rows in parts]
    merged = partials[0]
    for partial in partials[1:]:
        merged = one.merge(merged, partial)
    scores = one.compute(merged, kept(one, parts), REFERENCES)
    return {
        name: (score.value, None if score.error is None else score.error.standard_error)
        for name, score in scores.items()
    }


def test_every_number_and_error_is_that_of_the_functions_behind_it() -> None:
    found = values(suite(), [torch.arange(COUNT)])
    moments = Moments.of(REAL)
    assert found["fd_lite0_block10"][0] == pytest.approx(frechet_distance(Moments.of(FEATURES), moments), rel=1e-9)
    groups = Groups(COUNT, 10)
    error = jackknife_of_pairs(weighted_frechet_distances(FEATURES, moments, groups.counts()), groups.sizes)
    assert found["fd_lite0_block10"][1] == pytest.approx(float(error.influences.norm()), rel=1e-9)
    neighbours = neighbour_scores(FEATURES, REAL, 3, torch.ones(COUNT, 1))
    assert found["precision_lite0"][0] == float(neighbours["precision"][0])
    assert found["recall_lite0"][0] == float(neighbours["recall"][0])
    hits = (SCORES.argmax(dim=1) == LABELS).double()
    assert found["label_accuracy"][0] == pytest.approx(float(hits.mean()))
    share = share_error(float(hits.mean()), float(hits.var(correction=0) / COUNT), COUNT)
    assert found["label_accuracy"][1] == pytest.approx((share.interval[1] - share.interval[0]) / 2 / 1.96, rel=1e-4)


def test_parts_in_any_order_give_what_the_whole_gives() -> None:
    whole = values(suite(), [torch.arange(COUNT)])
    parts = values(suite(), [torch.arange(25, COUNT), torch.arange(0, 7), torch.arange(7, 25)])
    for name, (value, error) in whole.items():
        assert parts[name] == (pytest.approx(value, rel=1e-9), pytest.approx(error, rel=1e-6))


def test_metrics_of_one_statistic_share_its_accumulator() -> None:
    assert suite("precision_lite0", "recall_lite0", "density_lite0").keys == ((BLOCK10, "neighbours"),)


def test_features_are_kept_only_if_somebody_needs_them() -> None:
    without = replace(EVALUATION, bootstrap_replicates=0)
    assert suite("fd_lite0_block10", "class_score", "label_accuracy", evaluation=without).stored_outputs == ()
    assert suite("fd_lite0_block10", "kd_lite0", evaluation=without).stored_outputs == (BLOCK10,)
    assert suite("label_accuracy").stored_outputs == ()  # its error has a closed form
    assert suite("fd_lite0_block10").stored_outputs == (BLOCK10,)


def test_without_replicates_there_is_no_error_that_needs_features() -> None:
    found = values(suite(evaluation=replace(EVALUATION, bootstrap_replicates=0)), [torch.arange(COUNT)])
    assert found["fd_lite0_block10"][1] is None
    assert found["label_accuracy"][1] is not None


def test_frames_of_a_video_are_left_out_together() -> None:
    """Two equal frames a video: the error is that of the videos, not that of twice as many independent frames."""
    one = MetricSuite(("fd_lite0_block10",), EVALUATION, COUNT, CLASSES)
    twice = {BLOCK10: Batch(torch.arange(COUNT), FEATURES[:, None].expand(-1, 2, -1))}
    partial = one.update(one.empty(), twice)
    kept_twice = {BLOCK10: FeatureStore.empty().update(twice[BLOCK10])}
    score = one.compute(partial, kept_twice, REFERENCES)["fd_lite0_block10"]
    alone = suite("fd_lite0_block10")
    rows = torch.arange(COUNT)
    single = alone.compute(alone.update(alone.empty(), batches(rows)), kept(alone, [rows]), REFERENCES)
    expected = single["fd_lite0_block10"].error
    assert score.error is not None
    assert expected is not None
    # The covariance of the doubled rows has another divisor.
    assert score.error.standard_error == pytest.approx(expected.standard_error, rel=0.05)


def test_statistics_from_a_file_say_that_they_know_no_single_images() -> None:
    statistics = GaussianStatistics(REAL.double().mean(dim=0).numpy(), Moments.of(REAL).covariance, None)
    references = {"lite0": Reference({"block10": statistics})}
    one = suite("fd_lite0_block10")
    rows = torch.arange(COUNT)
    partial = one.update(one.empty(), batches(rows))
    score = one.compute(partial, kept(one, [rows]), references)["fd_lite0_block10"]
    assert any("unknown" in note for note in score.notes)
    with pytest.raises(ValueError, match="a file know no single images"):
        suite("kd_lite0").compute({}, kept(suite("kd_lite0"), [rows]), references)


def test_a_sample_that_came_twice_is_named() -> None:
    one = suite("kd_lite0")
    with pytest.raises(ValueError, match="1 samples came twice: 3"):
        one.compute({}, kept(one, [torch.arange(COUNT), torch.tensor([3])]), REFERENCES)


def test_a_reference_is_the_same_from_parts_and_through_a_file() -> None:
    width = FEATURE_NETWORKS["dinov2"].outputs["cls"]
    images = torch.randn(6, width, generator=GENERATOR)
    empty = ReferenceAccumulator.empty(FEATURE_NETWORKS["dinov2"].outputs, 6, "cpu")
    parts = [empty.update({"cls": Batch(rows, images[rows])}) for rows in (torch.arange(4, 6), torch.arange(0, 4))]
    found = Reference.from_arrays(parts[0].merge(parts[1]).compute().arrays())
    assert frechet_distance(found.moments["cls"], Moments.of(images)) == pytest.approx(0.0, abs=1e-9)  # type: ignore[arg-type]
    torch.testing.assert_close(found.features["cls"], images, rtol=0, atol=0)


def test_a_large_reference_keeps_ten_thousand_images_drawn_from_all_of_it() -> None:
    rows = stored_rows(1_000_000)
    assert len(set(rows.tolist())) == 10_000
    assert rows[5_000] == pytest.approx(500_000, rel=0.05)
    assert len(stored_rows(2_000)) == 2_000


def test_every_metric_reads_an_output_that_a_suite_knows_the_width_of() -> None:
    for name, card in METRICS.items():
        assert MetricSuite((name,), EVALUATION, COUNT, CLASSES).sizes(card.output).width > 0


def test_the_error_of_a_mean_over_subsets_holds_their_spread() -> None:
    rows = torch.arange(COUNT)
    one = suite("kd_lite0")
    score = one.compute({}, kept(one, [rows]), REFERENCES)["kd_lite0"]
    assert score.spread is not None
    assert score.error is not None
    assert score.error.apart == pytest.approx(score.spread / 2**0.5, rel=1e-9)


def test_a_share_of_nothing_has_an_error() -> None:
    far = {"lite0": Reference({"block10": Moments.of(REAL)}, {"block10": REAL + 1000})}
    one, rows = suite("precision_lite0"), torch.arange(COUNT)
    score = one.compute({}, kept(one, [rows]), far)["precision_lite0"]
    assert score.value == 0.0
    assert score.error is not None
    assert score.error.standard_error == pytest.approx(1.96 / 2 / COUNT, rel=0.1)
    assert score.error.interval is not None
    assert score.error.interval[0] == pytest.approx(0.0, abs=1e-12)


def test_a_bias_is_estimated_of_a_distance_of_full_rank_alone() -> None:
    rows = torch.arange(COUNT)
    one = suite("fd_lite0_block10", "class_score")
    scores = one.compute(one.update(one.empty(), batches(rows)), kept(one, [rows]), REFERENCES)
    distance, classes = scores["fd_lite0_block10"].error, scores["class_score"].error
    assert distance is not None
    assert classes is not None
    assert (distance.method, distance.bias) == (JACKKNIFE, None)  # 40 samples for 112 dimensions
    assert classes.bias is not None


def test_labels_in_turn_are_those_of_generated_samples_alone() -> None:
    balanced = replace(EVALUATION, label_sampling="balanced")
    sizes = [
        MetricSuite(ALL, evaluation, COUNT, CLASSES, generated).sizes(BLOCK10).num_labels
        for evaluation, generated in ((balanced, True), (balanced, False), (EVALUATION, True))
    ]
    assert sizes == [CLASSES, 1, 1]
