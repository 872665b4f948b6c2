"""One network per stage: each sample is served by its own (paper, appendix F)."""

from __future__ import annotations

import pytest
import torch

from dfm_core.models.experts import StageExperts
from tests.support.models import random_model, tiny_dfm

MASK = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.fixture
def experts() -> StageExperts:
    first, second = random_model(tiny_dfm()), random_model(tiny_dfm())
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(-0.7)
    return StageExperts([first, second])


@torch.no_grad()
def test_a_mixed_batch_equals_each_expert_alone(experts: StageExperts) -> None:
    scales, t, labels = [torch.randn(4, 1, 4, 4), torch.randn(4, 1, 8, 8)], torch.rand(4, 2), torch.arange(4) % 3
    whole = experts(scales, t, MASK, labels)
    for stage, rows in ((0, [0, 2]), (1, [1, 3])):
        alone = experts.experts[stage]([scale[rows] for scale in scales], t[rows], MASK[rows], labels[rows])
        other = experts.experts[1 - stage]([scale[rows] for scale in scales], t[rows], MASK[rows], labels[rows])
        for velocity, own, foreign in zip(whole, alone, other, strict=True):
            assert torch.equal(velocity[rows], own)
            assert not torch.allclose(velocity[rows], foreign, atol=1e-2)


@torch.no_grad()
def test_a_stage_that_nobody_has_is_not_asked(experts: StageExperts) -> None:
    experts.experts[1].register_forward_hook(lambda *_: pytest.fail("the second expert was asked"))
    experts([torch.randn(1, 1, 4, 4), torch.randn(1, 1, 8, 8)], torch.rand(1, 2), MASK[:1], torch.zeros(1).long())


def test_there_is_one_expert_per_stage() -> None:
    with pytest.raises(AssertionError, match="1 experts for 2 stages"):
        StageExperts([random_model(tiny_dfm())])
