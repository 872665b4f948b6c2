"""A token grid for each stage: early stages are cheap, and nothing else changes (numerics 5.6)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.models.patches import gather_tokens, patchify, spread_tokens
from dfm_core.models.rope import grid_rotation, rope_rotation
from tests.dfm_core.models.transformer_inputs import assert_all_close, random_inputs, rows
from tests.support.models import random_model, tiny_cascade, tiny_dfm, tiny_pyramidal_flow, with_values

PER_STAGE = tiny_dfm({"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)})
THREE_SCALES = {"decomposition.resolutions": (2, 4, 8), "sampling.steps": (2, 1, 1), "sampling.tau": (0.7, 0.7)}
THREE_STAGES = tiny_dfm({"model.patch_grid": "per_stage", "model.patch_sizes": (1, 2, 2), **THREE_SCALES})
PYRAMID = tiny_pyramidal_flow({"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)})
THREE_LEVELS = {**THREE_SCALES, "model.patch_sizes": (1, 2, 4), "sampling.tau": ()}


@pytest.mark.parametrize("frames", [1, 3])
def test_spreading_and_gathering_are_adjoint_up_to_the_number_of_cells(frames: int) -> None:
    coarse, fine = torch.randn(2, frames * 9, 5), torch.randn(2, frames * 81, 5)
    spread, gathered = spread_tokens(coarse, 3, 9), gather_tokens(fine, 9, 3)
    torch.testing.assert_close((spread * fine).sum(), 9 * (coarse * gathered).sum(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gather_tokens(spread, 9, 3), coarse)


def test_spreading_repeats_and_gathering_averages_the_image_of_tokens() -> None:
    image = torch.randn(2, 5, 6, 6)
    tokens = image.flatten(2).transpose(1, 2)
    up = torch.nn.functional.interpolate(image, scale_factor=2, mode="nearest").flatten(2).transpose(1, 2)
    down = torch.nn.functional.avg_pool2d(image, 2).flatten(2).transpose(1, 2)
    assert torch.equal(spread_tokens(tokens, 6, 12), up)
    torch.testing.assert_close(gather_tokens(tokens, 6, 3), down)


def test_a_coarse_token_sits_in_the_middle_of_the_cells_it_covers() -> None:
    centres = torch.tensor([[row, column] for row in (0.5, 2.5) for column in (0.5, 2.5)])
    assert torch.equal(grid_rotation(2, 16, finest=4), rope_rotation(centres, (8, 8)))
    assert torch.equal(grid_rotation(4, 16, finest=4), grid_rotation(4, 16))
    network = random_model(PER_STAGE).network
    assert torch.equal(network.rotation_0, grid_rotation(2, 16, finest=4))
    assert torch.equal(network.rotation_1, grid_rotation(4, 16))


@torch.no_grad()
def test_later_scales_are_neither_read_nor_written() -> None:
    network, (scales, *rest) = random_model(PER_STAGE).network, random_inputs(PER_STAGE, (0, 0))
    first, second = network(scales, *rest)
    assert not second.any()
    assert torch.equal(first, network([scales[0], torch.full_like(scales[1], torch.nan)], *rest)[0])


@pytest.mark.parametrize("kind", ["none", "full"])
@pytest.mark.parametrize(
    ("config", "stages"),
    [
        (PER_STAGE, (1, 0, 1)),
        (THREE_STAGES, (2, 0, 1, 2, 0)),
        (PYRAMID, (1, 0, 1)),
        (tiny_pyramidal_flow(THREE_LEVELS), (2, 0, 1, 2, 0)),
    ],
)
@torch.no_grad()
def test_a_mixed_batch_equals_its_samples_alone(config: ExperimentConfig, stages: tuple[int, ...], kind: str) -> None:
    config = with_values(config, {"model.specialization": kind})
    network, inputs = random_model(config).network, random_inputs(config, stages)
    whole = network(*inputs)
    for i in range(len(stages)):
        assert_all_close([output[[i]] for output in whole], network(*rows(inputs, [i])))


@torch.no_grad()
def test_on_equal_grids_the_last_stage_is_that_of_a_shared_grid() -> None:
    shared, own = random_model(tiny_dfm()).network, random_model(tiny_dfm({"model.patch_grid": "per_stage"})).network
    inputs = random_inputs(tiny_dfm(), (1, 1, 1))
    assert_all_close(own(*inputs), shared(*inputs), atol=0)


@torch.no_grad()
def test_on_equal_grids_the_first_stage_lacks_only_the_bias_of_what_is_masked() -> None:
    shared, own = random_model(tiny_dfm()).network, random_model(tiny_dfm({"model.patch_grid": "per_stage"})).network
    (scales, *rest) = random_inputs(tiny_dfm(), (0, 0, 0))
    masked = [scales[0], torch.zeros_like(scales[1])]
    assert not torch.allclose(own(masked, *rest)[0], shared(masked, *rest)[0], atol=1e-3)
    shared.patch_embedders["1"].bias.zero_()
    assert_all_close([own(masked, *rest)[0]], [shared(masked, *rest)[0]])


@torch.no_grad()
def test_the_last_stage_reads_every_scale_and_every_timestep() -> None:
    network, (scales, t, *rest) = random_model(PER_STAGE).network, random_inputs(PER_STAGE, (1, 1))
    before = network(scales, t, *rest)
    changed: list[tuple[list[Tensor], Tensor]] = [([scales[0] + 1, scales[1]], t), ([scales[0], scales[1] + 1], t)]
    changed += [(scales, t + torch.tensor([0.1, 0.0])), (scales, t + torch.tensor([0.0, 0.1]))]
    for inputs in changed:
        for a, b in zip(before, network(*inputs, *rest), strict=True):
            assert (a - b).flatten(1).abs().amax(dim=1).min() > 1e-4


@torch.no_grad()
def test_bfloat16_stays_close_with_grids_of_several_stages() -> None:
    exact, rounded = (random_model(with_values(PER_STAGE, {"training.precision": p})) for p in ("fp32", "bf16"))
    scales, t, labels, _ = random_inputs(PER_STAGE, (0, 1, 0))
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    for a, b in zip(exact(scales, t, mask, labels), rounded(scales, t, mask, labels), strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=0.05 * float(a.abs().max()))


def test_levels_of_pyramidal_flow_have_the_integer_positions_of_their_own_grid() -> None:
    # As the original does for single images (numerics 8.4).
    network = random_model(PYRAMID).network
    assert torch.equal(network.rotation_0, grid_rotation(2, 16))
    assert torch.equal(network.rotation_1, grid_rotation(4, 16))


@pytest.mark.parametrize("tokens", ["added", "joined"])
@torch.no_grad()
def test_a_cascades_coarser_condition_sits_mid_way_in_the_cells_it_covers(tokens: str) -> None:
    values = {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2), "cascade.condition_tokens": tokens}
    network, lengths = random_model(tiny_cascade(1, values)).network, []
    for block in network.blocks:
        block.register_forward_pre_hook(lambda _m, args: lengths.append((args[0].shape[1], args[2].shape[0])))
    scales, t, labels, stage = random_inputs(tiny_cascade(1, values), (1, 1))
    coarse, fine = network(scales, t, labels, stage)
    assert not coarse.any()
    assert fine.shape == (2, 1, 8, 8)
    assert set(lengths) == ({(16, 16)} if tokens == "added" else {(4 + 16, 4 + 16)})
    assert torch.equal(network.rotation_1, grid_rotation(4, 16))
    if tokens == "joined":
        assert torch.equal(network.rotation_0, grid_rotation(2, 16, finest=4))


@torch.no_grad()
def test_adding_the_condition_is_one_patchify_of_both_levels_channels() -> None:
    # W_0 x_0 + W_1 x_1 = [W_0 W_1] [x_0; x_1]: position by position, as channels that are concatenated.
    network = random_model(tiny_cascade(1)).network
    embedded: list[Tensor] = []
    network.blocks[0].register_forward_pre_hook(lambda _m, args: embedded.append(args[0]))
    (coarse, fine), *rest = random_inputs(tiny_cascade(1), (1, 1))
    network([coarse, fine], *rest)
    first, second = network.patch_embedders["0"], network.patch_embedders["1"]
    channels = torch.cat([patchify(coarse, 1), patchify(fine, 2)], dim=-1)
    expected = channels @ torch.cat([first.weight, second.weight], dim=1).T + first.bias + second.bias
    torch.testing.assert_close(embedded[0], expected)


@pytest.mark.parametrize("positions", ["rope", "sincos"])
@torch.no_grad()
def test_joined_tokens_stand_before_the_levels_own_each_with_its_position(positions: str) -> None:
    values = {"cascade.condition_tokens": "joined", "model.positions": positions}
    if positions == "rope":
        values |= {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)}
    config = tiny_cascade(1, values)
    network, seen = random_model(config).network, []
    network.blocks[0].register_forward_pre_hook(lambda _m, args: seen.append((args[0], args[2])))
    (coarse, fine), *rest = random_inputs(config, (1, 1))
    network([coarse, fine], *rest)
    ((tokens, rotation),) = seen
    patches = [patchify(scale, size) for scale, size in zip((coarse, fine), config.model.patch_sizes, strict=True)]
    parts = [embed(patch, None) for embed, patch in zip(network.patch_embedders.values(), patches, strict=True)]
    if positions == "sincos":
        parts = [part + network.position_table for part in parts]
        assert rotation is None
    else:
        assert torch.equal(rotation, torch.cat([network.rotation_0, network.rotation_1]))
    torch.testing.assert_close(tokens, torch.cat(parts, dim=1))


@torch.no_grad()
def test_the_head_reads_a_levels_own_tokens_and_joined_ones_only_through_blocks() -> None:
    config = tiny_cascade(1, {"cascade.condition_tokens": "joined"})
    network, ((coarse, fine), *rest) = random_model(config).network, random_inputs(config, (1, 1))
    with_blocks = [network([x, fine], *rest)[1] for x in (coarse, coarse + 1)]
    assert not torch.allclose(*with_blocks, atol=1e-3)
    for block in network.blocks:  # closed gates: every block is the identity
        block.modulation.weight.zero_()
        block.modulation.bias.zero_()
    base = network([coarse, fine], *rest)[1]
    assert torch.equal(network([coarse + 1, fine], *rest)[1], base)
    changed = fine.clone()
    changed[:, :, 2:4, 6:8] += 1  # one patch of the image
    moved = (network([coarse, changed], *rest)[1] - base).abs() > 1e-6
    assert moved[:, :, 2:4, 6:8].all()
    assert int(moved.sum()) == moved[:, :, 2:4, 6:8].numel()
