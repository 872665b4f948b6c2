"""The cascade: what each network is trained on, and what the second is shown of the first one's output (numerics 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dfm_core.config import SamplingConfig
from dfm_core.flow.timesteps import logit_normal
from dfm_core.models.experts import StageExperts
from dfm_core.paradigms import cascaded
from dfm_core.paradigms import sampling as sampler
from dfm_core.paradigms.base import SampleProgress
from dfm_core.seeding import normal, normal_scalars
from tests.support.models import (
    FormulaModel,
    paradigm_of,
    random_batch,
    random_model,
    random_sampler,
    tiny_cascade,
    tiny_flow_matching,
)

TOKENS = ("added", "joined")
LABELS = torch.tensor([0, 2])


def noises(seed: int, indices: Sequence[int]) -> list[Tensor]:
    """Of both levels in training."""
    return [normal(seed, f"noise/{s}", indices, (1, side, side)) for s, side in enumerate((4, 8))]


def times(seed: int, indices: Sequence[int]) -> Tensor:
    """The normals behind the timesteps, [B, 2]."""
    return normal_scalars(seed, "timestep", indices, 2)


def test_the_first_network_is_trained_as_flow_matching_on_the_coarse_level() -> None:
    config, batch = tiny_cascade(0, {"training.location": 0.3, "training.class_dropout": 0.0}), random_batch(8)
    model = FormulaModel(lambda scales, *_: [0.3 * x for x in scales])
    result = paradigm_of(config).loss(model, batch)
    ((scales, t, mask, _),) = model.calls
    data, noise = avg_pool2d(batch.images, 2), noises(config.seed, batch.indices)[0]
    time = logit_normal(times(config.seed, batch.indices)[:, 0], 0.3, 1.0).float()
    torch.testing.assert_close(t, torch.stack([time, torch.zeros(8)], dim=1))
    state = time[:, None, None, None] * data + (1 - time[:, None, None, None]) * noise
    torch.testing.assert_close(scales[0], state)
    assert mask.tolist() == [[1, 0]] * 8
    losses = (0.3 * state - (data - noise)).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(result.loss, losses.mean())
    torch.testing.assert_close(result.stage_losses, torch.stack([losses.sum(), torch.tensor(0.0)]))
    assert result.stage_counts.tolist() == [8, 0]


def test_the_second_network_is_trained_on_the_image_given_the_noisy_coarse_level() -> None:
    values = {"training.location": 0.3, "training.previous_location": 1.2, "training.previous_scale": 0.5}
    config, batch = tiny_cascade(1, {**values, "training.class_dropout": 0.0}), random_batch(8)
    model = FormulaModel(lambda scales, *_: [0.3 * x for x in scales])
    result = paradigm_of(config).loss(model, batch)
    ((scales, t, mask, _),) = model.calls
    data, noise, z = [avg_pool2d(batch.images, 2), batch.images], noises(0, batch.indices), times(0, batch.indices)
    time = torch.stack([logit_normal(z[:, 0], 1.2, 0.5), logit_normal(z[:, 1], 0.3, 1.0)], dim=1).float()
    torch.testing.assert_close(t, time)
    for s, state in enumerate(scales):
        own = time[:, s, None, None, None]
        torch.testing.assert_close(state, own * data[s] + (1 - own) * noise[s])
    assert mask.tolist() == [[1, 1]] * 8
    losses = (0.3 * scales[1] - (data[1] - noise[1])).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(result.loss, losses.mean())
    torch.testing.assert_close(result.stage_losses, torch.stack([torch.tensor(0.0), losses.sum()]))
    assert result.stage_counts.tolist() == [0, 8]


def test_the_first_network_learns_what_flow_matching_learns_from_the_coarse_images() -> None:
    batch = random_batch(8)
    coarse = replace(batch, images=avg_pool2d(batch.images, 2))
    baseline = tiny_flow_matching({"decomposition.resolutions": (4,), "model.patch_sizes": (1,)})
    velocity = FormulaModel(lambda scales, t, *_: [x * t[:, 0, None, None, None] for x in scales])
    cascade_loss = paradigm_of(tiny_cascade(0)).loss(velocity, batch).loss
    assert torch.equal(cascade_loss, paradigm_of(baseline).loss(velocity, coarse).loss)


def test_a_config_of_both_networks_has_no_loss_of_its_own() -> None:
    with pytest.raises(AssertionError, match=r"cascaded has a network for each of stages \(0, 1\)"):
        paradigm_of(tiny_cascade(None)).loss(FormulaModel(lambda scales, *_: list(scales)), random_batch())


@pytest.mark.parametrize("condition_noise", [0.0, 0.025, 0.3])
def test_the_second_network_is_shown_the_first_ones_output_with_fresh_noise(condition_noise: float) -> None:
    # The first moves with velocity 1 and the second with 3, so that all states are known.
    sampling = SamplingConfig((4, 2), (), condition_noise=condition_noise)
    model = FormulaModel(lambda scales, *_: [torch.ones_like(scales[0]), 3 * torch.ones_like(scales[1])])
    images = paradigm_of(tiny_cascade(None)).sample(model, LABELS, range(2), 5, sampling).images
    start = [normal(5, f"sample_noise/{s}", range(2), (1, side, side)) for s, side in enumerate((4, 8))]
    fresh = normal(5, "condition_noise/0", range(2), (1, 4, 4))
    condition = (1 - condition_noise) * (start[0] + 1) + condition_noise * fresh
    assert [mask[0].tolist() for _, _, mask, _ in model.calls] == [[1, 0]] * 4 + [[1, 1]] * 2
    held = 1 - condition_noise
    expected = [[0, 0], [0.25, 0], [0.5, 0], [0.75, 0], [held, 0], [held, 0.5]]
    torch.testing.assert_close(torch.stack([t[0] for _, t, _, _ in model.calls]), torch.tensor(expected))
    for scales, *_ in model.calls[4:]:
        torch.testing.assert_close(scales[0], condition)
    torch.testing.assert_close(images, start[1] + 3)


def test_the_noise_of_the_condition_is_independent_of_all_other_noise() -> None:
    model = FormulaModel(lambda scales, *_: [0 * x for x in scales])
    paradigm = paradigm_of(tiny_cascade(None))
    paradigm.sample(model, torch.zeros(400).long(), range(400), 5, SamplingConfig((1, 1), (), condition_noise=0.5))
    start, condition = model.calls[0][0][0], model.calls[1][0][0]
    fresh = (condition - 0.5 * start) / 0.5
    assert float(fresh.std()) == pytest.approx(1, abs=0.04)
    for other in (start, avg_pool2d(model.calls[0][0][1], 2)):
        correlation = torch.corrcoef(torch.stack([fresh.flatten(), other.flatten()]))[0, 1]
        assert abs(float(correlation)) < 4.5 / fresh.numel() ** 0.5


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_the_condition_rests_while_the_second_network_works(solver: str) -> None:
    config, states = tiny_cascade(None, {"sampling.solver": solver}), []
    sampler = random_sampler(config)
    paradigm_of(config).sample(sampler, LABELS, range(2), 5, config.sampling, lambda p: states.append(p))
    first, second = config.sampling.steps
    assert len(states) == first + second
    assert all(torch.equal(p.scales[0], states[first].scales[0]) for p in states[first:])
    assert all(torch.equal(p.scales[1], states[0].scales[1]) for p in states[:first])


def test_each_network_is_asked_in_its_own_stage_alone() -> None:
    config, calls = tiny_cascade(None), []
    sampler = random_sampler(config)
    assert isinstance(sampler, StageExperts)
    for stage, expert in enumerate(sampler.experts):
        expert.register_forward_hook(lambda *_, s=stage: calls.append(s))
    paradigm_of(config).sample(sampler, LABELS, range(2), 5, config.sampling)
    assert calls == [0] * 3 + [1] * 2


@pytest.mark.parametrize("tokens", TOKENS)
@torch.no_grad()
def test_the_second_network_sees_its_condition_and_how_noisy_it_is(tokens: str) -> None:
    model = random_model(tiny_cascade(1, {"cascade.condition_tokens": tokens}))
    coarse, fine, mask = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 8, 8), torch.ones(2, 2)
    t = torch.tensor([[0.9, 0.4]]).expand(2, 2)
    base = model([coarse, fine], t, mask, LABELS)[1]
    changed = [
        model([coarse + 1, fine], t, mask, LABELS),
        model([coarse, fine + 1], t, mask, LABELS),
        model([coarse, fine], t + torch.tensor([0.05, 0.0]), mask, LABELS),
        model([coarse, fine], t + torch.tensor([0.0, 0.05]), mask, LABELS),
        model([coarse, fine], t, mask, 1 - LABELS.clamp(max=1)),
    ]
    for other in changed:
        assert (base - other[1]).flatten(1).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("tokens", TOKENS)
@torch.no_grad()
def test_a_pixel_of_the_condition_is_read_where_it_is(tokens: str) -> None:
    # Mirrored inputs do not give mirrored outputs if positions are known; the condition's too.
    model = random_model(tiny_cascade(1, {"cascade.condition_tokens": tokens}))
    coarse, fine, mask = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 8, 8), torch.ones(2, 2)
    t = torch.full((2, 2), 0.5)
    base = model([coarse, fine], t, mask, LABELS)[1]
    mirrored = model([coarse.flip(-1), fine], t, mask, LABELS)[1]
    assert (base - mirrored).flatten(1).abs().amax(dim=1).min() > 1e-4


@torch.no_grad()
def test_the_first_network_does_not_see_the_fine_level() -> None:
    model = random_model(tiny_cascade(0))
    coarse, mask, t = torch.randn(2, 1, 4, 4), torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[0.4, 0.0]] * 2)
    seen, unseen = (model([coarse, torch.full((2, 1, 8, 8), x)], t, mask, LABELS)[0] for x in (0.0, torch.nan))
    assert torch.equal(seen, unseen)


def test_the_noise_of_the_condition_is_drawn_per_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, list[int]]] = []

    def noting(seed: int, stream: str, indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        drawn.append((stream, list(indices)))
        return normal(seed, stream, indices, shape)

    monkeypatch.setattr(sampler, "normal", noting)
    config = tiny_cascade(None)
    paradigm_of(config).sample(random_sampler(config), LABELS, [7, 3], 5, config.sampling)
    assert drawn == [(stream, [7, 3]) for stream in ("sample_noise/0", "sample_noise/1", "condition_noise/0")]


def test_previews_show_the_level_that_is_generated_and_undo_its_standardisation() -> None:
    # All velocities are 0: every preview is the noise that the level starts from, times its own deviation.
    config, std = tiny_cascade(None, {"data.standardize": True}), (0.5, 0.25)
    seen: list[SampleProgress] = []
    model = FormulaModel(lambda scales, *_: [0 * x for x in scales])
    paradigm = paradigm_of(config, std)
    assert isinstance(paradigm, cascaded.Cascaded)
    images = paradigm.sample(model, LABELS, range(2), 5, config.sampling, seen.append).images
    start = [normal(5, f"sample_noise/{s}", range(2), (1, side, side)) for s, side in enumerate((4, 8))]
    for progress in seen:
        stage = int(progress.step > config.sampling.steps[0])
        torch.testing.assert_close(progress.preview(), std[stage] * start[stage])
    torch.testing.assert_close(images, std[1] * start[1])
    assert [(p.step, p.num_steps, p.ends_stage) for p in seen] == [
        (1, 5, False),
        (2, 5, False),
        (3, 5, True),
        (4, 5, False),
        (5, 5, True),
    ]
