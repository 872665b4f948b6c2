"""The mark of a process inside a Ray job."""

from __future__ import annotations

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this for the driver of a submitted job."""
