"""ray_cluster.yaml is what `ray up` takes."""

from __future__ import annotations

from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[1]


def test_the_cluster_file_fits_rays_own_schema() -> None:
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    validate_config(prepare_config(config))
    for start in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert any("source ~/.dfm_environment" in command for command in config[start])
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
