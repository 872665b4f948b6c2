"""What metrics need of the data and of each other's settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dfm_core.catalog.datasets import DATASETS
from dfm_core.config import ExperimentConfig
from dfm_core.config.data import DataConfig, DataDescription
from dfm_core.config.rules import broken_rules
from tests.support.models import with_values

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
        (IMAGES, {"bootstrap_replicates": 19}, "bootstrap_replicates", "19 parts of the samples give no usable error"),
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


CLIPS = {
    "data.dataset": "moving_fashion",
    "decomposition.resolutions": (8, 16),
    "model.patch_sizes": (2, 4),
    "evaluation.metrics": ("fd_lite0_block10", "fd_lite0_changes", "fvd"),
}


@pytest.mark.parametrize(("frames", "wrong"), [(10, []), (9, ["fvd"]), (2, ["fvd"]), (1, ["fd_lite0_changes", "fvd"])])
def test_metrics_that_compare_frames_need_enough_of_them(
    frames: int, wrong: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "moving_fashion", replace(DATASETS["moving_fashion"], frames=frames))
    least = {"fd_lite0_changes": 2, "fvd": 10}
    assert broken(CLIPS) == [
        (
            "evaluation.metrics",
            f"{name} needs clips of {least[name]} frames or more, and moving_fashion's have {frames}",
        )
        for name in wrong
    ]


@pytest.mark.parametrize(("frames", "wrong"), [(17, 0), (9, 1)])
def test_frames_are_counted_as_they_are_measured_and_not_as_latents(frames: int, wrong: int) -> None:
    latent = 1 + (frames - 1) // 4
    found = DataDescription("f", "e", ("a", "b"), 50_000, 50_000, "r", resolution=64, channels=16, latent_frames=latent)
    data = DataConfig(dataset="own", autoencoder="vae", side=512, frames=frames, described=found)
    assert len(broken({**VIDEOS, "data": data})) == wrong
    assert broken({**VIDEOS}) == []  # 5 latent frames of clips that nobody described
