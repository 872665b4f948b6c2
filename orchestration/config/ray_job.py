"""Name of the environment variable that Ray sets in a job's driver."""

from __future__ import annotations

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this for the driver of a submitted job."""
