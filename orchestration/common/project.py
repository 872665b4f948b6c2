"""The directory of this project, whether checked out, installed or unpacked by a Ray job."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
