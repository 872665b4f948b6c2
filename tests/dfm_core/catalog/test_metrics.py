"""The catalog of metrics."""

from __future__ import annotations

from dfm_core.catalog.metrics import METRICS, STATISTICS, networks_of, reference_outputs, references_of, settings_of
from dfm_core.config import EvaluationConfig
from dfm_core.metrics.protocol import settings_text


def test_every_card_is_filed_under_its_own_name() -> None:
    assert all(card.name == name for name, card in METRICS.items())


def test_titles_are_unique() -> None:
    assert len({card.title for card in METRICS.values()}) == len(METRICS)


def test_every_metric_is_a_score_that_its_statistic_computes() -> None:
    rows = {(card.statistic, card.score) for card in METRICS.values()}
    known = {(name, name) for name in STATISTICS if name != "neighbours"}
    assert rows == known | {("neighbours", score) for score in ("precision", "recall", "density", "coverage")}


def test_only_settings_that_a_metric_reads_are_in_its_protocol() -> None:
    evaluation = EvaluationConfig(num_neighbours=7, inception_splits=3)
    assert settings_text("coverage", evaluation) == "num_neighbours=7"
    assert settings_text("inception_score", evaluation) == "inception_splits=3"
    assert settings_text("fid", evaluation) == ""
    assert settings_of(["fid", "kid", "coverage"]) == ("kernel_subset_size", "kernel_subsets", "num_neighbours")


def test_a_metric_without_a_reference_needs_no_network_of_one() -> None:
    assert references_of(["fid", "inception_score", "fdd", "label_accuracy"]) == ("dinov2", "inception")
    assert networks_of(["fid", "inception_score", "label_accuracy"]) == ("inception", "lite0")


def test_a_reference_of_videos_knows_changes_from_frame_to_frame() -> None:
    own = {"block10": 112, "head": 1280}
    assert reference_outputs("lite0", {"block10": (9, 112), "head": (9, 1280)}) == own
    assert reference_outputs("lite0", {"block10": (9, 1, 112), "head": (9, 1, 1280)}) == own
    assert reference_outputs("lite0", {"block10": (9, 2, 112), "head": (9, 2, 1280)}) == own | {"block10_changes": 112}
    assert reference_outputs("i3d", {"logits": (9, 400)}) == {"logits": 400}
