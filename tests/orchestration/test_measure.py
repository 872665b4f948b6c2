"""Images from elsewhere, measured as a sweep measures its samples: the command, as users call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfm_core.catalog.datasets import FASHION_CLASSES
from dfm_core.data.image_dataset import load_dataset
from orchestration import measure
from orchestration.spec.load import load_sweep
from orchestration.storage.store import Store
from orchestration.tasks.metric_task import MeasurementInputs
from tests.orchestration.conftest import QUICKSTART
from tests.support.measuring import NO_FILES, Bench, metric

COUNT = 60
METRICS = "evaluation.metrics=[fd_lite0_block10, label_accuracy]"
OPTIONS = (METRICS, "evaluation.bootstrap_replicates=20", f"evaluation.num_samples={COUNT}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a reference and a probe."""
    root = tmp_path_factory.mktemp("measure") / "store"
    config = next(load_sweep(QUICKSTART, OPTIONS).configs)
    Bench(Store(str(root))).prepare(config, 300)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real training images as PNG files in a sub-folder for each class."""
    folder = tmp_path_factory.mktemp("images")
    images = load_dataset("fashion_mnist", "train")
    for index in range(COUNT):
        place = folder / FASHION_CLASSES[int(images.labels[index])]
        place.mkdir(exist_ok=True)
        Image.fromarray(images.pixels[index, 0].numpy()).save(place / f"{index:04d}.png")
    return folder


def run(root: Path, images: Path, *more: str) -> int:
    return measure.main([str(QUICKSTART), str(images), f"storage.root={root}", *OPTIONS, *more])


def test_a_folder_of_real_images_scores_what_the_floor_scores(
    root: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The floor measures the same training images, which a folder holds here."""
    assert run(root, folder, "--json", str(tmp_path / "found.json")) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    config = next(load_sweep(QUICKSTART, OPTIONS).configs)
    floor = MeasurementInputs.of(config, NO_FILES).real_images
    assert floor is not None
    (expected,) = Bench(Store(str(root))).run(floor)
    assert found["values"]["fd_lite0_block10"] == pytest.approx(metric(expected, "fd_lite0_block10"), rel=1e-6)
    assert found["standard_errors"]["fd_lite0_block10"] > 0
    low, high = found["intervals"]["fd_lite0_block10"]
    assert high - low == pytest.approx(2 * 1.96 * found["standard_errors"]["fd_lite0_block10"])
    assert 0.0 <= found["intervals"]["label_accuracy"][0] < found["values"]["label_accuracy"]  # Wilson's
    assert found["real_images"]["fd_lite0_block10"] == pytest.approx(found["values"]["fd_lite0_block10"], rel=1e-6)
    assert found["values"]["label_accuracy"] > 0.6
    assert found["protocols"]["fd_lite0_block10"]["num_samples"] == COUNT
    assert found["protocols"]["fd_lite0_block10"]["label_sampling"] == "of the images"
    output = capsys.readouterr().out
    assert f"all {COUNT} images can be used" in output
    assert "60 for 112 dimensions" in output
    assert "95% interval" in output
    assert "Protocol on EfficientNet-Lite0" in output


def test_images_of_any_size_are_cropped_as_in_training_where_that_is_asked_for(
    root: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wide images whose centres, halved by boxes as the crop does, are exactly those of the folder."""
    for path in folder.glob("*/*.png"):
        centre = np.asarray(Image.open(path)).repeat(2, 0).repeat(2, 1)
        place = tmp_path / "wide" / path.parent.name
        place.mkdir(exist_ok=True, parents=True)
        Image.fromarray(np.pad(centre, ((0, 0), (16, 16)))).save(place / path.name)
    found = []
    for given, more in ((folder, []), (tmp_path / "wide", ["--crop"])):
        assert run(root, given, *more, "--json", str(tmp_path / "found.json")) == 0
        found.append(json.loads((tmp_path / "found.json").read_text()))
    assert [one["cropped"] for one in found] == [False, True]
    assert found[0]["content"] == found[1]["content"]
    assert found[0]["values"] == found[1]["values"]
    assert "each resized and cropped at its centre to 32 x 32, as images are in training" in capsys.readouterr().out
    assert run(root, tmp_path / "wide") == 2
    assert "--crop makes images of any size 32 x 32, as in training" in capsys.readouterr().err


def test_an_archive_is_not_cropped(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "images.npz", np.zeros((4, 48, 48, 1), np.uint8))
    assert run(root, tmp_path / "images.npz", "--crop") == 2
    assert "holds pixels of one size; only a folder's images are cropped" in capsys.readouterr().err


def test_an_archive_of_the_same_images_scores_the_same(root: Path, folder: Path, tmp_path: Path) -> None:
    images = load_dataset("fashion_mnist", "train")
    pixels, labels = images.pixels[:COUNT].permute(0, 2, 3, 1).numpy(), images.labels[:COUNT].numpy()
    np.savez(tmp_path / "images.npz", pixels, labels)
    found = []
    for given in (folder, tmp_path / "images.npz"):
        assert run(root, given, "--json", str(tmp_path / "found.json")) == 0
        found.append(json.loads((tmp_path / "found.json").read_text())["values"])
    assert found[0] == {name: pytest.approx(value, rel=1e-6) for name, value in found[1].items()}


def test_damaged_images_are_counted_and_named_and_nothing_is_measured(
    root: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "bag"
    place.mkdir()
    whole = next(folder.glob("bag/*.png")).read_bytes()
    (place / "cut.png").write_bytes(whole[: len(whole) // 2])
    (place / "empty.png").write_bytes(b"")
    for name in "abcd":
        (place / f"{name}.png").write_bytes(whole)
    assert run(root, tmp_path) == 2
    told = capsys.readouterr().err
    assert "2 of 6 images cannot be used" in told
    assert "bag/cut.png" in told
    assert "bag/empty.png: is empty (0 bytes)" in told
    assert "Traceback" not in told


@pytest.mark.proves(24)
def test_a_share_of_damaged_images_is_left_out_only_if_it_is_allowed(
    root: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folder.glob("bag/*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"not an image")
    no_labels = "evaluation.metrics=[fd_lite0_block10]"
    assert run(root, tmp_path, no_labels, "--allow-bad", "0.5", "--json", str(tmp_path / "found.json")) == 0
    assert "1 of" in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text())["num_images"] == len(list(folder.glob("bag/*.png")))


@pytest.mark.parametrize(
    ("side", "options", "expected"),
    [
        (None, (), "there is no such folder"),
        (0, (), "holds no image"),
        (28, (), "28 x 28"),
        (32, (), "1 image has no spread"),
        (32, ("--allow-bad", "2"), "must be 0 or more, and less than 1"),
        (32, ("evaluation.metrics=[fid]",), "networks.inception"),
        (32, ("--json", "/no/such/folder/found.json"), "there is no folder /no/such/folder"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    side: int | None,
    options: tuple[str, ...],
    expected: str,
) -> None:
    """Args: side: of the one image in the folder; 0: there is none; None: there is no folder."""
    if side is not None:
        (tmp_path / "given").mkdir()
    if side:
        Image.fromarray(np.zeros((side, side), np.uint8)).save(tmp_path / "given" / "a.png")
    assert run(root, tmp_path / "given", *options) == 2
    assert expected in capsys.readouterr().err


def test_images_without_classes_have_no_label_accuracy(
    root: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folder.glob("bag/*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert run(root, tmp_path) == 2
    assert "label_accuracy needs the class of each image" in capsys.readouterr().err


@pytest.mark.parametrize("shift", [-1, 9])
def test_labels_that_are_no_classes_are_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], shift: int
) -> None:
    np.savez(tmp_path / "images.npz", np.zeros((4, 32, 32, 1), np.uint8), np.arange(4) + shift)
    assert run(root, tmp_path / "images.npz") == 2
    assert f"labels go from {shift} to {3 + shift}" in capsys.readouterr().err


def test_more_images_than_the_sweep_samples_are_held_to_their_own_number(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "images.npz", np.zeros((4, 32, 32, 1), np.uint8))
    assert run(root, tmp_path / "images.npz", "evaluation.metrics=[kd_lite0]", "evaluation.kernel_subset_size=900") == 2
    told = capsys.readouterr().err
    assert "900 must be from 2 to 4: there are 4 samples and 2000 real images (read by kd_lite0)" in told
    assert told.startswith("1 mistake")


def test_a_file_that_is_no_archive_is_told_as_such(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("hello")
    assert run(root, tmp_path / "a.txt") == 2
    assert "is neither a folder of images nor an .npz" in capsys.readouterr().err
