"""Features of timesteps and positions against DiT and FLUX (numerics 5.4)."""

from __future__ import annotations

import pytest
import torch

from dfm_core.models.embeddings import sincos_positions, timestep_features
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("timestep_and_pos_embedding")


@pytest.mark.parametrize("width", [8, 256])
def test_timestep_features_equal_dit(width: int) -> None:
    features = timestep_features(GOLDEN["t"], width)
    # Angles reach 1000 rad, where one float32 step of the angle is 6e-5.
    torch.testing.assert_close(features, GOLDEN[f"dit_dim{width}"], rtol=0, atol=1e-4)
    small = GOLDEN["t"] <= 1
    torch.testing.assert_close(features[small], GOLDEN[f"dit_dim{width}"][small], rtol=0, atol=1e-6)


def test_timestep_features_equal_flux_with_its_factor() -> None:
    features = timestep_features(1000.0 * GOLDEN["flux_t"])
    torch.testing.assert_close(features, GOLDEN["flux_dim256_time_factor1000"], rtol=0, atol=1e-4)


def test_position_table_equals_dit() -> None:
    table = sincos_positions(32, 4)
    torch.testing.assert_close(table, GOLDEN["dit_pos_embed_dim32_grid4"].float(), rtol=0, atol=1e-7)


def test_position_table_puts_the_column_first() -> None:
    table = sincos_positions(16, 3).reshape(3, 3, 16)
    assert torch.equal(table[0, :, :8], table[2, :, :8])  # rows of one column share the first half
    assert torch.equal(table[:, 0, 8:], table[:, 2, 8:])
