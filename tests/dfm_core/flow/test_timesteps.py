"""The distribution of stages and timesteps: tabulated statistics, the released code's draws, what masks hide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from dfm_core.flow.timesteps import assemble_timesteps, draw_timesteps, logit_normal
from tests.support.models import golden_json, golden_tensors, tiny_dfm

STATISTICS = golden_json("logit_normal_stats")
LOCATIONS = {name: float(name.removeprefix("loc").split("_")[0]) for name in STATISTICS}
S3 = {"decomposition.resolutions": (2, 4, 8), "model.patch_sizes": (1, 2, 4)}


@pytest.mark.parametrize("name", STATISTICS)
def test_logit_normal_has_the_tabulated_moments(name: str) -> None:
    levels = (np.arange(200_000) + 0.5) / 200_000
    t = logit_normal(torch.from_numpy(stats.norm.ppf(levels)), LOCATIONS[name], 1.0)
    assert float(t.mean()) == pytest.approx(STATISTICS[name]["mean"], abs=1e-6)
    assert float(t.std()) == pytest.approx(STATISTICS[name]["std"], abs=1e-5)
    assert float((t > 0.7).double().mean()) == pytest.approx(STATISTICS[name]["P_t_gt_0_7"], abs=1e-5)
    assert float((t > 0.9).double().mean()) == pytest.approx(STATISTICS[name]["P_t_gt_0_9"], abs=1e-5)


@pytest.mark.parametrize("name", STATISTICS)
def test_logit_normal_has_the_tabulated_quantiles(name: str) -> None:
    z = torch.from_numpy(stats.norm.ppf(STATISTICS[name]["quantile_p"]))
    expected = torch.tensor(STATISTICS[name]["quantile_t"], dtype=torch.float64)
    torch.testing.assert_close(logit_normal(z, LOCATIONS[name], 1.0), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", STATISTICS)
def test_logit_normal_has_the_tabulated_density(name: str) -> None:
    # Change of variables: p(t) = phi(z) / (dt/dz), with dt/dz from autograd.
    for t, density in STATISTICS[name]["pdf"].items():
        z = (torch.logit(torch.tensor(float(t), dtype=torch.float64)) - LOCATIONS[name]).requires_grad_()
        point = logit_normal(z, LOCATIONS[name], 1.0)
        (slope,) = torch.autograd.grad(point, z)
        assert point.item() == pytest.approx(float(t))
        assert stats.norm.pdf(z.item()) / float(slope) == pytest.approx(density, rel=1e-9)


def test_scale_spreads_the_logit() -> None:
    z = torch.randn(50, dtype=torch.float64)
    torch.testing.assert_close(torch.logit(logit_normal(z, 0.5, 2.5)), 0.5 + 2.5 * z)


@pytest.mark.parametrize("stage", [0, 1])
def test_timesteps_and_masks_equal_those_of_the_released_code(stage: int) -> None:
    # The original draws sigma = sigmoid(z - location), so t = 1 - sigma = sigmoid(location - z): our normals are -z.
    golden = golden_tensors("dfm_official_loss")
    normals = -torch.stack([golden["time_normal_0"], golden["time_normal_1"]], dim=1).reshape(3, 2).double()
    config = tiny_dfm({"training.previous_location": 2.0})
    drawn = assemble_timesteps(torch.full((3,), stage), normals, config)
    torch.testing.assert_close(drawn.t, 1 - golden[f"stage{stage}_sigma"], rtol=0, atol=1e-6)
    assert torch.equal(drawn.mask, golden[f"stage{stage}_mask"].expand(3, 2))


def test_each_scale_follows_the_law_of_its_place() -> None:
    config = tiny_dfm(
        {
            **S3,
            "training.location": 0.25,
            "training.scale": 1.5,
            "training.previous_location": 2,
            "training.previous_scale": 0.5,
        }
    )
    normals = torch.randn(3, 3, dtype=torch.float64)
    drawn = assemble_timesteps(torch.tensor([0, 1, 2]), normals, config)
    own = torch.sigmoid(0.25 + 1.5 * normals)
    previous = torch.sigmoid(2 + 0.5 * normals)
    expected = torch.tensor(
        [[own[0, 0], 0, 0], [previous[1, 0], own[1, 1], 0], [previous[2, 0], previous[2, 1], own[2, 2]]]
    )
    torch.testing.assert_close(drawn.t, expected.float())
    assert drawn.mask.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert drawn.t.dtype == drawn.mask.dtype == torch.float32


def test_timestep_noise_of_scales_not_yet_generated_changes_nothing() -> None:
    config, stage = tiny_dfm(S3), torch.tensor([0, 0, 1, 1, 2])
    normals = torch.randn(5, 3, dtype=torch.float64)
    hidden = torch.arange(3)[None, :] > stage[:, None]
    disturbed = torch.where(hidden, torch.randn(5, 3, dtype=torch.float64), normals)
    assert torch.equal(assemble_timesteps(stage, disturbed, config).t, assemble_timesteps(stage, normals, config).t)
    visible = torch.where(hidden, normals, torch.randn(5, 3, dtype=torch.float64))
    changed = assemble_timesteps(stage, visible, config).t != assemble_timesteps(stage, normals, config).t
    assert torch.equal(changed, ~hidden)


def test_tied_timesteps_are_one_draw_for_all_scales_and_mask_nothing() -> None:
    config = tiny_dfm({**S3, "training.timesteps": "tied", "training.location": 0.5})
    normals = torch.randn(4, 3, dtype=torch.float64)
    drawn = assemble_timesteps(torch.tensor([0, 1, 2, 0]), normals, config)
    torch.testing.assert_close(drawn.t, torch.sigmoid(0.5 + normals[:, :1]).float().expand(4, 3))
    assert drawn.mask.eq(1).all()
    assert drawn.stage.eq(2).all()


def test_drawing_does_not_depend_on_how_indices_are_batched() -> None:
    config = tiny_dfm(S3)
    whole = draw_timesteps(config, range(64))
    parts = [draw_timesteps(config, indices) for indices in (range(10), range(10, 33), range(33, 64))]
    for name in ("stage", "t", "mask"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


@pytest.mark.parametrize("first", [0.0, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_stages_come_with_their_probabilities(first: float, stages: int) -> None:
    resolutions = (2, 4, 8)[-stages:]
    config = tiny_dfm({"decomposition.resolutions": resolutions, "training.first_stage_probability": first})
    count = 2500
    frequencies = torch.bincount(draw_timesteps(config, range(count)).stage, minlength=stages) / count
    assert len(frequencies) == stages
    for frequency, probability in zip(frequencies.tolist(), config.stage_probabilities, strict=True):
        assert abs(frequency - probability) <= 4 * (probability * (1 - probability) / count) ** 0.5


def test_the_stage_is_independent_of_the_timestep() -> None:
    config = tiny_dfm({"training.first_stage_probability": 0.5, "training.previous_location": 0.0})
    drawn = draw_timesteps(config, range(4000))
    first, second = drawn.t[drawn.stage == 0, 0], drawn.t[drawn.stage == 1, 0]
    assert stats.ks_2samp(first, second).pvalue > 1e-3


def test_another_seed_draws_other_timesteps() -> None:
    a, b = (draw_timesteps(tiny_dfm({"seed": seed}), range(16)).t[:, 0] for seed in (0, 1))
    assert not (a == b).any()


GIVEN = {**S3, "training.stage_probabilities": (0.2, 0.5, 0.3), "training.batch_size": 8}


def frequencies_of(stage: torch.Tensor) -> list[float]:
    return (torch.bincount(stage, minlength=3) / len(stage)).tolist()


def test_stage_probabilities_can_be_given_outright() -> None:
    config, count = tiny_dfm({**GIVEN, "training.first_stage_probability": 0.99}), 4000
    assert config.stage_probabilities == (0.2, 0.5, 0.3)
    for frequency, probability in zip(
        frequencies_of(draw_timesteps(config, range(count)).stage), (0.2, 0.5, 0.3), strict=True
    ):
        assert abs(frequency - probability) <= 4 * (probability * (1 - probability) / count) ** 0.5


def test_given_probabilities_that_repeat_the_default_draw_the_same() -> None:
    default = tiny_dfm({**S3, "training.first_stage_probability": 0.5})
    outright = tiny_dfm({**S3, "training.stage_probabilities": (0.5, 0.25, 0.25)})
    assert torch.equal(draw_timesteps(default, range(64)).t, draw_timesteps(outright, range(64)).t)


@pytest.mark.parametrize("only", [0, 1, 2])
def test_a_stage_of_probability_one_is_the_only_one(only: int) -> None:
    probabilities = tuple(float(stage == only) for stage in range(3))
    config = tiny_dfm({**S3, "training.stage_probabilities": probabilities})
    assert draw_timesteps(config, range(500)).stage.eq(only).all()


def test_drawing_per_batch_gives_a_step_one_stage_and_each_sample_its_own_timestep() -> None:
    drawn = draw_timesteps(tiny_dfm({**GIVEN, "training.stage_draw": "batch"}), range(8 * 20))
    steps = drawn.stage.reshape(20, 8)
    assert torch.equal(steps, steps[:, :1].expand(20, 8))
    assert len(set(steps[:, 0].tolist())) == 3
    assert len(set(drawn.t[:, 0].tolist())) == 160


def test_steps_come_to_the_stages_with_their_probabilities() -> None:
    config, num_steps = tiny_dfm({**GIVEN, "training.stage_draw": "batch"}), 4000
    first_of_each_step = range(0, 8 * num_steps, 8)
    frequencies = frequencies_of(draw_timesteps(config, first_of_each_step).stage)
    for frequency, probability in zip(frequencies, (0.2, 0.5, 0.3), strict=True):
        assert abs(frequency - probability) <= 4 * (probability * (1 - probability) / num_steps) ** 0.5


def test_drawing_per_batch_does_not_depend_on_how_indices_are_split() -> None:
    config = tiny_dfm({**GIVEN, "training.stage_draw": "batch"})
    whole = draw_timesteps(config, range(64))
    parts = [draw_timesteps(config, indices) for indices in (range(3), range(3, 21), range(21, 64))]
    for name in ("stage", "t", "mask"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_with_one_sample_a_step_both_ways_of_drawing_agree() -> None:
    a, b = (
        draw_timesteps(tiny_dfm({**GIVEN, "training.batch_size": 1, "training.stage_draw": how}), range(50))
        for how in ("sample", "batch")
    )
    assert torch.equal(a.stage, b.stage)
    assert torch.equal(a.t, b.t)


@pytest.mark.parametrize("stage_draw", ["sample", "batch"])
def test_drawn_timesteps_have_the_tabulated_moments(stage_draw: str) -> None:
    # The scale that is generated follows location 0, those before it 1.5.
    config = tiny_dfm({"training.stage_probabilities": (0.0, 1.0), "training.stage_draw": stage_draw})
    t, count = draw_timesteps(config, range(4000)).t.double(), 4000
    for scale, name in ((1, "loc0.0_scale1"), (0, "loc1.5_scale1")):
        table = STATISTICS[name]
        assert float(t[:, scale].mean()) == pytest.approx(table["mean"], abs=4 * table["std"] / count**0.5)
        assert float(t[:, scale].std()) == pytest.approx(table["std"], rel=4 / (2 * count) ** 0.5)
