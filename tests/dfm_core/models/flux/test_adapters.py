"""Low-rank additions start as nothing, learn, and are one weight in the end."""

from __future__ import annotations

import pytest
import torch

from dfm_core.config.training import AdapterConfig
from dfm_core.models.flux.adapters import AdaptedLinear, add_adapters
from dfm_core.models.flux.weights import starting_names
from tests.support.flux import flux_network, labels

ADAPTER = AdapterConfig(rank=2, targets=("attn.to_q", "proj_mlp"))


def test_an_adapted_map_starts_as_the_map_bitwise_and_its_own_weights_stay() -> None:
    block = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.SiLU(), torch.nn.Linear(4, 3, bias=False))
    x = torch.randn(5, 6)
    before = block(x)
    weights = [block[0].weight, block[2].weight]
    add_adapters([block], 2, ("0", "2"))
    assert torch.equal(block(x), before)
    assert [block[0].weight, block[2].weight] == weights
    assert isinstance(block[2], AdaptedLinear)
    assert block[2].bias is None


def test_merged_it_is_one_map() -> None:
    adapted = AdaptedLinear(6, 4, 3, bias=True)
    with torch.no_grad():
        adapted.adapter_up.normal_()
    x = torch.randn(5, 6)
    torch.testing.assert_close(torch.nn.functional.linear(x, adapted.merged(), adapted.bias), adapted(x))
    assert not torch.allclose(torch.nn.functional.linear(x, adapted.weight, adapted.bias), adapted(x))


def test_a_map_that_no_block_has_is_named() -> None:
    with pytest.raises(ValueError, match=r"no block has a linear map attn\.to_q"):
        add_adapters([torch.nn.Sequential(torch.nn.Linear(2, 2))], 1, ("0", "attn.to_q"))


def test_of_flux_only_adapters_and_the_second_scale_are_trained() -> None:
    network = flux_network(2, {"training.adapter": ADAPTER})
    trained = {name.removeprefix("network.") for name, weight in network.named_parameters() if weight.requires_grad}
    adapters = {name for name in trained if "adapter_" in name}
    maps = {
        "transformer_blocks.0.attn.to_q",
        "single_transformer_blocks.0.attn.to_q",
        "single_transformer_blocks.0.proj_mlp",
    }
    assert adapters == {f"{one}.adapter_{way}" for one in maps for way in ("down", "up")}
    assert {name for name in trained if name.startswith("scales.1.")} == trained - adapters
    assert len(trained) == 6 + 11
    assert network(*inputs()) is not None


def inputs() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor]:
    return [torch.randn(2, 4, 8, 8)] * 2, torch.rand(2, 2), torch.ones(2, 2), labels(2)


def test_another_network_does_not_silently_start_from_an_adapted_one() -> None:
    names = [name for name, _ in flux_network(1).network.named_parameters()]
    adapted = [name for name, _ in flux_network(1, {"training.adapter": ADAPTER}).network.named_parameters()]
    with pytest.raises(ValueError, match="it has 6 weights of an adapter"):
        starting_names(names, adapted)
    assert starting_names(adapted, adapted) == {name: name for name in adapted}
    assert starting_names(adapted, names) == {name: name for name in names}
