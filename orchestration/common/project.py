"""The directory of this project, whether checked out, installed or unpacked by a Ray job, and what came with it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IS_CHECKOUT = (ROOT / "pyproject.toml").is_file()
"""True if the project lies there by itself, not among other packages: only then it can go with a Ray job."""
SWEEPS_FOLDER = ROOT / "sweeps" if IS_CHECKOUT else ROOT / "orchestration" / "shipped_sweeps"
"""Folder of the sweeps that are shipped."""
_DISTRIBUTION = "dfm-experiments"


def home() -> Path:
    """Return the directory that sweep files and results are named from: the checkout, else the working directory."""
    return ROOT if IS_CHECKOUT else Path.cwd()


def version() -> str:
    """Return the version of the installed package; "unknown" in a job's copy on a node where it is not installed."""
    try:
        return installed_version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
