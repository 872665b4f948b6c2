"""Videos through planning and measuring: what enters digests, and what is made of frames."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dfm_core.config import ExperimentConfig
from dfm_core.data.catalog import DATASETS, Motion
from orchestration.tasks import dataset_identity, train_task
from tests.dfm_core.builders import with_values

VIDEO = {
    "data.dataset": "moving_fashion",
    "decomposition.resolutions": (8, 16),
    "model.size": "nano",
    "model.patch_sizes": (2, 4),
    "sampling.steps": (2, 1),
}


def video_config(**values: object) -> ExperimentConfig:
    """Names with two underscores in the place of a dot."""
    changed = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(ExperimentConfig(), {**VIDEO, **changed})


@pytest.mark.parametrize("change", [{"motion": Motion(side=12, max_speed=2.0)}, {"frames": 12}])
def test_how_clips_are_made_is_part_of_a_trainings_identity(
    change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = train_task(video_config(), "video", 10, (10,)).digest
    monkeypatch.setitem(DATASETS, "moving_fashion", replace(DATASETS["moving_fashion"], **change))
    assert train_task(video_config(), "video", 10, (10,)).digest != before


def test_still_images_keep_the_identity_that_they_had() -> None:
    assert set(dataset_identity(ExperimentConfig())) == {"dataset", "fingerprint", "resolution"}
