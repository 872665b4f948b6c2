"""Maps with weights per stage: each group of a batch by its own matrix (numerics 6)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from dfm_core.models.linear import LoraLinear, SpecializedEmbedding, SpecializedLinear, by_group
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("lora_and_pattention")
GROUPS = (2, 0, 3)
"""Samples of three stages; nobody drew the second."""
STAGES = torch.tensor([0, 0, 2, 2, 2])


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 4, 6)


def randomized(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()


def test_a_low_rank_addition_equals_flux() -> None:
    down, up = GOLDEN["A"], GOLDEN["B"]
    adapted = LoraLinear(6, 5, num_stages=2, rank=3, alpha=3 * GOLDEN["scale"].item())
    randomized(adapted)
    with torch.no_grad():
        adapted.weight.copy_(GOLDEN["W"])
        adapted.bias.copy_(GOLDEN["b"])
        adapted.down[1], adapted.up[1] = down, up
    torch.testing.assert_close(adapted(GOLDEN["x"], (0, 4)), GOLDEN["flux_linear_lora_out"], rtol=0, atol=1e-5)
    assert not torch.allclose(adapted(GOLDEN["x"], (4, 0)), GOLDEN["flux_linear_lora_out"], atol=0.1)


@pytest.mark.parametrize("rank", [1, 3, 50])
@torch.no_grad()
def test_a_low_rank_addition_is_added_to_the_matrix(x: Tensor, rank: int) -> None:
    adapted = LoraLinear(6, 7, num_stages=3, rank=rank, alpha=8.0)
    randomized(adapted)
    found = adapted(x, GROUPS)
    for i, q in enumerate(STAGES.tolist()):
        merged = adapted.weight + 8.0 / rank * adapted.up[q] @ adapted.down[q]
        torch.testing.assert_close(found[i], linear(x[i], merged, adapted.bias), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 4, 6])
@torch.no_grad()
def test_a_high_rank_reaches_any_matrix_of_a_stage_and_a_low_one_the_nearest(rank: int) -> None:
    # Eckart-Young: what rank r cannot reach is the rest of the singular values.
    special = SpecializedLinear(6, 7, num_stages=1)
    randomized(special)
    special.stage_bias[0] = special.bias
    adapted = LoraLinear(6, 7, num_stages=1, rank=rank, alpha=16.0)
    left, values, right = torch.linalg.svd((special.stage_weight[0] - special.weight) / 2, full_matrices=False)
    adapted.weight.copy_(special.weight)
    adapted.bias.copy_(special.bias)
    adapted.up[0], adapted.down[0] = left[:, :rank] * values[:rank], right[:rank] / adapted.scale
    identity = torch.eye(6)
    missing = (special(identity, (6,)) - adapted(identity, (6,))).norm()
    torch.testing.assert_close(missing, values[rank:].norm(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_specialised_map_averages_common_and_own_weights(x: Tensor) -> None:
    special = SpecializedLinear(6, 7, num_stages=3)
    randomized(special)
    found = special(x, GROUPS)
    for i, q in enumerate(STAGES.tolist()):
        weight = (special.weight + special.stage_weight[q]) / 2
        bias = (special.bias + special.stage_bias[q]) / 2
        torch.testing.assert_close(found[i], linear(x[i], weight, bias), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_specialised_table_averages_common_and_own_rows() -> None:
    table, labels = SpecializedEmbedding(4, 8, num_stages=3), torch.tensor([3, 1, 1, 0, 3])
    randomized(table)
    for found, row, q in zip(table(labels, STAGES), labels, STAGES, strict=True):
        assert torch.equal(found, (table.weight[row] + table.stage_weight[q, row]) / 2)


def test_groups_must_cover_the_batch(x: Tensor) -> None:
    with pytest.raises(AssertionError, match=r"groups \(2, 0, 2\) do not add up to a batch of 5"):
        by_group(x, (2, 0, 2), lambda part, _: part)
