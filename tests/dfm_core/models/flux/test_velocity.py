"""FLUX over scales starts as the pretrained network, bitwise, and learns with all that it adds (numerics 5.7)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.catalog.flux import FluxArchitecture
from dfm_core.config.choices import Precision
from dfm_core.data.captions.caption import caption_number
from dfm_core.decompositions import build_decomposition
from dfm_core.models.empty_weights import give_weights
from dfm_core.models.flux.scales import FluxScales, pack, position_ids, unpack
from dfm_core.models.flux.velocity import FluxVelocity, starting_weights
from dfm_core.models.flux.weights import starting_names
from dfm_core.models.text_tables import NULL_CAPTION, MemoryTextTable
from dfm_core.paradigms import Batch, build_paradigm
from dfm_core.training.state import empty_model, initialize_model
from tests.support.flux import (
    CAPTIONS,
    FLUX_SHAPE,
    TEXT_LENGTH,
    TINY_FLUX,
    flux_network,
    labels,
    pretrained,
    texts,
    tiny_flux,
)

NUM_SAMPLES = 3
SIZES = [(8, 8), (6, 12)]
MASKS = [[1.0, 0.0], [1.0, 1.0]]


def from_pretrained(stages: int, precision: Precision = "fp32") -> tuple[FluxVelocity, FluxScales]:
    """A network over scales that starts from a pretrained one, and that one; weights share their storage."""
    network, start = flux_network(stages, {"training.precision": precision}), pretrained()
    given = dict(start.named_parameters())
    own = {name: tuple(weight.shape) for name, weight in network.network.named_parameters()}
    weights = dict(network.network.named_parameters())
    for name, tensor in starting_weights(own, given):
        weights[name].data = tensor.detach() if tensor is given.get(name) else tensor.detach().clone()
    return network, start


def scales_of(stages: int, size: tuple[int, int]) -> list[Tensor]:
    return [torch.randn(NUM_SAMPLES, 4, *size) for _ in range(stages)]


def velocity_of(start: FluxScales, state: Tensor, t: Tensor, precision: Precision) -> Tensor:
    """The velocity by diffusers' own forward pass."""
    rows, (height, width) = texts().rows(labels(NUM_SAMPLES)), state.shape[-2:]
    ids = position_ids(TEXT_LENGTH, height // 2, width // 2, state.device)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        (output,) = start(
            pack(state),
            rows.tokens,
            rows.pooled,
            1 - t,
            ids[TEXT_LENGTH:],
            ids[:TEXT_LENGTH],
            torch.ones(NUM_SAMPLES),
            return_dict=False,
        )
    return -unpack(output, height, width).float()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.no_grad()
def test_two_stages_begin_as_the_pretrained_network_bitwise(
    precision: Precision, mask: list[float], size: tuple[int, int]
) -> None:
    network, start = from_pretrained(2, precision)
    states, t = scales_of(2, size), torch.rand(NUM_SAMPLES, 2)
    first, second = network(states, t, torch.tensor(mask).expand(NUM_SAMPLES, 2), labels(NUM_SAMPLES))
    expected = velocity_of(start, states[0], t[:, 0], precision)
    assert torch.equal(first, expected)
    assert expected.abs().max() > 0.1
    assert torch.equal(second, torch.zeros_like(second))
    assert first.dtype == second.dtype == torch.float32


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.no_grad()
def test_one_stage_is_the_pretrained_network_bitwise(precision: Precision, size: tuple[int, int]) -> None:
    network, start = from_pretrained(1, precision)
    (state,), t = scales_of(1, size), torch.rand(NUM_SAMPLES, 1)
    (velocity,) = network([state], t, torch.ones(NUM_SAMPLES, 1), labels(NUM_SAMPLES))
    assert torch.equal(velocity, velocity_of(start, state, t[:, 0], precision))


def test_one_stage_trains_as_flow_matching_of_the_pretrained_network_bitwise() -> None:
    network, start = from_pretrained(1)
    config = tiny_flux(1, {"training.class_dropout": 0.0})
    batch = Batch(torch.randn(NUM_SAMPLES, 4, 8, 8), labels(NUM_SAMPLES), range(NUM_SAMPLES))
    paradigm = build_paradigm(config, build_decomposition(config.decomposition), (1.0,))
    draws = paradigm.draw(range(NUM_SAMPLES), (4, 8, 8))
    loss = paradigm.loss(network, batch).loss
    t, (noise,) = draws.t[:, 0], draws.noises
    state = t[:, None, None, None] * batch.images + (1 - t[:, None, None, None]) * noise
    expected = (velocity_of(start, state, t, "fp32") - (batch.images - noise)).square().flatten(1).mean(dim=1).mean()
    assert torch.allclose(loss, expected, rtol=1e-6)
    loss.backward()
    gradient = network.network.proj_out.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_every_weight_that_is_added_has_a_gradient_within_three_steps() -> None:
    network, _ = from_pretrained(2)
    config = tiny_flux(2)
    paradigm = build_paradigm(config, build_decomposition(config.decomposition), (1.0, 1.0))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    added = [(name, weight) for name, weight in network.named_parameters() if ".scales.1." in name]
    assert len(added) == 11
    for step in range(3):
        optimizer.zero_grad()
        images = torch.randn(8, 4, 8, 8)
        paradigm.loss(network, Batch(images, labels(8), range(8 * step, 8 * step + 8))).loss.backward()
        optimizer.step()
    silent = [name for name, weight in added if weight.grad is None or not weight.grad.abs().max() > 0]
    assert silent == []


def test_the_weights_that_start_at_zero_or_as_copies_are_those_of_the_specification() -> None:
    network, start = from_pretrained(2)
    given, own = dict(start.named_parameters()), dict(network.network.named_parameters())
    copies = {
        "scales.1.time.linear_1.weight": "time_text_embed.timestep_embedder.linear_1.weight",
        "scales.1.time.linear_1.bias": "time_text_embed.timestep_embedder.linear_1.bias",
        "scales.1.norm_out.linear.weight": "norm_out.linear.weight",
        "scales.1.norm_out.linear.bias": "norm_out.linear.bias",
    }
    for name, weight in own.items():
        if name in given or name in copies:
            assert torch.equal(weight, given[copies.get(name, name)])
        else:
            assert not weight.any()


def test_a_second_scale_that_is_there_is_taken() -> None:
    network = flux_network(2)
    names = [name for name, _ in network.named_parameters()]
    assert network.starting_names(names) == {name: name for name in names}


def test_a_missing_tensor_is_named() -> None:
    names = [name for name, _ in pretrained().named_parameters()]
    with pytest.raises(ValueError, match=r"1 tensors are missing, such as context_embedder\.weight"):
        starting_names(names, [name for name in names if name != "context_embedder.weight"])


@torch.no_grad()
def test_a_masked_scale_cannot_be_seen_and_an_active_one_is() -> None:
    network, (first, second), t = flux_network(2), scales_of(2, (8, 8)), torch.rand(NUM_SAMPLES, 2)
    for mask, seen in ((MASKS[0], False), (MASKS[1], True)):
        masks = torch.tensor(mask).expand(NUM_SAMPLES, 2)
        before = network([first, second], t, masks, labels(NUM_SAMPLES))[0]
        after = network([first, second + 1], t, masks, labels(NUM_SAMPLES))[0]
        assert torch.equal(before, after) != seen


@torch.no_grad()
def test_captions_guidance_and_the_second_scales_time_are_heard() -> None:
    network, states, t = flux_network(2), scales_of(2, (8, 8)), torch.rand(NUM_SAMPLES, 2)
    both = torch.ones(NUM_SAMPLES, 2)

    before = network(states, t, both, labels(NUM_SAMPLES))[0]
    changed = [
        network(states, t, both, labels(4)[1:]),
        network(states, t * torch.tensor([1.0, 0.5]), both, labels(NUM_SAMPLES)),
        flux_network(2, {"model.guidance_input": 3.5})(states, t, both, labels(NUM_SAMPLES)),
    ]
    for after, _ in changed:
        assert (after - before).flatten(1).abs().amax(dim=1).min() > 1e-4


@torch.no_grad()
def test_samples_do_not_mix() -> None:
    network, states, t = flux_network(2), scales_of(2, (6, 12)), torch.rand(NUM_SAMPLES, 2)
    mask = torch.tensor([MASKS[0], MASKS[1], MASKS[0]])
    whole = network(states, t, mask, labels(NUM_SAMPLES))
    for row in range(NUM_SAMPLES):
        one = slice(row, row + 1)
        alone = network([state[one] for state in states], t[one], mask[one], labels(NUM_SAMPLES)[one])
        for all_rows, own in zip(whole, alone, strict=True):
            torch.testing.assert_close(all_rows[one], own, rtol=1e-4, atol=1e-4)


def test_packing_is_that_of_diffusers() -> None:
    from diffusers import FluxPipeline

    latents = torch.randn(2, 4, 6, 10)
    theirs = FluxPipeline._pack_latents(latents, 2, 4, 6, 10)
    assert torch.equal(pack(latents), theirs)
    assert torch.equal(unpack(theirs, 6, 10), latents)
    ids = FluxPipeline._prepare_latent_image_ids(1, 3, 5, torch.device("cpu"), torch.float32)
    assert torch.equal(position_ids(2, 3, 5, torch.device("cpu")), torch.cat([torch.zeros(2, 3), ids]))


@torch.no_grad()
def test_a_size_gives_a_predictor_with_its_shapes_and_the_same_velocities() -> None:
    network = flux_network(2)
    assert network.scale_shapes == ((4, 8, 8), (4, 8, 8))
    sized = network.sized(6, 12)
    assert sized.scale_shapes == ((4, 6, 12), (4, 6, 12))
    assert sized.null_class == network.null_class
    states, t, mask = scales_of(2, (6, 12)), torch.rand(NUM_SAMPLES, 2), torch.ones(NUM_SAMPLES, 2)
    arguments = (states, t, mask, labels(NUM_SAMPLES))
    assert all(map(torch.equal, sized(*arguments), network(*arguments)))
    with pytest.raises(ValueError, match=r"even sizes, got \[5, 8\]"):
        network.sized(5, 8)


def test_without_weights_it_is_built_and_drawn_from_the_seed_alone() -> None:
    drawn = []
    for _ in range(2):
        model = empty_model(tiny_flux(2), FLUX_SHAPE, (1.0, 1.0))
        assert {weight.device.type for weight in model.parameters()} == {"meta"}
        give_weights(model, torch.device("cpu"))
        initialize_model(model, tiny_flux(2))
        drawn.append(dict(model.named_parameters()))
    assert all(torch.equal(weight, drawn[1][name]) for name, weight in drawn[0].items())
    assert torch.equal(drawn[0]["network.transformer_blocks.0.attn.norm_q.weight"], torch.ones(16))
    assert drawn[0]["network.transformer_blocks.0.ff.net.2.weight"].std() > 0.05
    assert not drawn[0]["network.scales.1.x_embedder.weight"].any()


def test_activation_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for frugal in (False, True):
        network = flux_network(2)
        if frugal:
            network.use_activation_checkpointing()
        torch.manual_seed(1)
        outputs = network.train()(scales_of(2, (8, 8)), torch.full((3, 2), 0.4), torch.ones(3, 2), labels(3))
        sum(output.square().sum() for output in outputs).backward()
        gradients.append([weight.grad for weight in network.parameters()])
    assert all(map(torch.equal, *gradients))


def test_the_null_caption_is_the_one_of_captioned_data() -> None:
    assert caption_number("") == NULL_CAPTION
    assert flux_network(1).null_class == caption_number("")


def test_a_table_has_the_rows_of_its_captions_and_names_one_that_it_lacks() -> None:
    table = texts()
    rows = table.rows(torch.tensor([CAPTIONS[2], CAPTIONS[0]]))
    assert torch.equal(rows.tokens, torch.stack([table.rows(torch.tensor([c])).tokens[0] for c in (CAPTIONS[2], 11)]))
    assert rows.tokens.shape == (2, TEXT_LENGTH, 12)
    with pytest.raises(KeyError, match="1 captions are not in the table, such as 12"):
        MemoryTextTable({11: (torch.zeros(1, 2), torch.zeros(2))}).rows(torch.tensor([11, 12]))


def test_without_texts_it_says_so() -> None:
    network = FluxVelocity(tiny_flux(1), FLUX_SHAPE, data_std=(1.0,))
    with pytest.raises(AssertionError, match="call use_text first"):
        network(scales_of(1, (8, 8)), torch.rand(3, 1), torch.ones(3, 1), labels(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"_class_name": "SD3Transformer2DModel"}, "is of 'SD3Transformer2DModel', needed is 'FluxTransformer2DModel'"),
        ({"_class_name": "FluxTransformer2DModel", "in_channels": 384, "out_channels": 64}, "other out_channels"),
    ],
)
def test_settings_of_another_network_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FluxArchitecture.from_settings(settings)


def test_settings_come_back_from_diffusers() -> None:
    saved = {"_class_name": "FluxTransformer2DModel", **pretrained().config}
    assert FluxArchitecture.from_settings(saved) == TINY_FLUX
