"""Ways to run the same network that change time and memory, not numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from dfm_core.models.velocity import VelocityModel
from tests.dfm_core.models.transformer_inputs import assert_all_close, random_inputs
from tests.support.models import paradigm_of, random_batch, random_model, tiny_dfm

VARIANTS: list[dict[str, Any]] = [
    {},
    {"model.specialization": "full"},
    {"model.lora_rank": 3},
    {"model.backbone": "tokenformer"},
    {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)},
    {"paradigm": "pyramidal_flow"},
    {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2), "model.specialization": "full"},
]
MASK = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])


def label(values: dict[str, Any]) -> str:
    return "-".join(str(value) for value in values.values()) or "plain"


def loss_and_gradients(model: VelocityModel, values: dict[str, Any]) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(3)
    scales, t, labels, _ = random_inputs(tiny_dfm(values), (0, 1, 0))
    velocities = model(scales, t, MASK, labels)
    loss = torch.stack([(v * v * MASK[:, s, None, None, None]).mean() for s, v in enumerate(velocities)]).sum()
    return loss.detach(), list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("values", VARIANTS, ids=label)
def test_checkpointing_computes_the_blocks_twice_and_changes_no_bit(values: dict[str, Any]) -> None:
    plain, frugal = random_model(tiny_dfm(values)).train(), random_model(tiny_dfm(values)).train()
    frugal.use_activation_checkpointing()
    calls: dict[str, int] = {}
    for name, model in (("plain", plain), ("frugal", frugal)):
        calls[name] = 0

        def count(*_: Any, name: str = name) -> None:
            calls[name] += 1

        model.network.blocks[0].mlp.register_forward_hook(count)
    loss, gradients = loss_and_gradients(plain, values)
    again, recomputed = loss_and_gradients(frugal, values)
    assert calls["frugal"] == 2 * calls["plain"]
    assert torch.equal(loss, again)
    for (name, _), a, b in zip(plain.named_parameters(), gradients, recomputed, strict=True):
        assert torch.equal(a, b), name


@pytest.mark.slow
@pytest.mark.parametrize("values", [VARIANTS[0], VARIANTS[-1]], ids=label)
def test_compiled_blocks_compute_the_same(values: dict[str, Any]) -> None:
    plain, compiled = random_model(tiny_dfm(values)), random_model(tiny_dfm(values))
    compiled.compile_blocks()
    loss, gradients = loss_and_gradients(plain, values)
    again, found = loss_and_gradients(compiled, values)
    torch.testing.assert_close(loss, again, rtol=1e-5, atol=0)
    assert_all_close(found, gradients)
    assert plain.state_dict().keys() == compiled.state_dict().keys()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_blocks_are_one_graph_and_never_compiled_anew(precision: str) -> None:
    torch._dynamo.reset()
    counters.clear()
    training = tiny_dfm({"training.precision": precision})
    graphs = CompileCounter()
    model, paradigm = random_model(training), paradigm_of(training)
    assert model.has_one_graph
    model.compile_blocks(graphs)
    for step in range(3):  # other mixtures of stages each time
        paradigm.loss(model, random_batch(8, first_index=8 * step)).loss.backward()
    assert (graphs.frame_count, dict(counters["graph_break"])) == (1, {})
    graphs.clear()
    for labels, guidance in (([0, 1, 2], 1.0), ([0, 1, 2], 2.0), ([0, 1], 2.0)):
        sampling = replace(training.sampling, guidance=guidance)
        paradigm.sample(model, torch.tensor(labels), range(len(labels)), 0, sampling)
    assert (graphs.frame_count, dict(counters["graph_break"])) == (1, {})


def test_networks_whose_stages_differ_have_more_graphs() -> None:
    assert not any(random_model(tiny_dfm(values)).has_one_graph for values in VARIANTS[1:])
