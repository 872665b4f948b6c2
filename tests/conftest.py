"""For every test: the site file of whoever runs them is not theirs."""

from __future__ import annotations

import os

from orchestration.spec.layers import OVERLAY_VARIABLE, SITE_VARIABLE

os.environ[SITE_VARIABLE] = os.environ[OVERLAY_VARIABLE] = ""
