"""Stores of several shapes as training data: which rows each step reads, whoever reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfm_core.data.captions.bucketed_latents import BucketedLatents, BucketStore
from dfm_core.data.captions.buckets import Bucket
from dfm_core.data.captions.caption import caption_number
from dfm_core.data.captions.text_store import POOLED, TOKENS, TextStore
from dfm_core.data.encoding.store_assembly import StoreIdentity, assemble, encode_shard, shard_name
from dfm_core.data.latents.latent_dataset import LatentDataset
from dfm_core.data.latents.manifest import MANIFEST, DamagedLatentsError, read_manifest
from dfm_core.data.latents.prefetch import Prefetch
from dfm_core.data.latents.shard_cache import ShardCache
from tests.support.latent_stores import LocalSource

BATCH = 4
SHAPES = ((Bucket(8, 8), (3, 4)), (Bucket(16, 8), (5,)), (Bucket(8, 16), (3,)))
"""Images in each shard of each shape; the last has fewer than a batch."""


def captioned_store(
    folder: Path, shard_samples: tuple[int, ...], tensors_of: dict[str, Tensor], numbers: Tensor
) -> Path:
    folder.mkdir(parents=True)
    cards, begin = [], 0
    for number, count in enumerate(shard_samples):
        rows = slice(begin, begin + count)
        path = folder / shard_name(number, len(shard_samples))
        parts = {name: tensor[rows] for name, tensor in tensors_of.items()}
        cards.append(encode_shard(path, number, parts, numbers[rows], num_classes=None))
        begin += count
    identity = StoreIdentity("data", "encoder", False, ("captioned images",), begin, "caption")
    (folder / MANIFEST).write_bytes(assemble(identity, cards, len(shard_samples)).document())
    return folder


def opened(folder: Path, cache: Path) -> LatentDataset:
    manifest = read_manifest((folder / MANIFEST).read_bytes(), str(folder))
    return LatentDataset(manifest, LocalSource(folder), ShardCache(cache, 10**9))


@pytest.fixture
def latents(tmp_path: Path) -> BucketedLatents:
    stores = []
    for bucket, shard_samples in SHAPES:
        count = sum(shard_samples)
        values = torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(-1, 2, *bucket).contiguous()
        numbers = torch.tensor([caption_number(f"{bucket} {row}") for row in range(count)])
        folder = captioned_store(tmp_path / str(bucket), shard_samples, {"mean": values.to(torch.float16)}, numbers)
        stores.append(BucketStore(16, bucket, opened(folder, tmp_path / "cache")))
    return BucketedLatents(tuple(stores), {16: 1.0}, BATCH, 256)


def steps(latents: BucketedLatents, seed: int, first: int, last: int, workers: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Whole batches, read by several workers a part each."""
    size = BATCH // workers
    parts = [
        list(
            latents.batches(
                seed, [range(step * BATCH + w * size, step * BATCH + (w + 1) * size) for step in range(first, last)]
            )
        )
        for w in range(workers)
    ]
    return [
        (torch.cat([own[step][0] for own in parts]), torch.cat([own[step][1] for own in parts]))
        for step in range(last - first)
    ]


def test_each_sample_comes_with_its_own_caption_and_shape(latents: BucketedLatents) -> None:
    for samples, labels in steps(latents, 0, 0, 20):
        height, width = samples.shape[-2:]
        rows = samples[:, 0, 0, 0].int().tolist()
        assert labels.dtype == torch.int64
        assert labels.tolist() == [caption_number(f"{height}x{width} {row}") for row in rows]


def test_all_images_of_a_shape_are_seen_before_one_is_seen_again(latents: BucketedLatents) -> None:
    seen: Counter[tuple[int, ...]] = Counter()
    for samples, _ in steps(latents, 1, 0, 60):
        seen.update((*samples.shape[-2:], row) for row in samples[:, 0, 0, 0].int().tolist())
        for bucket, _ in SHAPES:
            counts = [count for key, count in seen.items() if key[:2] == bucket]
            assert not counts or max(counts) - min(counts) <= 2  # a batch may span two epochs
    assert len(seen) == sum(sum(own) for _, own in SHAPES)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_read_what_one_worker_reads(latents: BucketedLatents, workers: int) -> None:
    for whole, parts in zip(steps(latents, 5, 0, 12), steps(latents, 5, 0, 12, workers), strict=True):
        assert torch.equal(whole[0], parts[0])
        assert torch.equal(whole[1], parts[1])


def test_resumed_training_reads_what_an_uninterrupted_one_reads(latents: BucketedLatents) -> None:
    whole = steps(latents, 7, 0, 30)
    for one, other in zip(whole[17:], steps(latents, 7, 17, 30), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_threads_change_nothing(latents: BucketedLatents) -> None:
    threaded = BucketedLatents(latents.stores, latents.shares, BATCH, 256, Prefetch(draw_threads=3))
    for one, other in zip(steps(latents, 2, 0, 20), steps(threaded, 2, 0, 20), strict=True):
        assert torch.equal(one[0], other[0])


def test_micro_batches_of_a_step_have_one_shape(latents: BucketedLatents) -> None:
    halves = [range(at, at + 2) for at in range(0, 20 * BATCH, 2)]
    shapes = [tuple(samples.shape[-2:]) for samples, _ in latents.batches(3, halves)]
    assert shapes[::2] == shapes[1::2]
    assert len(set(shapes)) == len(SHAPES)


def test_range_over_two_steps_is_refused(latents: BucketedLatents) -> None:
    with pytest.raises(ValueError, match="samples 2 to 5 belong to two steps of 4"):
        list(latents.batches(0, [range(2, 6)]))


def test_statistics_see_every_image(latents: BucketedLatents) -> None:
    assert sum(len(chunk) for chunk in latents.chunks()) == 15


def test_store_of_captions_is_no_store_of_classes(latents: BucketedLatents, tmp_path: Path) -> None:
    content = (tmp_path / "8x8" / MANIFEST).read_bytes().replace(b'"labels": "caption"', b'"labels": "label"')
    manifest = read_manifest(content, "here")
    with pytest.raises(DamagedLatentsError):
        LatentDataset(manifest, LocalSource(tmp_path / "8x8"), ShardCache(tmp_path / "cache", 10**9)).read([0])
    assert latents.stores[0].store.manifest.labels == "caption"


def test_text_store_finds_rows_by_number(tmp_path: Path) -> None:
    captions = ["", "rose", "tree", "a house", "sky"]
    numbers = torch.tensor(sorted(map(caption_number, captions)))
    tokens = torch.arange(5 * 6, dtype=torch.float32).reshape(5, 3, 2).to(torch.bfloat16)
    pooled = torch.arange(5 * 4, dtype=torch.float32).reshape(5, 4).to(torch.bfloat16)
    folder = captioned_store(tmp_path / "texts", (2, 2, 1), {TOKENS: tokens, POOLED: pooled}, numbers)
    texts = TextStore(opened(folder, tmp_path / "cache"), numbers.numpy())
    wanted = [numbers.tolist().index(caption_number(caption)) for caption in ("tree", "", "tree")]
    rows = texts.rows(torch.tensor([caption_number(caption) for caption in ("tree", "", "tree")]))
    assert torch.equal(rows.tokens, tokens[wanted])
    assert torch.equal(rows.pooled, pooled[wanted])
    for unknown in ("not there", "zzz", "a"):
        with pytest.raises(KeyError, match=f"the caption of number {caption_number(unknown)} was not encoded"):
            texts.rows(torch.tensor([caption_number("rose"), caption_number(unknown)]))
