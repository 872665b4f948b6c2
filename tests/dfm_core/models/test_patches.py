"""Token order and feature order against DiT's patch embedding and unpatchify (numerics 5.3)."""

from __future__ import annotations

import pytest
import torch

from dfm_core.models.patches import patchify, unpatchify
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("patchify_orders")


@pytest.mark.parametrize("original", ["patchembed_identity_tokens", "flux_pack"])
def test_tokens_are_ordered_channel_row_column(original: str) -> None:
    assert torch.equal(patchify(GOLDEN["x"], 2), GOLDEN[original])


def test_outputs_are_ordered_row_column_channel() -> None:
    assert torch.equal(unpatchify(GOLDEN["tokens"], 2, channels=8), GOLDEN["dit_unpatchify"])


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_unpatchify_inverts_patchify_once_features_are_reordered(patch: int) -> None:
    image = torch.randn(2, 3, 8, 8)
    tokens = patchify(image, patch).unflatten(-1, (3, patch, patch)).movedim(2, -1).flatten(2)
    assert torch.equal(unpatchify(tokens, patch, channels=3), image)


def test_patchify_with_a_linear_map_is_a_strided_convolution() -> None:
    image, weight = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 4, 4)
    tokens = torch.nn.functional.linear(patchify(image, 4), weight.flatten(1))
    convolved = torch.conv2d(image, weight, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens, convolved, rtol=0, atol=1e-4)


def test_tokens_that_are_not_a_square_are_refused() -> None:
    with pytest.raises(AssertionError, match="6 tokens are not 1 square grid"):
        unpatchify(torch.zeros(1, 6, 4), 2, channels=1)
