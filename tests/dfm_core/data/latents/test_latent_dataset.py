"""Samples by index out of shards: the right ones, bit by bit, whatever the cache holds and the workers do."""

from __future__ import annotations

import platform
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dfm_core.autoencoders.base import draw
from dfm_core.data.latents.latent_dataset import LatentBatch, LatentDataset
from dfm_core.data.latents.latent_samples import LatentSamples
from dfm_core.data.latents.manifest import DamagedLatentsError
from dfm_core.data.latents.prefetch import Prefetch, latent_batches
from dfm_core.data.latents.shard_cache import ShardCache
from dfm_core.data.latents.shard_order import ShardOrder
from tests.support.latent_stores import NUM_CLASSES, FolderSource, LocalSource, flip_a_bit, make_store, sample

COUNTS = (5, 4, 5, 2)
NUM = sum(COUNTS)


def opened(
    tmp_path: Path, max_bytes: int = 10**6, source: FolderSource | None = None, counts: tuple[int, ...] = COUNTS
) -> LatentDataset:
    manifest = make_store(tmp_path / "store", counts)
    source = source or FolderSource(tmp_path / "store")
    return LatentDataset(manifest, source, ShardCache(tmp_path / "cache", max_bytes))


def one_shard(tmp_path: Path) -> int:
    """Bytes of a cache in which two shards never fit."""
    return max(shard.num_bytes for shard in make_store(tmp_path / "store", COUNTS).shards)


def check(batch: LatentBatch, rows: list[int]) -> None:
    wanted = torch.stack([sample(row) for row in rows])
    assert torch.equal(batch.tensors["mean"], wanted)
    assert torch.equal(batch.tensors["std"], wanted.abs())
    assert batch.labels.tolist() == [row % NUM_CLASSES for row in rows]


@pytest.mark.parametrize("kind", [FolderSource, LocalSource])
def test_samples_come_in_the_order_asked_for(tmp_path: Path, kind: type[FolderSource]) -> None:
    dataset = opened(tmp_path, source=kind(tmp_path / "store"))
    assert len(dataset) == NUM
    for rows in (list(range(NUM)), [15, 0, 4, 5, 15, 9], [3], np.random.default_rng(0).permutation(NUM).tolist()):
        check(dataset.read(rows), rows)
    assert dataset.read([]).tensors["mean"].shape == (0, 3, 4, 4)


class Counting(ThreadPoolExecutor):
    """Counts what it is asked for."""

    asked = 0

    def submit(self, *arguments: Any, **named: Any) -> Any:
        self.asked += 1
        return super().submit(*arguments, **named)


def test_a_helper_copies_a_half_of_a_large_batch_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(tmp_path)
    with Counting(1) as helper:
        check(dataset.read([3, 15], helper), [3, 15])
        assert helper.asked == 0  # too small
        monkeypatch.setattr("dfm_core.data.latents.latent_dataset._LARGE_BYTES", 0)
        for rows in ([15, 0, 4, 5, 15, 9], [3], np.random.default_rng(0).permutation(NUM).tolist()):
            check(dataset.read(rows, helper), rows)
        assert helper.asked == 3


def resident_bytes(path: Path) -> int:
    """Of a file's mappings in this process."""
    found, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            found += 1024 * int(line.split()[1])
    return found


def is_linux_since(major: int, minor: int) -> bool:
    return sys.platform == "linux" and tuple(map(int, platform.release().split(".")[:2])) >= (major, minor)


@pytest.mark.skipif(not is_linux_since(5, 14), reason="other systems map pages as they are read")
def test_pages_are_mapped_before_they_are_read_if_the_store_fits_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(tmp_path, max_bytes=10**8, counts=(4_000, 4))
    monkeypatch.setattr("dfm_core.data.latents.latent_dataset._memory_bytes", lambda: 10**6)
    dataset.map_pages(0)  # nobody has fetched it
    dataset.fetch(0)
    path = next(dataset.cache.folder.glob("*.safetensors"))
    dataset.map_pages(0)
    assert resident_bytes(path) < path.stat().st_size // 2
    monkeypatch.undo()
    dataset.map_pages(0)
    assert resident_bytes(path) >= path.stat().st_size
    check(dataset.read([3_999, 7]), [3_999, 7])


@pytest.mark.parametrize("rows", [[16], [0, -1], [2, 100, 3]])
def test_a_sample_that_is_not_there_is_refused(tmp_path: Path, rows: list[int]) -> None:
    with pytest.raises(IndexError, match="were asked for, there are 16"):
        opened(tmp_path).read(rows)


def test_a_cache_for_one_shard_is_enough_for_any_order(tmp_path: Path) -> None:
    dataset = opened(tmp_path, one_shard(tmp_path))
    for _ in range(3):
        check(dataset.read([15, 0, 6, 12, 1]), [15, 0, 6, 12, 1])
    files = list(dataset.cache.folder.glob("*.safetensors"))
    assert len(files) == 1


def test_a_batch_stays_what_it_was_when_its_shards_are_removed(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    batch = dataset.read([1, 14])
    for path in dataset.cache.folder.glob("*.safetensors"):
        path.unlink()
    check(batch, [1, 14])
    check(dataset.read([2, 13]), [2, 13])


def test_a_removed_shard_is_let_go_so_that_its_space_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfm_core.data.latents.latent_dataset._LOOK_SECONDS", 0.0)
    dataset = opened(tmp_path, one_shard(tmp_path))
    for row in (0, 6, 12):
        check(dataset.read([row]), [row])
    assert list(dataset._held) == [2]  # the file of each one before made room


def test_no_more_is_fetched_ahead_than_was_said(tmp_path: Path) -> None:
    source = FolderSource(tmp_path / "store")
    batches = latent_batches(opened(tmp_path, source=source), ShardOrder(7, COUNTS, 1), [range(1)] * 9, Prefetch())
    next(batches)
    list(batches)
    assert sum(source.fetched.values()) == 2  # the window that is read from, and one more


def test_threads_read_at_once_from_a_cache_that_is_too_small_for_them(tmp_path: Path) -> None:
    dataset, errors = opened(tmp_path, one_shard(tmp_path)), []

    def work(seed: int) -> None:
        try:
            generator = np.random.default_rng(seed)
            for _ in range(10):
                rows = generator.integers(0, NUM, 4).tolist()
                check(dataset.read(rows), rows)
        except Exception as error:  # noqa: BLE001  told by the test, not by a thread that nobody reads
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors


ORDER = ShardOrder(7, COUNTS, 2)


def stream(dataset: LatentDataset, begin: int, end: int, size: int, order: ShardOrder = ORDER) -> list[LatentBatch]:
    ranges = [range(at, at + size) for at in range(begin, end, size)]
    return list(latent_batches(dataset, order, ranges, Prefetch()))


def joined(batches: list[LatentBatch]) -> torch.Tensor:
    return torch.cat([batch.tensors["mean"] for batch in batches])


@pytest.mark.parametrize("window", [1, 2, 4])
def test_the_stream_is_the_order_for_any_batch_size_and_from_any_step(tmp_path: Path, window: int) -> None:
    order = ShardOrder(7, COUNTS, window)
    wanted = torch.stack([sample(row) for row in order.rows(range(48)).tolist()])
    assert torch.equal(joined(stream(opened(tmp_path / "a"), 0, 48, 4, order)), wanted)
    assert torch.equal(joined(stream(opened(tmp_path / "b"), 0, 48, 16, order)), wanted)
    resumed = joined(stream(opened(tmp_path / "c"), 20, 48, 4, order))  # in the middle of the second epoch
    assert torch.equal(resumed, wanted[20:])


def test_the_stream_maps_each_shard_that_it_comes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped: list[int] = []
    monkeypatch.setattr(LatentDataset, "map_pages", lambda _, number: mapped.append(number))
    with closing(latent_batches(opened(tmp_path), ORDER, [range(4)] * 4, Prefetch())) as batches:  # type: ignore[type-var]
        next(batches)
        deadline = time.monotonic() + 60
        while set(mapped) != set(range(len(COUNTS))) and time.monotonic() < deadline:  # beside the batches
            time.sleep(0.01)
    assert sorted(mapped) == list(range(len(COUNTS)))  # the window that is read from, and one more: all four


def test_a_training_is_given_draws_that_were_made_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, threads = opened(tmp_path), list[str]()

    def watched(*arguments: Any) -> torch.Tensor:
        threads.append(threading.current_thread().name)
        return draw(*arguments)

    monkeypatch.setattr("dfm_core.data.latents.latent_samples.draw", watched)
    ranges = [range(at, at + 4) for at in range(0, 2 * NUM, 4)]
    found = list(LatentSamples(dataset, window_shards=2).batches(7, ranges))
    assert {name.split("_")[0] for name in threads} == {"ahead"}
    for (images, labels), indices in zip(found, ranges, strict=True):
        batch = dataset.read(ORDER.rows(indices))
        assert torch.equal(images, draw(batch.tensors, 7, indices))
        assert torch.equal(labels, batch.labels)


def test_workers_of_one_node_share_batches_and_fetch_each_shard_once(tmp_path: Path) -> None:
    first = opened(tmp_path)
    source = FolderSource(tmp_path / "store")
    second = LatentDataset(first.manifest, source, ShardCache(first.cache.folder, 10**6))
    whole = torch.stack([sample(row) for row in ORDER.rows(range(32)).tolist()])
    halves = []
    for rank, dataset in enumerate((first, second)):
        ranges = [range(step * 8 + rank * 4, step * 8 + rank * 4 + 4) for step in range(4)]
        halves.append(list(latent_batches(dataset, ORDER, ranges, Prefetch())))
    woven = [part for pair in zip(*halves, strict=True) for part in pair]
    assert torch.equal(joined(woven), whole)
    assert not source.fetched  # the first worker had them all


def test_an_epoch_fetches_each_shard_once_though_the_cache_holds_two_windows(tmp_path: Path) -> None:
    source = FolderSource(tmp_path / "store")
    dataset = opened(tmp_path, 2 * one_shard(tmp_path), source)
    order = ShardOrder(7, COUNTS, 1)
    epoch = joined(stream(dataset, 0, NUM, 2, order))
    assert torch.equal(epoch, torch.stack([sample(row) for row in order.rows(range(NUM)).tolist()]))
    assert sum(source.fetched.values()) <= len(COUNTS) + 1  # and the first of the next epoch


def test_a_cache_too_small_for_the_order_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    source = FolderSource(tmp_path / "store")
    dataset = opened(tmp_path, one_shard(tmp_path), source)
    with pytest.raises(ValueError, match=r"2 windows of 1 shards need \d+; give the cache more room"):
        latent_batches(dataset, ShardOrder(7, COUNTS, 1), [range(4)], Prefetch())
    with pytest.raises(ValueError, match="all 4 shards, which are shuffled as a whole"):
        latent_batches(dataset, ShardOrder(7, COUNTS, 4), [range(4)], Prefetch())
    with pytest.raises(ValueError, match="made for another store"):
        latent_batches(dataset, ShardOrder(7, (16,), 1), [range(4)], Prefetch())
    assert not source.fetched
    local = opened(tmp_path, 1, LocalSource(tmp_path / "store"))
    assert len(stream(local, 0, 8, 4)) == 2  # in place it needs no room


def test_a_store_that_vanishes_half_way_stops_the_stream_at_the_batch_that_needs_it(tmp_path: Path) -> None:
    order, left = ShardOrder(7, COUNTS, 1), [2]

    def vanishing(path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionResetError(f"{path.name}: gone")

    source = FolderSource(tmp_path / "store", vanishing)
    dataset = opened(tmp_path, source=source)
    rows = order.rows(range(NUM)).tolist()
    shards = list(dict.fromkeys(dataset.shards_of(np.array(rows)).tolist()))
    seen = []
    batches = latent_batches(dataset, order, [range(at, at + 1) for at in range(NUM)], Prefetch(downloads=1))

    def follow() -> None:
        for batch in batches:
            check(batch, [rows[len(seen)]])
            seen.append(batch)

    with pytest.raises(ConnectionResetError, match="gone"):
        follow()
    assert len(seen) == sum(COUNTS[shard] for shard in shards[:2])  # the samples of what was fetched before
    assert source.fetched[dataset.manifest.shards[shards[2]].name] == 1  # patience is the source's, and is not doubled


@pytest.mark.proves(24)
def test_a_damaged_shard_stops_the_stream_and_is_named(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    flip_a_bit(tmp_path / "store" / dataset.manifest.shards[2].name)
    with pytest.raises(DamagedLatentsError, match=r"latents-00002-of-00004\.safetensors: has another content"):
        stream(dataset, 0, NUM, 4)
