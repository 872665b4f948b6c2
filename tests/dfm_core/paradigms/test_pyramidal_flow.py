"""Pyramidal Flow: training and samples of the original, who trains which stage, and the clean level (numerics 8)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.config.experiment import stage_columns
from dfm_core.decompositions import build_decomposition
from dfm_core.flow.block_noise import repeat_blocks
from dfm_core.flow.jumps import PyramidStage, pyramid_stages
from dfm_core.flow.solvers import SolverStep
from dfm_core.paradigms import Batch, pyramidal_flow
from dfm_core.paradigms import sampling as sampler
from dfm_core.paradigms.base import SampleProgress
from dfm_core.paradigms.pyramidal_flow import clean_estimate, noise_pyramid, sample_stages, stage_ends
from dfm_core.seeding import normal, uniform
from tests.support.models import (
    FormulaModel,
    golden_tensors,
    paradigm_of,
    random_batch,
    random_model,
    tiny_pyramidal_flow,
    with_values,
)

TRAINING = golden_tensors("pyramid_flow_training_S2")
SAMPLING = golden_tensors("pyramid_flow_sampling_S2")
COLUMNS = 2
"""Of the recorded training: sample i is of column i % 2, which trains stage i % 2."""
THREE_STAGES = {
    "decomposition.resolutions": (2, 4, 8),
    "model.patch_sizes": (1, 2, 4),
    "sampling.steps": (2, 3, 2),
}


def recorded(name: str, index: int) -> Tensor:
    """What the original did with a sample of its batch."""
    return TRAINING[f"col{index % COLUMNS}_{name}"][index // COLUMNS]


def test_levels_and_their_noise_equal_those_of_the_original() -> None:
    levels = build_decomposition(tiny_pyramidal_flow({"decomposition.resolutions": (8, 16)}).decomposition)
    for number, level in enumerate(levels.analyze(TRAINING["x"])):
        torch.testing.assert_close(level, TRAINING[f"latent_level{number}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("index", range(4))
def test_the_ends_of_stages_give_the_states_and_targets_of_the_original(index: int) -> None:
    number = index % COLUMNS
    stage, noises = pyramid_stages(2, 1 / 3)[number], noise_pyramid(TRAINING["noise"], 2)
    levels = [TRAINING["latent_level0"], TRAINING["latent_level1"]]
    start, end = stage_ends(stage, levels[number], levels[number - 1] if number else None, noises[number])
    rho = recorded("ratio", index)  # 1 at the start
    torch.testing.assert_close((rho * start + (1 - rho) * end)[index], recorded("noisy", index), rtol=0, atol=1e-5)
    torch.testing.assert_close((start - end)[index], recorded("target", index), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1], [3, 0]], ids=str)
def test_the_loss_equals_that_of_the_original(rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    # The original is noise-first: its target is the negative of ours. The model's velocity is 0.3 of what it sees.
    config = tiny_pyramidal_flow({"decomposition.resolutions": (8, 16), "training.class_dropout": 0.0})

    def recorded_noise(_seed: int, stream: str, indices: Sequence[int], _shape: tuple[int, ...]) -> Tensor:
        assert stream == "noise/0"
        return TRAINING["noise"][list(indices)]

    def recorded_progress(_seed: int, stream: str, indices: Sequence[int]) -> Tensor:
        assert stream == "progress"
        return torch.stack([TRAINING["u"][index % COLUMNS, index // COLUMNS] for index in indices]).double()

    monkeypatch.setattr(pyramidal_flow, "normal", recorded_noise)
    monkeypatch.setattr(pyramidal_flow, "uniform", recorded_progress)
    model = FormulaModel(lambda scales, *_: [0.3 * x for x in scales])
    result = paradigm_of(config).loss(model, Batch(TRAINING["x"][rows], torch.zeros(len(rows)).long(), rows))

    ((scales, t, mask, _),) = model.calls
    expected = []
    for row, index in enumerate(rows):
        stage = index % COLUMNS
        torch.testing.assert_close(scales[stage][row], recorded("noisy", index), rtol=0, atol=1e-5)
        assert 1000 * (1 - float(t[row, stage])) == pytest.approx(float(recorded("timestep", index)), abs=1e-3)
        assert t[row].count_nonzero() == 1
        assert mask[row].tolist() == [1, stage]
        expected.append((0.3 * recorded("noisy", index) + recorded("target", index)).square().mean())
    assert float(result.loss) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
    for stage in range(2):
        own = [loss for loss, index in zip(expected, rows, strict=True) if index % COLUMNS == stage]
        assert float(result.stage_losses[stage]) == pytest.approx(float(sum(own)), rel=1e-5)
        assert result.stage_counts[stage] == len(own)


def test_samples_equal_those_of_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    # Noise-first there, with v = 0.7 x - 0.2 timestep / 1000; ours is its negative at t = 1 - timestep / 1000.
    def recorded_start(_seed: int, stream: str, _indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        return SAMPLING["latent0"] if stream == "sample_noise/0" else torch.full((2, *shape), torch.nan)

    monkeypatch.setattr(sampler, "normal", recorded_start)
    monkeypatch.setattr(pyramidal_flow, "block_noise", lambda *_: SAMPLING["jump_noise1"].double())
    model = FormulaModel(
        lambda scales, t, *_: [-(0.7 * x - 0.2 * (1 - t[:, s, None, None, None, None])) for s, x in enumerate(scales)],
        [(3, 1, 4, 4), (3, 1, 8, 8)],
    )
    ends: list[SampleProgress] = []
    images = (
        paradigm_of(tiny_pyramidal_flow())
        .sample(
            model,
            torch.zeros(2).long(),
            range(2),
            0,
            SamplingConfig((5, 5), ()),
            lambda progress: ends.append(progress) if progress.ends_stage else None,
        )
        .images
    )
    assert [progress.step for progress in ends] == [5, 10]
    for stage, progress in enumerate(ends):
        expected = SAMPLING[f"stage{stage}_out"].double()
        torch.testing.assert_close(progress.scales[stage], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(images, SAMPLING["stage1_out"], rtol=0, atol=1e-5)


def test_sampling_shows_the_model_its_stage_and_the_timesteps_of_training() -> None:
    model = FormulaModel(lambda scales, *_: list(scales), [(1, 2, 2), (1, 4, 4), (1, 8, 8)])
    config = tiny_pyramidal_flow(THREE_STAGES)
    paradigm_of(config).sample(model, torch.zeros(1).long(), [0], 0, config.sampling)
    stages = pyramid_stages(3, 1 / 3)
    progress = [(0, 0.0), (0, 0.999), (1, 0.0), (1, 0.4995), (1, 0.999), (2, 0.0), (2, 0.999)]
    assert len(model.calls) == len(progress)
    for (_, t, mask, _), (stage, share) in zip(model.calls, progress, strict=True):
        expected = [stages[q].network_t(share) if q == stage else 0.0 for q in range(3)]
        assert t[0].tolist() == pytest.approx(expected, abs=1e-6)
        assert mask[0].tolist() == [1.0] * (stage + 1) + [0.0] * (2 - stage)


@pytest.mark.parametrize("num_levels", [2, 3])
def test_noise_is_white_at_every_level(num_levels: int) -> None:
    basis = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    for level in noise_pyramid(basis, num_levels):
        columns = level.flatten(1)
        torch.testing.assert_close(columns.T @ columns, torch.eye(columns.shape[1], dtype=torch.float64))


SHARES = [((0.5, 0.5), (1, 1)), ((0.25, 0.5, 0.25), (1, 2, 1)), ((0.2, 0.8), (1, 4)), ((1 / 3, 2 / 3), (1, 2))]


@pytest.mark.parametrize(("shares", "columns"), SHARES)
def test_columns_are_the_smallest_whole_numbers_in_the_ratio_of_the_shares(
    shares: tuple[float, ...], columns: tuple[int, ...]
) -> None:
    assert stage_columns(shares) == columns


def test_by_default_the_ends_count_once_and_inner_stages_twice() -> None:
    assert tiny_pyramidal_flow().stage_probabilities == (0.5, 0.5)
    assert tiny_pyramidal_flow(THREE_STAGES).stage_probabilities == (0.25, 0.5, 0.25)
    assert tiny_pyramidal_flow({"training.stage_probabilities": (0.25, 0.75)}).stage_probabilities == (0.25, 0.75)


@given(st.sampled_from(SHARES), st.integers(1, 5), st.integers(0, 50))
def test_every_batch_has_the_shares_exactly(
    case: tuple[tuple[float, ...], tuple[int, ...]], columns_per_batch: int, step: int
) -> None:
    shares, columns = case
    batch_size = columns_per_batch * sum(columns)
    config = with_values(
        tiny_pyramidal_flow({"decomposition.resolutions": (2, 4, 8)[-len(shares) :]}),
        {"training.stage_probabilities": shares, "training.batch_size": batch_size},
    )
    stages = sample_stages(config, range(step * batch_size, (step + 1) * batch_size))
    assert stages.bincount(minlength=len(shares)).tolist() == [columns_per_batch * count for count in columns]


def test_samples_of_a_batch_are_dealt_out_as_in_the_original() -> None:
    # "Column j takes samples j, j + 4, ...": the columns of [1, 2, 1] are those of stages 0, 1, 1, 2.
    config = tiny_pyramidal_flow({**THREE_STAGES, "training.batch_size": 8})
    assert sample_stages(config, range(8)).tolist() == [0, 1, 1, 2, 0, 1, 1, 2]


@given(st.integers(0, 30), st.sampled_from((1, 2, 4)))
def test_the_stage_of_a_sample_does_not_depend_on_the_workers(step: int, num_workers: int) -> None:
    config = tiny_pyramidal_flow({**THREE_STAGES, "training.batch_size": 12})
    batch = range(12 * step, 12 * step + 12)
    share = 12 // num_workers
    parts = [sample_stages(config, batch[rank * share : (rank + 1) * share]) for rank in range(num_workers)]
    assert torch.equal(torch.cat(parts), sample_stages(config, batch))


def test_a_perfect_model_has_no_loss() -> None:
    batch = random_batch(8)
    for values in ({}, THREE_STAGES):
        config = tiny_pyramidal_flow(values)
        targets = targets_of(config, batch)
        assert paradigm_of(config).loss(FormulaModel(lambda *_, v=targets: v), batch).loss == 0


def targets_of(config: ExperimentConfig, batch: Batch) -> list[Tensor]:
    """End - start of every stage, for all samples."""
    levels = build_decomposition(config.decomposition).analyze(batch.images)
    noises = noise_pyramid(normal(config.seed, "noise/0", batch.indices, (1, 8, 8)), len(levels))
    stages = pyramid_stages(config.num_stages, config.pyramidal_flow.gamma)
    ends = [stage_ends(stage, levels[q], levels[q - 1] if q else None, noises[q]) for q, stage in enumerate(stages)]
    return [end - start for start, end in ends]


def test_all_samples_weigh_the_same_and_count_for_their_own_stage_alone() -> None:
    # Off by 1, 2 and 3 at the three levels; 2, 4 and 2 of 8 samples train them.
    config, batch = tiny_pyramidal_flow(THREE_STAGES), random_batch(8)
    off = [target + error for target, error in zip(targets_of(config, batch), (1.0, 2.0, 3.0), strict=True)]
    result = paradigm_of(config).loss(FormulaModel(lambda *_: off), batch)
    assert result.stage_counts.tolist() == [2, 4, 2]
    assert result.stage_losses.tolist() == pytest.approx([2 * 1.0, 4 * 4.0, 2 * 9.0], rel=1e-5)
    assert float(result.loss) == pytest.approx((2 + 16 + 18) / 8, rel=1e-5)


def test_progress_is_uniform_in_whole_ticks() -> None:
    config = tiny_pyramidal_flow({"training.batch_size": 400})
    model = FormulaModel(lambda scales, *_: list(scales))
    paradigm_of(config).loss(model, random_batch(400))
    ((_, t, _, _),) = model.calls
    u = uniform(config.seed, "progress", range(400))
    for stage, wired in enumerate(pyramid_stages(2, 1 / 3)):
        rows = sample_stages(config, range(400)) == stage
        ticks = 1000 * (t[rows, stage].double() - wired.start_t) / (wired.end_t - wired.start_t)
        torch.testing.assert_close(ticks, (1000 * u[rows]).floor(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("gamma", [1 / 3, 0.2])
@pytest.mark.parametrize("num_stages", [2, 3])
@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_the_true_velocity_tells_the_clean_level_from_any_state(num_stages: int, progress: float, gamma: float) -> None:
    image = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    levels = [avg_pool2d(image, 2**q) for q in reversed(range(num_stages))]
    noises = noise_pyramid(torch.randn_like(image), num_stages)
    for q, stage in enumerate(pyramid_stages(num_stages, gamma)):
        start, end = stage_ends(stage, levels[q], levels[q - 1] if q else None, noises[q])
        state, times = list(levels), [0.0] * num_stages
        state[q], times[q] = (1 - progress) * start + progress * end, progress
        step = SolverStep(1, 1, times, range(q, q + 1), False, state, [end - start])
        torch.testing.assert_close(clean_estimate(stage, step), levels[q], rtol=0, atol=1e-12)


def test_a_stage_starts_between_its_noise_and_the_level_before_and_ends_at_its_own() -> None:
    noise, level, coarser = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4), torch.randn(1, 1, 2, 2)
    stage = PyramidStage(0.75, 0.25, 0.1, 0.2, 1.0, 0.0)
    start, end = stage_ends(stage, level, coarser, noise)
    torch.testing.assert_close(start, 0.75 * noise + 0.25 * repeat_blocks(coarser))
    torch.testing.assert_close(end, 0.25 * noise + 0.75 * level)
    assert torch.equal(stage_ends(PyramidStage(1.0, 0.5, 0, 0.4, 1, 0), level, None, noise)[0], noise)


@torch.no_grad()
def test_a_stage_sees_its_own_level_alone() -> None:
    model = random_model(tiny_pyramidal_flow(THREE_STAGES))
    scales, labels = [torch.randn(2, 1, side, side) for side in (2, 4, 8)], torch.tensor([0, 1])
    for stage, side in enumerate((2, 4, 8)):
        mask = (torch.arange(3) <= stage).float().expand(2, -1)
        t = torch.full((2, 3), 0.5)
        out = model(scales, t, mask, labels)[stage]
        others = [x if q == stage else torch.full_like(x, torch.nan) for q, x in enumerate(scales)]
        assert torch.equal(model(others, t, mask, labels)[stage], out)
        assert out.shape == (2, 1, side, side)
        other_t = t.clone()
        other_t[:, stage] = 0.6
        assert not torch.allclose(model(scales, other_t, mask, labels)[stage], out, atol=1e-3)


def test_a_stage_begins_with_noise_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # The jump adds block noise made from the stage's own start noise: other noise there, another image.
    config = tiny_pyramidal_flow()
    model, seen = random_model(config), []

    def disturbed(seed: int, stream: str, indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        return normal(seed + (stream == "sample_noise/1"), stream, indices, shape)

    for draw in (normal, disturbed):
        monkeypatch.setattr(sampler, "normal", draw)
        states: list[list[Tensor]] = []
        paradigm_of(config).sample(
            model, torch.zeros(2).long(), range(2), 3, config.sampling, lambda p, s=states: s.append(list(p.scales))
        )
        seen.append(states)
    steps = config.sampling.steps[0]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(seen[0][:steps], seen[1][:steps], strict=True))
    assert all(not torch.allclose(a[1], b[1]) for a, b in zip(seen[0][steps:], seen[1][steps:], strict=True))


def test_a_finished_level_rests() -> None:
    config, states = tiny_pyramidal_flow(THREE_STAGES), []
    paradigm_of(config).sample(
        random_model(config), torch.zeros(2).long(), range(2), 3, config.sampling, lambda p: states.append(p.scales)
    )
    for before, after in pairwise(states[2:]):
        assert torch.equal(before[0], after[0])
