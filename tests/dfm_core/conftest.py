"""Settings of all tests of `dfm_core`: one thread, and hypothesis that draws the same examples every time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

settings.register_profile("dfm_core", deadline=None, derandomize=True, database=None)
settings.load_profile("dfm_core")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws from torch's global generator does not depend on the tests before it."""
    torch.manual_seed(0)
