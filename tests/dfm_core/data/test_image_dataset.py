"""Datasets in memory: 8-bit values and back, the embedded files against their cards, statistics by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dfm_core.catalog.datasets import DATASETS
from dfm_core.data.image_dataset import ImageDataset, load_dataset, to_pixels
from dfm_core.decompositions import build_decomposition
from dfm_core.paradigms.standardization import measure_scale_std
from tests.support.models import random_dataset, tiny_dfm

EMBEDDED = [name for name, card in DATASETS.items() if card.path is not None]


def test_every_8_bit_value_survives_the_model_range() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    dataset = ImageDataset(pixels, torch.zeros(1, dtype=torch.int64))
    images = dataset.images(slice(None))
    assert (images.min(), images.max(), images.dtype) == (-1, 1, torch.float32)
    assert torch.equal(to_pixels(images), pixels)


def test_values_out_of_range_are_clamped_and_others_rounded() -> None:
    images = torch.tensor([-7.0, -1.0, 0.4 / 127.5, 0.6 / 127.5, 1.0, 7.0])
    assert to_pixels(images.reshape(1, 1, 1, 6)).flatten().tolist() == [0, 0, 128, 128, 255, 255]
    near_black = torch.tensor([-1 + 0.49 / 127.5, -1 + 0.51 / 127.5])
    assert to_pixels(near_black.reshape(1, 1, 1, 2)).flatten().tolist() == [0, 1]


def test_samples_with_nan_do_not_become_black_pixels() -> None:
    images = torch.zeros(4, 1, 2, 2)
    images[1, 0, 0, 0], images[3] = torch.nan, torch.inf
    with pytest.raises(ValueError, match=r"^2 of 4 samples hold 5 NaN or infinite values: samples 1, 3$"):
        to_pixels(images)


def test_rows_can_be_a_slice_a_list_or_an_array() -> None:
    dataset = random_dataset(6)
    assert len(dataset) == 6
    assert torch.equal(dataset.images([3, 0, 3]), dataset.images(slice(None))[[3, 0, 3]])
    assert torch.equal(dataset.images(np.array([5, 1])), dataset.images(slice(None))[[5, 1]])


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("split", ["train", "reference"])
def test_an_embedded_dataset_holds_what_its_card_says(name: str, split: str) -> None:
    card, dataset = DATASETS[name], load_dataset(name, split)
    count = card.num_train_images if split == "train" else card.num_reference_images
    assert dataset.pixels.shape == (count, *card.shape.of_scale(card.channels, card.resolution))
    assert dataset.pixels.dtype == torch.uint8
    assert dataset.labels.dtype == torch.int64
    assert sorted(set(dataset.labels.tolist())) == list(range(card.num_classes))
    assert dataset.pixels.flatten(1).float().std(dim=1).min() > 0


@pytest.mark.parametrize("name", EMBEDDED)
def test_no_image_is_in_both_splits(name: str) -> None:
    train, reference = (
        {p.numpy().tobytes() for p in load_dataset(name, split).pixels} for split in ("train", "reference")
    )
    assert len(train & reference) == 0


def test_a_dataset_that_is_not_part_of_the_repository_is_not_loaded() -> None:
    with pytest.raises(AssertionError, match="imagenet512_flux is not part of the repository"):
        load_dataset("imagenet512_flux", "train")


def test_fashion_mnist_is_padded_with_black_on_all_sides() -> None:
    pixels = load_dataset("fashion_mnist", "reference").pixels
    frame = torch.ones(32, 32, dtype=torch.bool)
    frame[2:30, 2:30] = False
    assert not pixels[..., frame].any()
    assert pixels[..., 2, 2:30].any()
    assert pixels[..., 29, 2:30].any()


def test_scale_std_is_that_of_all_values_of_a_scale() -> None:
    config, dataset = tiny_dfm(), random_dataset(30)
    scales = build_decomposition(config.decomposition).analyze(dataset.images(slice(None)).double())
    measured = measure_scale_std(build_decomposition(config.decomposition), dataset)
    assert measured == pytest.approx([float(s.std(correction=0)) for s in scales], rel=1e-12)


def test_scale_std_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    decomposition, dataset = build_decomposition(tiny_dfm().decomposition), random_dataset(30)
    whole = measure_scale_std(decomposition, dataset)
    monkeypatch.setattr("dfm_core.data.image_dataset._STATISTICS_CHUNK_IMAGES", 7)
    assert measure_scale_std(decomposition, dataset) == pytest.approx(whole, rel=1e-12)
