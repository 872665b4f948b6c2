"""What metrics need of the data and of each other's settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dfm_core.config import ExperimentConfig
from dfm_core.config_rules import broken_rules
from dfm_core.data.catalog import DATASETS
from tests.dfm_core.builders import with_values

IMAGES = {"model.patch_sizes": (2, 4)}
VIDEOS = {
    "data.dataset": "kinetics512_cogvideox",
    "decomposition.resolutions": (32, 64),
    "model.patch_sizes": (1, 2),
    "evaluation.metrics": ("fvd", "frame_fid", "fdd"),
}


def broken(base: dict[str, Any], **values: Any) -> list[tuple[str, str]]:
    changed = {f"evaluation.{key}": value for key, value in values.items()}
    return broken_rules(with_values(ExperimentConfig(), {**base, **changed}))


def test_the_defaults_break_nothing() -> None:
    assert broken(IMAGES) == []
    assert broken(VIDEOS) == []


@pytest.mark.parametrize(
    ("base", "values", "key", "message"),
    [
        (IMAGES, {"metrics": ("fvd",)}, "metrics", "fvd does not measure images"),
        (IMAGES, {"metrics": ("fd_lite0_changes",)}, "metrics", "fd_lite0_changes does not measure images"),
        (VIDEOS, {"metrics": ("fid",)}, "metrics", "fid does not measure videos"),
        (VIDEOS, {"metrics": ("clip_similarity",)}, "metrics", "classes have no names"),
        (IMAGES, {"bootstrap_replicates": 1}, "bootstrap_replicates", "has no spread"),
        (
            IMAGES,
            {"metrics": ("kd_lite0",), "num_samples": 300},
            "kernel_subset_size",
            "1000 must be from 2 to 300: there are 300 samples and 2000 real images",
        ),
        (
            IMAGES,
            {"metrics": ("kd_lite0",), "kernel_subset_size": 3000},
            "kernel_subset_size",
            "3000 must be from 2 to 2000",
        ),
        (IMAGES, {"metrics": ("recall_lite0",), "num_samples": 5}, "num_neighbours", "more samples and real images"),
        (
            IMAGES,
            {"metrics": ("class_score",), "num_samples": 5},
            "inception_splits",
            "10 splits of 5 samples are empty",
        ),
        (IMAGES, {"metrics": ("clip_similarity",), "caption": "a photo"}, "caption", "must hold {} once"),
    ],
)
def test_what_does_not_fit_is_named(base: dict[str, Any], values: dict[str, Any], key: str, message: str) -> None:
    assert any(where == f"evaluation.{key}" and message in why for where, why in broken(base, **values))


def test_settings_that_no_metric_reads_break_nothing() -> None:
    assert broken(IMAGES, num_samples=4, kernel_subset_size=10**6, caption="no place") == []


def test_videos_of_one_frame_have_no_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "kinetics512_cogvideox", replace(DATASETS["kinetics512_cogvideox"], frames=1))
    (problem,) = broken(VIDEOS, metrics=("fd_lite0_changes", "fdd"))
    assert problem == (
        "evaluation.metrics",
        "fd_lite0_changes needs two frames, and kinetics512_cogvideox's videos have one",
    )
