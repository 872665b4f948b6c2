"""Attention over parameter tokens against Tokenformer's, and what stages add to it (numerics 6)."""

from __future__ import annotations

import pytest
import torch

from dfm_core.compute import parameter_tokens
from dfm_core.models.tokenformer import ParameterAttention, attend_to_parameters
from tests.dfm_core.models.transformer_inputs import assert_all_close, random_inputs, rows
from tests.support.models import golden_tensors, random_model, tiny_dfm

GOLDEN = golden_tensors("lora_and_pattention")


def test_attention_equals_that_of_tokenformer() -> None:
    keys, values = GOLDEN["pattention_gelu_l2_norm_key"], GOLDEN["pattention_gelu_l2_norm_value"]
    found = attend_to_parameters(GOLDEN["x"], keys, values)
    torch.testing.assert_close(found, GOLDEN["pattention_gelu_l2_norm_out"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_sample_attends_to_the_shared_tokens_and_those_of_its_stage() -> None:
    module, x = ParameterAttention(6, 5, num_tokens=8, num_stages=3), torch.randn(4, 3, 6)
    module.reset_parameters(torch.Generator().manual_seed(0))
    assert (len(module.keys), module.stage_keys.shape[1]) == (6, 2)
    found = module(x, (1, 0, 3))
    for i, q in enumerate((0, 2, 2, 2)):
        keys = torch.cat([module.keys, module.stage_keys[q]])
        values = torch.cat([module.values, module.stage_values[q]])
        torch.testing.assert_close(found[i], attend_to_parameters(x[i], keys, values), rtol=0, atol=1e-5)


@torch.no_grad()
def test_one_stage_has_no_tokens_of_its_own() -> None:
    module = ParameterAttention(6, 5, num_tokens=8, num_stages=1)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {"keys": (8, 6), "values": (8, 5)}


@torch.no_grad()
def test_unit_variance_goes_in_and_comes_out() -> None:
    module = ParameterAttention(64, 48, num_tokens=64, num_stages=2)
    module.reset_parameters(torch.Generator().manual_seed(0))
    assert module(torch.randn(256, 64), (128, 128)).std().item() == pytest.approx(1.0, rel=0.1)


def test_an_input_of_zeros_gives_zeros_and_finite_gradients() -> None:
    x = torch.zeros(1, 6, requires_grad=True)
    found = attend_to_parameters(x, torch.randn(8, 6), torch.randn(8, 5))
    found.sum().backward()
    assert torch.equal(found, torch.zeros(1, 5))
    assert x.grad.isfinite().all()


def test_tokens_come_in_fours_and_cost_what_the_matrix_costs() -> None:
    for inputs, outputs in ((768, 768), (768, 3 * 768), (1152, 1152), (1152, 3 * 1152)):
        count = parameter_tokens(inputs, outputs)
        assert count % 4 == 0
        assert count * (inputs + outputs) == pytest.approx(inputs * outputs, rel=0.01)


@torch.no_grad()
def test_a_mixed_batch_equals_its_samples_alone() -> None:
    config = tiny_dfm({"model.backbone": "tokenformer"})
    network, inputs = random_model(config).network, random_inputs(config, (1, 0, 1))
    whole = network(*inputs)
    for i in range(3):
        assert_all_close([output[[i]] for output in whole], network(*rows(inputs, [i])))
