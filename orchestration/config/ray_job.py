"""The environment variable that Ray sets in a job's driver."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this for the driver of a submitted job."""


def variables_of_job(environment: Mapping[str, str]) -> Collection[str]:
    """Return the names of the variables that the job itself sets for its workers."""
    runtime_env = json.loads(environment[JOB_VARIABLE]).get("runtime_env") or {}
    return tuple(runtime_env.get("env_vars") or ())
