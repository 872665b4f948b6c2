"""Videos: frames are cut one by one, and their tokens see each other through one attention (numerics 5.5)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.catalog.datasets import DataShape
from dfm_core.config.model import MODEL_SIZES
from dfm_core.models.dit import DiT
from dfm_core.models.patches import patchify, unpatchify
from dfm_core.models.rope import axis_widths, grid_rotation, rope_rotation
from dfm_core.models.velocity import VelocityModel
from tests.dfm_core.models.transformer_inputs import Inputs, assert_all_close, random_inputs
from tests.support.models import NUM_CLASSES, random_model, tiny_dfm

CONFIGS = [tiny_dfm(), tiny_dfm({"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)})]
IDS = ["shared_grid", "grid_per_stage"]


def video_network(frames: int, config: object = CONFIGS[0]) -> DiT:
    return random_model(config, channels=2, frames=frames).network


def video_inputs(frames: int, config: object = CONFIGS[0]) -> Inputs:
    return random_inputs(config, (0, 1, 1), DataShape(2, NUM_CLASSES, frames))


def test_tokens_come_frame_after_frame() -> None:
    video = torch.randn(2, 3, 5, 8, 8)
    frames = [patchify(video[:, :, frame], 2) for frame in range(5)]
    assert torch.equal(patchify(video, 2), torch.cat(frames, dim=1))


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_unpatchify_inverts_patchify_once_features_are_reordered(patch: int) -> None:
    video = torch.randn(2, 3, 5, 8, 8)
    tokens = patchify(video, patch).unflatten(-1, (3, patch, patch)).movedim(2, -1).flatten(2)
    assert torch.equal(unpatchify(tokens, patch, channels=3, frames=5), video)


def test_a_head_is_shared_out_to_frame_row_and_column() -> None:
    assert axis_widths(64, 3) == (16, 24, 24)
    assert axis_widths(72, 3) == (24, 24, 24)
    assert axis_widths(64, 2) == (32, 32)


@pytest.mark.parametrize("size", MODEL_SIZES)
def test_every_axis_gets_an_even_share_of_every_head(size: str) -> None:
    head = MODEL_SIZES[size].width // MODEL_SIZES[size].heads
    for num_axes in (2, 3):
        widths = axis_widths(head, num_axes)
        assert sum(widths) == head
        assert all(width >= 2 and width % 2 == 0 for width in widths)


def test_a_token_sits_at_its_frame_row_and_column() -> None:
    positions = torch.tensor([[t, row, column] for t in range(3) for row in range(2) for column in range(2)])
    assert torch.equal(grid_rotation(2, 64, frames=3), rope_rotation(positions, (16, 24, 24)))


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_every_frame_sees_every_other(config: object) -> None:
    network, (scales, *rest) = video_network(3, config), video_inputs(3, config)
    video = scales[0].requires_grad_()
    for frame in range(3):
        output = network(scales, *rest)[0][:, :, frame]
        (gradient,) = torch.autograd.grad(output.sum(), video)
        assert gradient.abs().amax(dim=(1, 3, 4)).min() > 1e-6  # [B, T]


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@torch.no_grad()
def test_the_order_of_frames_matters(config: object) -> None:
    network, (scales, *rest) = video_network(3, config), video_inputs(3, config)
    plain, mixed = network(scales, *rest), network([scale[:, :, [2, 0, 1]] for scale in scales], *rest)
    assert (plain[0][:, :, [2, 0, 1]] - mixed[0]).flatten(1).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
@torch.no_grad()
def test_a_video_of_one_frame_is_an_image_but_for_the_rotation(config: object) -> None:
    """The weights fit as they are; the frame's axis takes features of the head from row and column."""
    video, image = video_network(1, config), random_model(config, channels=2).network
    image.load_state_dict(video.state_dict())
    scales, *rest = video_inputs(1, config)

    def as_image() -> list[Tensor]:
        return [output.unsqueeze(2) for output in image([scale[:, :, 0] for scale in scales], *rest)]

    assert not torch.allclose(video(scales, *rest)[0], as_image()[0], atol=1e-3)
    for stage in (0, 1):
        setattr(image, f"rotation_{stage}", getattr(video, f"rotation_{stage}"))
    assert_all_close(as_image(), video(scales, *rest), atol=0)


@torch.no_grad()
def test_the_velocity_of_a_video_is_a_video() -> None:
    model: VelocityModel = random_model(tiny_dfm(), channels=2, frames=3)
    (scales, t, labels, _), mask = video_inputs(3), torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    assert model.scale_shapes == ((2, 3, 4, 4), (2, 3, 8, 8))
    assert [v.shape for v in model(scales, t, mask, labels)] == [scale.shape for scale in scales]


def test_a_table_of_positions_is_refused() -> None:
    with pytest.raises(AssertionError, match="videos need rope"):
        video_network(3, tiny_dfm({"model.positions": "sincos"}))
