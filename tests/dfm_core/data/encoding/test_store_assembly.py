"""Shards and what is made of them: bits survive, statistics are those of all samples, parts are no wholes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfm_core.data.encoding.store_assembly import (
    EncodedPart,
    ShardCard,
    StoreIdentity,
    assemble,
    encode_shard,
    read_part,
)
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.latents.manifest import DamagedLatentsError, TensorSpec
from dfm_core.data.latents.shards import as_tensor, open_shard

IDENTITY = StoreIdentity("data", "encoder", mirrored=False, class_names=("a", "b"), num_samples=7)


def cards(folder: Path, counts: tuple[int, ...] = (4, 3)) -> list[ShardCard]:
    generator = torch.Generator().manual_seed(1)
    made = []
    for number, count in enumerate(counts):
        latents = torch.randn(count, 2, 3, 3, generator=generator) * 5 + 40
        path, labels = folder / f"{number}.safetensors", torch.arange(count) % 2
        made.append(encode_shard(path, number, {"mean": latents}, labels, num_classes=2))
    return made


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.uint8])
def test_every_bit_of_a_sample_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    latents = (torch.randn(6, 2, 3, 5, generator=torch.Generator().manual_seed(0)) * 50 + 100).to(dtype)
    labels = torch.tensor([1, 0, 0, 1, 1, 0])
    card = encode_shard(tmp_path / "0.safetensors", 0, {"mean": latents}, labels, num_classes=2)
    shard = open_shard(tmp_path / "0.safetensors", card.entry, card.tensors)
    back = as_tensor(shard.bits["mean"], card.tensors["mean"])
    assert back.dtype == dtype
    assert torch.equal(back, latents)
    assert shard.labels.tolist() == labels.tolist()
    assert card.class_counts == (3, 3)


def test_a_shard_of_another_shape_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    card = cards(tmp_path)[0]
    for spec in (TensorSpec("float32", (2, 3, 4)), TensorSpec("bfloat16", (2, 3, 3))):
        with pytest.raises(DamagedLatentsError, match=r"mean is torch\.float32"):
            open_shard(tmp_path / "0.safetensors", card.entry, {"mean": spec})
    with pytest.raises(DamagedLatentsError, match="is no shard of latents"):
        open_shard(tmp_path / "0.safetensors", card.entry, {"other": TensorSpec("float32", (2, 3, 3))})
    with pytest.raises(FileNotFoundError):
        open_shard(tmp_path / "none.safetensors", card.entry, card.tensors)


@pytest.mark.proves(24)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_no_numbers_are_never_written(tmp_path: Path, value: float) -> None:
    latents = torch.zeros(4, 1, 2, 2)
    latents[2, 0, 1, 1] = value
    with pytest.raises(ValueError, match=r"NaN or infinite values of mean in its samples \[2\]"):
        encode_shard(tmp_path / "x.safetensors", 0, {"mean": latents}, torch.zeros(4), num_classes=1)
    assert not list(tmp_path.iterdir())


def test_labels_must_be_classes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels 0 to 2, but there are 2 classes"):
        encode_shard(tmp_path / "x", 0, {"mean": torch.zeros(2, 1)}, torch.tensor([0, 2]), num_classes=2)
    with pytest.raises(ValueError, match="3 samples of mean and 2 labels"):
        encode_shard(tmp_path / "x", 0, {"mean": torch.zeros(3, 1)}, torch.tensor([0, 1]), num_classes=2)


def test_the_statistics_are_those_of_all_samples_together(tmp_path: Path) -> None:
    made = cards(tmp_path)
    manifest = assemble(IDENTITY, [made[1], made[0]], 2)  # in the order in which they were made
    assert [shard.name for shard in manifest.shards] == ["0.safetensors", "1.safetensors"]
    shards = [open_shard(tmp_path / s.name, s, manifest.tensors) for s in manifest.shards]
    all_latents = torch.cat([as_tensor(s.bits["mean"], manifest.tensors["mean"]) for s in shards]).double()
    found, flat = manifest.statistics["mean"], all_latents.transpose(0, 1).flatten(1)
    assert torch.allclose(torch.tensor(found.mean).double(), flat.mean(1), rtol=1e-6)
    assert torch.allclose(torch.tensor(found.std).double(), flat.std(1, correction=0), rtol=1e-6)


def test_a_part_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    made = cards(tmp_path)
    with pytest.raises(ValueError, match="1 of 2 shards are missing: 1"):
        assemble(IDENTITY, made[:1], 2)
    with pytest.raises(ValueError, match="7 samples were encoded and 0 left out of 8"):
        assemble(replace(IDENTITY, num_samples=8), made, 2)
    with pytest.raises(ValueError, match="one was made twice"):
        assemble(IDENTITY, [*made, made[0]], 2)
    with pytest.raises(ValueError, match="different encoders"):
        assemble(IDENTITY, [made[0], replace(made[1], tensors={"mean": TensorSpec("float32", (1, 3, 3))})], 2)


def test_what_was_left_out_is_counted(tmp_path: Path) -> None:
    made = cards(tmp_path)
    manifest = assemble(replace(IDENTITY, num_samples=9), [replace(made[0], num_left_out=2), made[1]], 2)
    assert (manifest.num_samples, manifest.num_left_out) == (7, 2)
    manifest = assemble(replace(IDENTITY, num_samples=12), [replace(made[0], num_left_out=2), made[1]], 2, num_lost=3)
    assert (manifest.num_samples, manifest.num_left_out) == (7, 5)


def test_a_part_of_which_nothing_is_left_has_a_card_and_no_file(tmp_path: Path) -> None:
    made = cards(tmp_path)
    nothing = ShardCard(number=2, num_left_out=3)
    manifest = assemble(replace(IDENTITY, num_samples=10), [*made, nothing], 3)
    assert (manifest.num_samples, manifest.num_left_out, len(manifest.shards)) == (7, 3, 2)
    with pytest.raises(ValueError, match="no sample could be encoded; 3 were left out"):
        assemble(replace(IDENTITY, num_samples=3), [replace(nothing, number=0)], 1)


def test_a_card_comes_back_as_it_was_or_is_refused(tmp_path: Path) -> None:
    for card in (*cards(tmp_path), ShardCard(number=2, num_left_out=3)):
        part = EncodedPart(card, (BadFile("a/0.png", "damaged", "is damaged"), BadFile("x", "empty", "is", True)))
        content = part.document()
        assert read_part(content, "here") == part
        for length in range(0, len(content), 7):
            with pytest.raises(DamagedLatentsError, match=r"^here: is no card of a shard"):
                read_part(content[:length], "here")
    with pytest.raises(DamagedLatentsError, match="is no card"):
        read_part(b"[]", "here")
