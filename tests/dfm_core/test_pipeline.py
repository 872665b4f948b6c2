"""The pipeline: the paradigm's own samples, whatever the split, with errors that say what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dfm_core
from dfm_core.catalog.datasets import FASHION_CLASSES, DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.config.data import DataDescription
from dfm_core.data.image_dataset import to_pixels
from dfm_core.decompositions import build_decomposition
from dfm_core.decompositions.learned import initial_pyramid
from dfm_core.models.velocity import VelocityModel
from dfm_core.pipeline import DFMPipeline, _share_out
from dfm_core.training.state import Snapshot, SnapshotCard, build_model
from tests.support.models import paradigm_of, tiny_cascade, tiny_dfm, tiny_flow_matching, tiny_pyramidal_flow

FASHION = DataShape(channels=1, num_classes=10)
LABELS = [0, 3, 9, 1]


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomized(model: VelocityModel) -> VelocityModel:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.15, generator=seeded())
    return model.eval()


def pipeline(
    values: Mapping[str, Any] | None = None,
    shape: DataShape = FASHION,
    make: Callable[[Mapping[str, Any] | None], ExperimentConfig] = tiny_dfm,
) -> Any:
    """A tiny pipeline with random weights and no progress bar; as `Any`, for calls with wrong arguments."""
    config = make(values)
    std = (0.5, 0.25)[-config.num_stages :]
    learned = config.decomposition.name == "learned"
    pyramid = initial_pyramid(config.decomposition, shape.channels) if learned else None
    decomposition = build_decomposition(config.decomposition, pyramid)
    model = randomized(build_model(config, shape, std))
    pipe = DFMPipeline(Snapshot(config, SnapshotCard(6, shape, std), model, decomposition, pyramid))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("make", [tiny_dfm, tiny_flow_matching, tiny_pyramidal_flow])
def test_the_images_are_the_paradigms_own(make: Any, standardize: bool) -> None:
    pipe = pipeline({"data.standardize": standardize}, make=make)
    seed = int(torch.randint(2**63 - 1, (), generator=seeded()))
    paradigm = paradigm_of(pipe.config, pipe.card.scale_std)
    expected = paradigm.sample(pipe.model, torch.tensor(LABELS), range(4), seed, pipe.config.sampling)
    output = pipe(LABELS, generator=seeded(), output_type="pt")
    assert torch.equal(output.images, expected.images)
    assert output.num_evaluations == expected.num_evaluations == 5


DESCRIBED = DataDescription(
    fingerprint="of the files",
    encoder="doubling",
    class_names=("ant", "bee"),
    num_samples=9,
    num_reference=9,
    reference_fingerprint="of the files",
    resolution=8,
    channels=4,
)


class Doubling:
    """An autoencoder whose pixels are three channels of the latent, twice as large and three times as strong."""

    identity = "doubling"

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return 3.0 * latents[:, :3].repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_latents_are_decoded_by_the_autoencoder_that_made_them() -> None:
    shape = DataShape(channels=4, num_classes=10)
    plain = pipeline({"data.described": DESCRIBED}, shape)
    pipe = DFMPipeline(Snapshot(plain.config, plain.card, plain.model, plain.decomposition, None), Doubling())  # type: ignore[arg-type]
    pipe.set_progress_bar_config(disable=True)
    latents = plain(LABELS, generator=seeded(), output_type="pt", return_previews=True)
    pixels = pipe(LABELS, generator=seeded(), output_type="pt", return_previews=True)
    assert torch.equal(pixels.images, Doubling().decode(latents.images).clamp(-1, 1))
    assert [tuple(stage.shape[1:]) for stage in pixels.previews] == [(3, 8, 8), (3, 16, 16)]
    assert pipe(LABELS, generator=seeded()).images[0].size == (16, 16)


@pytest.mark.parametrize("trained", ["another", ""])
def test_another_autoencoder_than_the_models_is_refused(trained: str) -> None:
    described = replace(DESCRIBED, encoder=trained) if trained else None
    plain = pipeline({"data.described": described})
    snapshot = Snapshot(plain.config, plain.card, plain.model, plain.decomposition, None)
    with pytest.raises(ValueError, match=f"was trained with {trained or 'pixels'}, the autoencoder is doubling"):
        DFMPipeline(snapshot, Doubling())  # type: ignore[arg-type]


def test_the_generator_alone_decides_the_noise() -> None:
    pipe, generator = pipeline(), seeded()
    first, second = (pipe(LABELS, generator=generator, output_type="pt").images for _ in range(2))
    again = pipe(LABELS, generator=seeded(), output_type="pt").images
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)
    torch.manual_seed(5)
    assert torch.equal(pipe(LABELS, output_type="pt").images, first)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_split_changes_nothing(batch_size: int) -> None:
    pipe = pipeline()
    options = {"output_type": "pt", "return_previews": True, "return_trajectory": True}
    whole = pipe(LABELS, generator=seeded(), **options)
    split = pipe(LABELS, generator=seeded(), batch_size=batch_size, **options)
    torch.testing.assert_close(split.images, whole.images, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(split.previews, whole.previews, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(split.trajectory, whole.trajectory, rtol=1e-5, atol=1e-5)
    fewer = pipe(LABELS[:2], generator=seeded(), output_type="pt")
    torch.testing.assert_close(fewer.images, whole.images[:2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "labels",
    [
        [FASHION_CLASSES[label] for label in LABELS],
        ["T-shirt", 3, np.int64(9), "trouser"],
        torch.tensor(LABELS),
        np.array(LABELS),
        tuple(LABELS),
    ],
)
def test_classes_by_name_number_and_tensor_are_the_same(labels: Any) -> None:
    pipe = pipeline()
    expected = pipe(LABELS, generator=seeded(), output_type="np").images
    assert np.array_equal(pipe(labels, generator=seeded(), output_type="np").images, expected)


@pytest.mark.parametrize("label", ["bag", 8, torch.tensor(8)])
def test_a_single_label_gives_a_batch_of_one(label: Any) -> None:
    assert len(pipeline()(label).images) == 1


@pytest.mark.parametrize(
    ("total", "shares", "expected"),
    [
        (40, (30, 10), (30, 10)),
        (20, (30, 10), (15, 5)),
        (2, (30, 10), (1, 1)),
        (7, (30, 10), (5, 2)),
        (41, (30, 10, 1), (30, 10, 1)),
        (7, (5,), (7,)),
    ],
)
def test_steps_are_shared_out_as_the_configs_are(total: int, shares: tuple[int, ...], expected: Any) -> None:
    assert _share_out(total, shares) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 5),
        ({"num_inference_steps": 10}, 10),
        ({"num_inference_steps": (2, 1)}, 3),
        ({"guidance_scale": 2.0}, 10),
        ({"solver": "heun"}, 9),  # the last step is Euler's
        ({"solver": "heun", "guidance_scale": 2.0, "num_inference_steps": [1, 1]}, 6),
    ],
)
def test_evaluations_follow_from_the_arguments(options: dict[str, Any], expected: int) -> None:
    assert pipeline()([1], **options).num_evaluations == expected


def test_tau_is_where_the_first_stage_hands_over() -> None:
    pipe = pipeline()
    low, high = (pipe([1], tau=tau, generator=seeded(), output_type="pt").images for tau in (0.2, 0.9))
    assert not torch.allclose(low, high)
    default = pipe([1], generator=seeded(), output_type="pt").images
    assert torch.equal(pipe([1], tau=[0.7], generator=seeded(), output_type="pt").images, default)


def test_previews_grow_with_the_stages_and_end_in_the_images() -> None:
    output = pipeline()(LABELS, generator=seeded(), output_type="pt", return_previews=True)
    assert [tuple(preview.shape) for preview in output.previews] == [(4, 1, 4, 4), (4, 1, 8, 8)]
    assert torch.equal(output.previews[-1], output.images)
    small = pipeline()(LABELS, return_previews=True).previews[0]
    assert [image.size for image in small] == [(4, 4)] * 4


def test_pyramidal_flow_shows_the_clean_coarse_level_and_the_levels_on_their_way() -> None:
    options = {"output_type": "pt", "return_previews": True, "return_trajectory": True}
    output = pipeline(make=tiny_pyramidal_flow)(LABELS, generator=seeded(), **options)
    assert [tuple(preview.shape) for preview in output.previews] == [(4, 1, 4, 4), (4, 1, 8, 8)]
    torch.testing.assert_close(output.previews[-1], output.images, rtol=0, atol=1e-6)
    coarse, fine = ([scales[level] for scales in output.trajectory] for level in (0, 1))
    assert len(coarse) == len(fine) == 5
    assert torch.equal(fine[0], fine[2])  # noise that the jump will use, not yet a level
    assert torch.equal(coarse[2], coarse[4])
    torch.testing.assert_close(fine[4], output.images)


def test_the_trajectory_rests_until_a_stage_begins_and_ends_in_the_images() -> None:
    pipe = pipeline()
    output = pipe(LABELS, generator=seeded(), output_type="pt", return_trajectory=True)
    assert len(output.trajectory) == 5
    fine = [scales[1] for scales in output.trajectory]
    assert torch.equal(fine[0], fine[2])  # three steps of the first stage
    assert not torch.allclose(fine[2], fine[3])
    torch.testing.assert_close(pipe.decomposition.synthesize(output.trajectory[-1]), output.images)


def test_nothing_is_kept_unasked() -> None:
    output = pipeline()([1])
    assert output.previews == []
    assert output.trajectory == []


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pil_images_hold_the_8_bit_pixels(channels: int, mode: str) -> None:
    pipe = pipeline(shape=DataShape(channels, 10))
    exact = to_pixels(pipe([4, 5], generator=seeded(), output_type="pt").images)
    images = pipe([4, 5], generator=seeded()).images
    assert [image.mode for image in images] == [mode, mode]
    for image, pixels in zip(images, exact, strict=True):
        expected = pixels.permute(1, 2, 0).numpy()
        assert np.array_equal(np.asarray(image).reshape(expected.shape), expected)


def test_videos_are_lists_of_frames() -> None:
    pipe = pipeline(shape=DataShape(channels=3, num_classes=10, frames=2))
    exact = to_pixels(pipe([4], generator=seeded(), output_type="pt").images)  # [1, 3, 2, 8, 8]
    (video,) = pipe([4], generator=seeded()).images
    assert len(video) == 2
    assert np.array_equal(np.asarray(video[1]), exact[0, :, 1].permute(1, 2, 0).numpy())


def test_latents_are_no_pictures() -> None:
    pipe = pipeline(shape=DataShape(channels=16, num_classes=10))
    with pytest.raises(ValueError, match=r"output_type 'pil': the model makes 16 channels.*'pt' or 'np'"):
        pipe([1])
    assert pipe([1], output_type="np").images.shape == (1, 16, 8, 8)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("coatt", "no class 'coatt'; did you mean 'coat'. known: 0 to 9, or 'T-shirt'"),
        ([0, 10], "no class 10; .*0 to 9"),
        ([-1], "no class -1"),
        ([1.5], "no class 1.5"),
        ([True], "no class True"),
        (torch.tensor([1.0]), "no class 1.0"),
        (torch.zeros(2, 2, dtype=torch.int64), r"no class \[0, 0\]"),
        (None, "no class None"),
        ([], "labels is empty"),
    ],
)
def test_wrong_labels_are_named(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline()(labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_inference_steps": 1},
            r"num_inference_steps 1: give 2 integer\(s\), one per stage, or their sum; at most 10000",
        ),
        ({"num_inference_steps": (3,)}, r"num_inference_steps \(3,\): give 2"),
        ({"num_inference_steps": (3, 0)}, "num_inference_steps"),
        ({"num_inference_steps": (3.0, 1)}, "num_inference_steps"),
        ({"num_inference_steps": "ten"}, "num_inference_steps"),
        ({"num_inference_steps": 4.0}, "num_inference_steps"),
        ({"tau": 0.0}, r"tau 0.0: give one in \(0, 1\], or 1"),
        ({"tau": 1.1}, "tau 1.1"),
        ({"tau": float("nan")}, "tau nan"),
        ({"tau": (0.5, 0.6)}, r"tau \(0.5, 0.6\)"),
        ({"tau": "late"}, "tau 'late'"),
        ({"guidance_scale": -1.0}, "guidance_scale -1.0: give a number from 0 to 100"),
        ({"guidance_scale": "strong"}, "guidance_scale 'strong'"),
        ({"solver": "rk4"}, "solver 'rk4': known are euler, heun"),
        ({"output_type": "jpg"}, "output_type 'jpg': known are pil, pt, np"),
        ({"batch_size": 0}, "batch_size 0: give a positive integer"),
    ],
)
def test_wrong_options_are_named_with_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline()([1], **options)


@pytest.mark.parametrize("make", [tiny_flow_matching, tiny_pyramidal_flow])
def test_a_model_that_hands_nothing_over_has_no_tau(make: Any) -> None:
    with pytest.raises(ValueError, match=r"tau 0\.7: this model has none"):
        pipeline(make=make)([1], tau=0.7)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)labels.*num_inference_steps.*tau.*solver"):
        pipeline()([11], num_inference_steps=0, tau=2, solver="rk4")


def test_a_dataset_outside_the_catalog_has_no_names() -> None:
    pipe = pipeline({"data.dataset": "mine"})
    assert pipe.class_names == pipeline(shape=DataShape(channels=1, num_classes=3)).class_names == ()
    with pytest.raises(ValueError, match="no class 'coat'; known: 0 to 9; 'mine' has no names"):
        pipe("coat")


def named(names: tuple[str, ...], **given: Any) -> Any:
    """A pipeline of two classes whose snapshot knows these names."""
    plain = pipeline({"data.dataset": "mine"}, shape=DataShape(channels=1, num_classes=2))
    snapshot = Snapshot(plain.config, replace(plain.card, class_names=names), plain.model, plain.decomposition, None)
    pipe = DFMPipeline(snapshot, **given)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_names_of_classes_are_kept_with_the_snapshot(tmp_path: Path) -> None:
    pipe = named(("cock", "tench"))
    pipe.save_pretrained(tmp_path)
    loaded: Any = DFMPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.class_names == ("cock", "tench")
    by_number = pipe([1, 0], generator=seeded(), output_type="pt").images
    assert torch.equal(loaded(["tench", "cock"], generator=seeded(), output_type="pt").images, by_number)
    with pytest.raises(ValueError, match="no class 'tensh'; did you mean 'tench'"):
        loaded("tensh")


def test_names_can_be_given_to_classes_that_are_called_otherwise(tmp_path: Path) -> None:
    named(("n01514668", "n01440764")).save_pretrained(tmp_path / "synsets")
    pipe: Any = DFMPipeline.from_pretrained(tmp_path / "synsets", class_names=["cock", "tench"])
    pipe.save_pretrained(tmp_path / "words")
    assert DFMPipeline.from_pretrained(tmp_path / "words").class_names == pipe.class_names == ("cock", "tench")


@pytest.mark.parametrize("names", [("cock",), ("cock", "cock"), ("cock", "hen", "tench")])
def test_names_that_are_not_one_for_each_class_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"class_names: {len(names)} names, .*this model has 2 classes"):
        named((), class_names=names)
    named(names).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is damaged, .*it has 2 classes and"):
        DFMPipeline.from_pretrained(tmp_path)


def test_a_snapshot_from_before_names_were_kept_is_read(tmp_path: Path) -> None:
    pipeline().save_pretrained(tmp_path)
    document = json.loads((tmp_path / "snapshot.json").read_text())
    assert document["card"].pop("class_names") == []
    (tmp_path / "snapshot.json").write_text(json.dumps(document))
    assert DFMPipeline.from_pretrained(tmp_path).class_names == FASHION_CLASSES


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (tiny_dfm, {}),
        (tiny_dfm, {"decomposition.name": "learned", "data.standardize": True}),
        (tiny_pyramidal_flow, {"pyramidal_flow.gamma": 0.2, "data.standardize": True}),
    ],
    ids=["laplacian", "learned", "pyramid"],
)
def test_saving_and_loading_changes_nothing(make: Any, values: dict[str, Any], tmp_path: Path) -> None:
    pipe = pipeline(values, make=make)
    pipe.save_pretrained(tmp_path / "once" / "snapshot")
    loaded = DFMPipeline.from_pretrained(str(tmp_path / "once" / "snapshot"))
    loaded.save_pretrained(tmp_path / "twice")
    again = DFMPipeline.from_pretrained(tmp_path / "twice")
    expected = pipe(LABELS, generator=seeded(), output_type="pt").images
    assert (again.config, again.card) == (pipe.config, pipe.card)
    assert torch.equal(again(LABELS, generator=seeded(), output_type="pt").images, expected)


@pytest.mark.parametrize("name", ["snapshot.json", "ema.safetensors", "pyramid.safetensors"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    pipeline({"decomposition.name": "learned"}).save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {name}"):
        DFMPipeline.from_pretrained(tmp_path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere has no snapshot.json"):
        DFMPipeline.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("snapshot.json", b'"first_stage_probability"', b'"first_stage_share"'),
        ("snapshot.json", b'"config"', b'"settings"'),
        ("snapshot.json", b'"size": "nano"', b'"size": "micro"'),
        ("snapshot.json", b"{", b""),
        ("snapshot.json", b'"numerics": ', b'"numerics": 1'),
        ("snapshot.json", b'"edm"', b'"mde"'),
        ("snapshot.json", b"0.25", b"NaN"),
        ("snapshot.json", b'"scale_std": [', b'"scale_std": [1.0, '),
        ("snapshot.json", b'"patch_sizes": [\n    1', b'"patch_sizes": [\n    0'),
        ("ema.safetensors", b"stage_table", b"stage_chair"),
        ("ema.safetensors", b"{", b"["),
    ],
)
def test_files_of_another_version_or_damaged_are_refused(name: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    pipeline().save_pretrained(tmp_path)
    content = (tmp_path / name).read_bytes()
    assert old in content
    (tmp_path / name).write_bytes(content.replace(old, new, 1))
    with pytest.raises(ValueError, match="is damaged, or another version of dfm_core wrote it"):
        DFMPipeline.from_pretrained(tmp_path)


def test_an_expert_alone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"was trained on stage\(s\) \[1\] of 2 only"):
        pipeline({"training.stage_probabilities": (0.0, 1.0)})


@pytest.mark.parametrize("stage", [0, 1])
def test_a_network_of_a_cascade_alone_is_refused(stage: int) -> None:
    combine = "sample all networks of the cascade.*StageExperts"
    with pytest.raises(ValueError, match=rf"stage\(s\) \[{stage}\] of 2 only: {combine}"):
        pipeline(make=lambda values: tiny_cascade(stage, values))


def test_the_progress_bar_counts_solver_steps_and_can_be_silent(capsys: pytest.CaptureFixture[str]) -> None:
    pipe = pipeline()
    pipe([1, 2], batch_size=1)
    assert capsys.readouterr().err == ""
    pipe.set_progress_bar_config(desc="sampling")
    pipe([1, 2], batch_size=1)
    shown = capsys.readouterr().err
    assert "sampling" in shown
    assert "10/10" in shown


def test_to_moves_the_model_and_returns_the_pipeline() -> None:
    pipe = pipeline()
    assert pipe.to("cpu") is pipe
    assert pipe.device == torch.device("cpu")
    assert pipe.to("meta").device == torch.device("meta")


def test_every_public_name_resolves() -> None:
    assert {name for name in dfm_core.__all__ if getattr(dfm_core, name).__name__ != name} == set()
    assert set(dfm_core.__all__) <= set(dir(dfm_core))
    assert dfm_core.DFMPipeline is DFMPipeline
    with pytest.raises(AttributeError, match="public names: DFMPipeline, "):
        dfm_core.__getattr__("DFMPipelin")
