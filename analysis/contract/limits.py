"""Limits that planning and analysis must share."""

from __future__ import annotations

EQUAL_COMPUTE_PERCENT = 1
"""Rows of a part whose training FLOPs differ by no more than this have equal compute."""
