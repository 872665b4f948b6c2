"""Rotary positions against FLUX, diffusers and LightningDiT, and their invariances (numerics 5.5)."""

from __future__ import annotations

import pytest
import torch

from dfm_core.models.rope import apply_rope, grid_rotation, rope_rotation
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("rope")


@pytest.mark.parametrize(("source", "expected"), [("q", "flux_q"), ("k", "flux_k"), ("q", "diffusers_q")])
def test_rotation_equals_the_originals_in_2d(source: str, expected: str) -> None:
    rotation = rope_rotation(GOLDEN["ids_2d"], GOLDEN["axes_dim"].tolist())
    torch.testing.assert_close(apply_rope(GOLDEN[source], rotation), GOLDEN[expected], rtol=0, atol=1e-5)


def test_rotation_equals_flux_in_3d() -> None:
    rotation = rope_rotation(GOLDEN["ids_3d"], GOLDEN["axes_dim_3d"].tolist())
    torch.testing.assert_close(apply_rope(GOLDEN["q_3d"], rotation), GOLDEN["flux_q_3d"], rtol=0, atol=1e-5)


def test_a_grid_splits_the_head_in_two_like_lightningdit() -> None:
    rotated = apply_rope(GOLDEN["q"], grid_rotation(3, 24))
    torch.testing.assert_close(rotated, GOLDEN["lightningdit_q"], rtol=0, atol=1e-5)


def test_attention_sees_only_differences_of_positions() -> None:
    query, key = torch.randn(2, 1, 1, 9, 24, dtype=torch.float64)
    positions = torch.stack(torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"), dim=-1).reshape(-1, 2)
    scores = []
    for shift in (torch.tensor([0, 0]), torch.tensor([5, -2])):
        rotation = rope_rotation(positions + shift, (12, 12)).double()
        rotated_query, rotated_key = (
            torch.view_as_real(
                torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.view_as_complex(rotation)
            ).flatten(-2)
            for x in (query, key)
        )
        torch.testing.assert_close(rotated_query.float(), apply_rope(query.float(), rotation.float()))
        scores.append(rotated_query @ rotated_key.transpose(-1, -2))
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-5)


def test_rotation_keeps_lengths_and_leaves_the_origin_alone() -> None:
    x, rotation = torch.randn(2, 3, 16, 8), grid_rotation(4, 8)
    rotated = apply_rope(x, rotation)
    torch.testing.assert_close(rotated.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(rotated[..., 0, :], x[..., 0, :])
    assert not torch.allclose(rotated[..., 1, :], x[..., 1, :])


def test_rotation_keeps_the_type_of_its_input() -> None:
    assert apply_rope(torch.randn(1, 1, 4, 8, dtype=torch.bfloat16), grid_rotation(2, 8)).dtype == torch.bfloat16


def test_an_odd_axis_width_is_refused() -> None:
    with pytest.raises(AssertionError, match="axis width 3 must be even"):
        rope_rotation(torch.zeros(1, 1), (3,))
