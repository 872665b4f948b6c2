"""Decomposable Flow Matching: the released loss, what masks hide, and samples with known answers (numerics 3, 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dfm_core.config import SamplingConfig
from dfm_core.decompositions import build_decomposition
from dfm_core.flow.timesteps import TimestepDraw, assemble_timesteps
from dfm_core.paradigms import Batch, dfm, draws
from dfm_core.paradigms import sampling as sampler
from dfm_core.paradigms.draws import dropped_labels
from dfm_core.paradigms.noising import drop_labels
from dfm_core.seeding import normal
from tests.support.models import FormulaModel, golden_tensors, paradigm_of, random_batch, random_model, tiny_dfm

GOLDEN = golden_tensors("dfm_official_loss")


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("sample", [0, 1, 2])
def test_the_loss_equals_that_of_the_released_code(stage: int, sample: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The original is noise-first: its model's output k is 0.5 input_k + 0.1 k, ours is the negative of that.
    config = tiny_dfm({"training.previous_location": 2.0, "training.class_dropout": 0.0})
    normals = -torch.stack([GOLDEN["time_normal_0"], GOLDEN["time_normal_1"]], dim=1).reshape(3, 2).double()

    def recorded_draw(_config: object, indices: Sequence[int]) -> TimestepDraw:
        return assemble_timesteps(torch.full((len(indices),), stage), normals[list(indices)], config)

    def recorded_noise(_seed: int, stream: str, indices: Sequence[int], _shape: tuple[int, ...]) -> Tensor:
        return GOLDEN[f"noise_level{stream.removeprefix('noise/')}"][list(indices)]

    monkeypatch.setattr(dfm, "draw_timesteps", recorded_draw)
    monkeypatch.setattr(draws, "normal", recorded_noise)
    model = FormulaModel(
        lambda scales, _t, mask, _labels: [
            -(0.5 * mask[:, k, None, None, None] * x + 0.1 * k) for k, x in enumerate(scales)
        ]
    )
    batch = Batch(GOLDEN["images"][sample : sample + 1], torch.zeros(1, dtype=torch.int64), [sample])
    result = paradigm_of(config, (1.0, 1.0)).loss(model, batch)

    assert result.loss.item() == pytest.approx(GOLDEN[f"stage{stage}_loss_per_sample"][sample].item(), rel=1e-6)
    ((scales, t, mask, _),) = model.calls
    assert torch.equal(mask[0], GOLDEN[f"stage{stage}_mask"])
    torch.testing.assert_close(1 - t[0], GOLDEN[f"stage{stage}_sigma"][sample], rtol=0, atol=1e-6)
    for level, scale in enumerate(scales):
        expected = GOLDEN[f"stage{stage}_model_input_level{level}"][sample]
        torch.testing.assert_close(scale[0], expected, rtol=0, atol=1e-6)


def test_the_loss_ignores_what_masked_scales_should_become() -> None:
    # A checkerboard has mean zero in every 2 x 2 cell: it changes the fine scale and nothing else.
    config = tiny_dfm({"training.first_stage_probability": 1.0})
    checkerboard = torch.tensor([[0.5, -0.5], [-0.5, 0.5]]).repeat(4, 4)
    coarse = torch.randint(-8, 8, (4, 1, 4, 4)) / 8
    batch = replace(random_batch(4), images=coarse.repeat_interleave(2, -1).repeat_interleave(2, -2))
    changed = replace(batch, images=batch.images + checkerboard)
    a, b = (
        decomposed[1]
        for decomposed in map(build_decomposition(config.decomposition).analyze, (batch.images, changed.images))
    )
    assert not torch.equal(a, b)
    for input_masking in (True, False):
        config = tiny_dfm({"training.first_stage_probability": 1.0, "model.input_masking": input_masking})
        model, paradigm = random_model(config), paradigm_of(config, (1.0, 1.0))
        assert torch.equal(paradigm.loss(model, batch).loss, paradigm.loss(model, changed).loss)
    active = tiny_dfm({"training.first_stage_probability": 0.0})
    paradigm = paradigm_of(active, (1.0, 1.0))
    assert paradigm.loss(model, batch).loss != paradigm.loss(model, changed).loss


CHECKERBOARD = torch.tensor([[0.5, -0.5], [-0.5, 0.5]]).repeat(4, 4)
"""Mean zero in every 2 x 2 cell: added to an image, it changes the fine scale alone."""


@pytest.mark.parametrize(
    ("input_masking", "loss_masking", "noise_matters", "data_matters"),
    [(True, True, False, False), (False, True, True, False), (True, False, True, True), (False, False, True, True)],
)
def test_each_mask_hides_its_part_of_later_scales(
    input_masking: bool, loss_masking: bool, noise_matters: bool, data_matters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At stage 1 the fine scale is pure noise. It enters through the model's input, and its velocity through the loss;
    # EDM's preconditioning would take the noise out of the latter.
    config = tiny_dfm(
        {
            "model.preconditioning": "none",
            "training.first_stage_probability": 1.0,
            "model.input_masking": input_masking,
            "training.loss_masking": loss_masking,
        }
    )
    model, paradigm = random_model(config), paradigm_of(config)
    batch = replace(random_batch(4), images=torch.randint(-8, 8, (4, 1, 8, 8)) / 8)
    base = paradigm.loss(model, batch).loss
    other_data = paradigm.loss(model, replace(batch, images=batch.images + CHECKERBOARD)).loss

    def other_fine_noise(seed: int, stream: str, indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        return normal(seed + (stream == "noise/1"), stream, indices, shape)

    monkeypatch.setattr(draws, "normal", other_fine_noise)
    other_noise = paradigm.loss(model, batch).loss
    assert (not torch.equal(base, other_noise)) is noise_matters
    assert (not torch.equal(base, other_data)) is data_matters


@pytest.mark.parametrize("input_masking", [True, False])
def test_while_sampling_the_input_mask_hides_later_noise_from_the_first_stage(
    input_masking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_dfm({"model.input_masking": input_masking})
    model, paradigm = random_model(config), paradigm_of(config)

    def first_stage() -> list[Tensor]:
        seen: list[Tensor] = []
        labels = torch.zeros(2, dtype=torch.int64)
        paradigm.sample(model, labels, range(2), 0, config.sampling, lambda p: seen.append(p.scales[0]))
        return seen

    steps = config.sampling.steps[0]
    before = first_stage()
    monkeypatch.setattr(
        sampler,
        "normal",
        lambda seed, stream, indices, shape: normal(seed + (stream == "sample_noise/1"), stream, indices, shape),
    )
    same = [torch.equal(a, b) for a, b in zip(before, first_stage(), strict=True)]
    assert same == [input_masking] * steps + [False] * config.sampling.steps[1]


def test_without_the_loss_mask_every_sample_counts_for_every_scale() -> None:
    errors = (1.0, 3.0)
    batch = random_batch(8)
    for loss_masking, expected, counts in ((True, 1.0, [8, 0]), (False, 1.0 + 9.0, [8, 8])):
        config = tiny_dfm({"training.first_stage_probability": 1.0, "training.loss_masking": loss_masking})
        clean = build_decomposition(config.decomposition).analyze(batch.images)
        noise = [normal(config.seed, f"noise/{s}", batch.indices, tuple(x.shape[1:])) for s, x in enumerate(clean)]
        targets = [data - eps for data, eps in zip(clean, noise, strict=True)]
        off_by = FormulaModel(lambda *_, v=targets: [x + error for x, error in zip(v, errors, strict=True)])
        result = paradigm_of(config).loss(off_by, batch)
        assert result.loss.item() == pytest.approx(expected, rel=1e-5)
        assert result.stage_counts.tolist() == counts
        assert float(result.stage_losses.sum()) / 8 == pytest.approx(expected, rel=1e-5)


def test_the_loss_mask_changes_nothing_where_no_scale_is_hidden() -> None:
    values = {"training.first_stage_probability": 0.0}
    batch, model = random_batch(4), random_model(tiny_dfm())
    with_mask, without = (
        paradigm_of(tiny_dfm({**values, "training.loss_masking": on})).loss(model, batch).loss for on in (True, False)
    )
    assert torch.equal(with_mask, without)


def test_a_masked_scale_trains_none_of_its_weights() -> None:
    config = tiny_dfm({"training.first_stage_probability": 1.0})
    model = random_model(config)
    result = paradigm_of(config, (1.0, 1.0)).loss(model, random_batch(4))
    result.loss.backward()
    assert result.stage_counts.tolist() == [4, 0]
    assert result.stage_losses[1] == 0
    assert not any(p.grad is not None and p.grad.any() for p in model.network.heads["1"].parameters())
    assert not model.network.patch_embedders["1"].weight.grad.any()
    assert model.network.heads["0"].linear.weight.grad.any()


def test_a_perfect_model_has_no_loss() -> None:
    config = tiny_dfm({"training.first_stage_probability": 0.5})
    batch = random_batch(8)
    clean = build_decomposition(config.decomposition).analyze(batch.images)
    noise = [normal(config.seed, f"noise/{s}", batch.indices, tuple(x.shape[1:])) for s, x in enumerate(clean)]
    model = FormulaModel(lambda *_: [data - eps for data, eps in zip(clean, noise, strict=True)])
    assert paradigm_of(config, (1.0, 1.0)).loss(model, batch).loss == 0


def test_scales_weigh_the_same_whatever_their_size() -> None:
    config = tiny_dfm({"training.first_stage_probability": 0.0})
    batch = random_batch(8)
    clean = build_decomposition(config.decomposition).analyze(batch.images)
    noise = [normal(config.seed, f"noise/{s}", batch.indices, tuple(x.shape[1:])) for s, x in enumerate(clean)]
    off_by = FormulaModel(
        lambda *_: [data - eps + error for data, eps, error in zip(clean, noise, (1.0, 3.0), strict=True)]
    )
    result = paradigm_of(config, (1.0, 1.0)).loss(off_by, batch)
    assert result.loss.item() == pytest.approx(1.0**2 + 3.0**2, rel=1e-5)


def test_noise_of_different_scales_is_independent() -> None:
    config = tiny_dfm({"decomposition.resolutions": (8, 16), "training.first_stage_probability": 0.0})
    model = FormulaModel(lambda scales, *_: list(scales), [(1, 8, 8), (1, 16, 16)])
    paradigm_of(config, (1.0, 1.0)).sample(
        model, torch.zeros(200, dtype=torch.int64), range(200), 0, SamplingConfig((1, 1), (0.7,))
    )
    coarse, fine = model.calls[0][0]
    means = torch.nn.functional.avg_pool2d(fine, 2)
    correlation = torch.corrcoef(torch.stack([coarse.flatten(), means.flatten()]))[0, 1]
    assert abs(float(correlation)) < 4.5 / coarse.numel() ** 0.5


def gaussian_velocity(means: Sequence[float], stds: Sequence[float], sides: Sequence[int]) -> FormulaModel:
    """E[v | X_t] where scale s of the data is N(mean_s, std_s^2) in every cell."""

    def velocity(scales: Sequence[Tensor], t: Tensor, _mask: Tensor, _labels: Tensor) -> list[Tensor]:
        found = []
        for stage, (x, mean, std) in enumerate(zip(scales, means, stds, strict=True)):
            time = t[:, stage, None, None, None]
            slope = (time * std**2 - (1 - time)) / (time**2 * std**2 + (1 - time) ** 2)
            found.append(mean + slope * (x - time * mean))
        return found

    return FormulaModel(velocity, [(1, side, side) for side in sides])


@pytest.mark.parametrize(
    ("resolutions", "means", "stds", "sampling"),
    [
        ((8,), (0.4,), (0.5,), SamplingConfig((400,), ())),
        ((4, 8), (0.4, -0.1), (0.5, 0.2), SamplingConfig((300, 200), (0.7,))),
        ((2, 4, 8), (0.4, -0.1, 0.3), (0.5, 0.2, 0.3), SamplingConfig((200, 200, 200), (0.7, 0.9))),
    ],
    ids=["S1", "S2", "S3"],
)
def test_sampling_a_gaussian_carries_each_noise_to_its_quantile(
    resolutions: tuple[int, ...], means: tuple[float, ...], stds: tuple[float, ...], sampling: SamplingConfig
) -> None:
    # The exact flow of a Gaussian is x -> mean + std x; Euler's error falls with the step.
    config = tiny_dfm({"decomposition.resolutions": resolutions})
    paradigm, labels = paradigm_of(config, (1.0,) * len(resolutions)), torch.zeros(4, dtype=torch.int64)
    images = paradigm.sample(gaussian_velocity(means, stds, resolutions), labels, range(4), 3, sampling).images
    ends = [
        mean + std * normal(3, f"sample_noise/{stage}", range(4), (1, side, side))
        for stage, (side, mean, std) in enumerate(zip(resolutions, means, stds, strict=True))
    ]
    expected = build_decomposition(config.decomposition).synthesize(ends)
    torch.testing.assert_close(images, expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("stages", [1, 2])
def test_samples_of_a_gaussian_have_its_mean_and_variance(stages: int) -> None:
    resolutions, means, stds = (4, 8)[-stages:], (0.4, -0.1)[:stages], (0.5, 0.2)[:stages]
    config = tiny_dfm({"decomposition.resolutions": resolutions})
    sampling = SamplingConfig((240, 160)[:stages], (0.7,)[: stages - 1])
    count = 600
    images = (
        paradigm_of(config, (1.0,) * stages)
        .sample(
            gaussian_velocity(means, stds, resolutions),
            torch.zeros(count, dtype=torch.int64),
            range(count),
            3,
            sampling,
        )
        .images[..., 1:-1, 1:-1]
    )
    # Bilinear upsampling weighs white noise with (9 + 1)/16 along each axis, away from the border.
    variance = stds[0] ** 2 if stages == 1 else stds[0] ** 2 * (10 / 16) ** 2 + stds[1] ** 2
    assert float(images.mean()) == pytest.approx(sum(means), abs=0.01)
    assert float(images.var()) == pytest.approx(variance, rel=0.04)


def test_standardised_scales_are_divided_before_and_multiplied_after() -> None:
    config = tiny_dfm({"data.standardize": True})
    std, labels = (2.0, 0.25), torch.zeros(2, dtype=torch.int64)
    paradigm = paradigm_of(config, std)
    image = torch.randn(2, 1, 8, 8)
    plain = build_decomposition(config.decomposition).analyze(image)
    for scale, raw, divisor in zip(paradigm.analyze(image), plain, std, strict=True):
        torch.testing.assert_close(scale, raw / divisor)
    torch.testing.assert_close(paradigm.synthesize(paradigm.analyze(image)), image, rtol=0, atol=1e-6)
    # A unit Gaussian is standardised data: its exact flow is the identity.
    sampling = SamplingConfig((300, 200), (0.7,))
    images = paradigm.sample(gaussian_velocity((0.0, 0.0), (1.0, 1.0), (4, 8)), labels, range(2), 3, sampling).images
    ends = [
        d * normal(3, f"sample_noise/{s}", range(2), (1, r, r))
        for s, (d, r) in enumerate(zip(std, (4, 8), strict=True))
    ]
    torch.testing.assert_close(images, build_decomposition(config.decomposition).synthesize(ends), rtol=0, atol=0.05)


def test_without_standardisation_scales_are_left_as_they_are() -> None:
    paradigm, image = paradigm_of(tiny_dfm(), (2.0, 0.25)), torch.randn(2, 1, 8, 8)
    for scale, raw in zip(
        paradigm.analyze(image), build_decomposition(tiny_dfm().decomposition).analyze(image), strict=True
    ):
        assert torch.equal(scale, raw)


def test_sampling_feeds_the_stage_schedule_to_the_model() -> None:
    model = FormulaModel(lambda scales, *_: list(scales))
    paradigm_of(tiny_dfm(), (1.0, 1.0)).sample(
        model, torch.zeros(2, dtype=torch.int64), range(2), 0, SamplingConfig((2, 2), (0.5,))
    )
    times = [t.tolist() for _, t, _, _ in model.calls]
    masks = [mask.tolist() for _, _, mask, _ in model.calls]
    assert times == [[[0, 0]] * 2, [[0.25, 0]] * 2, [[0.5, 0]] * 2, [[0.75, 0.5]] * 2]
    assert masks == [[[1, 0]] * 2, [[1, 0]] * 2, [[1, 1]] * 2, [[1, 1]] * 2]


def test_a_model_trained_with_tied_timesteps_samples_all_scales_together() -> None:
    # numerics 3.2, "Tied": sampling advances all timesteps together on n/N. A staged schedule would ask the model for
    # masks and stages that it never saw in training.
    model = FormulaModel(lambda scales, *_: list(scales))
    paradigm_of(tiny_dfm({"training.timesteps": "tied"}), (1.0, 1.0)).sample(
        model, torch.zeros(1, dtype=torch.int64), [0], 0, SamplingConfig((3, 2), (0.7,))
    )
    times = torch.cat([t for _, t, _, _ in model.calls])
    torch.testing.assert_close(times, (torch.arange(5) / 5)[:, None].expand(5, 2))
    assert all(mask.eq(1).all() for _, _, mask, _ in model.calls)


def test_guidance_pairs_each_label_with_the_null_class() -> None:
    seen = FormulaModel(lambda scales, _t, _m, labels: [x * 0 + labels[:, None, None, None] for x in scales])
    paradigm = paradigm_of(tiny_dfm(), (1.0, 1.0))
    labels = torch.tensor([0, 2])
    images = paradigm.sample(seen, labels, range(2), 0, SamplingConfig((1, 1), (0.5,), guidance=2.0)).images
    assert seen.calls[0][3].tolist() == [0, 2, 3, 3]
    start = [normal(0, f"sample_noise/{s}", range(2), (1, r, r)) for s, r in enumerate((4, 8))]
    guided = (3 + 2.0 * (labels - 3))[:, None, None, None]  # a constant velocity moves each scale by itself
    torch.testing.assert_close(images, paradigm.synthesize([x + guided for x in start]))


def test_labels_are_dropped_at_their_rate_and_by_index_alone() -> None:
    dropped = dropped_labels(range(4000), 0, 0.1)
    assert float(dropped.float().mean()) == pytest.approx(0.1, abs=4 * (0.09 / 4000) ** 0.5)
    assert torch.equal(dropped_labels([7, 8], 0, 0.1), dropped[7:9])
    labels = torch.arange(4000) % 3
    assert torch.equal(drop_labels(labels, dropped, 3), torch.where(dropped, 3, labels))
