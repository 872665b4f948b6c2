"""A part of a dataset is never taken for the whole: counts that do not fit, stores that vanish, full disks."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfm_core.data.files.class_folders import SingleFiles
from dfm_core.data.files.raw_samples import DataFile
from orchestration.artifacts.task_record import read_record
from orchestration.config.datasets import DatasetConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.storage import StorageConfig
from orchestration.encoding.shard_encoder import LEFT_OUT, ShardEncoder
from orchestration.storage.disk_space import DiskFullError
from orchestration.storage.layout import TaskPaths
from orchestration.storage.retry import StorageUnavailableError
from orchestration.storage.store import Store
from orchestration.tasks.encoding import latents_task
from orchestration.tasks.task import Task
from tests.support.dataset_files import png, tar
from tests.support.encodings import (
    CLASSES,
    counting_bench,
    described,
    latents_of,
    make_files,
    runtime_of,
    small_parts,
)
from tests.support.measuring import Bench
from tests.support.s3 import SECRET, FaultyProxy, environment, make_bucket, variables


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return make_files(tmp_path)


def assert_no_latents(store: Store, task: Task) -> None:
    with pytest.raises(FileNotFoundError, match="their encoding has not ended"):
        latents_of(store, task)
    assert read_record(store, task.digest) is None


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_file_that_gives_neither_a_sample_nor_a_reason_ends_the_encoding(
    files: Path, store: Store, mirrored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = runtime_of(files)
    task = small_parts(latents_task(described(runtime, data__mirrored=mirrored)))
    read = SingleFiles.samples

    def without_one(self: SingleFiles, unit: DataFile) -> Iterator[Any]:
        return iter(()) if unit.name == "bee/3.png" else read(self, unit)

    monkeypatch.setattr(SingleFiles, "samples", without_one)
    encoded, planned = (38, 40) if mirrored else (19, 20)
    with pytest.raises(ValueError, match=f"{encoded} samples were encoded and 0 left out of {planned}"):
        Bench(store, runtime=runtime).run(task)
    assert_no_latents(store, task)


def test_names_of_files_that_are_left_out_are_no_formulas(files: Path, store: Store) -> None:
    (files / "train" / "=1+1.png").write_bytes(png())
    task = latents_task(described(runtime_of(files, max_bad_share=0.1)))
    assert task is not None
    Bench(store, runtime=runtime_of(files, max_bad_share=0.1)).run(task)
    told = store.read(TaskPaths(task.digest).result_file(LEFT_OUT)).decode().splitlines()
    assert told == ["file,fault,reason", '\'=1+1.png,not in its place,"lies beside the folders, which are classes"']


IMAGES = [[(f"{at}.png", png(10 * shard + at, side=24)) for at in range(4)] for shard in range(3)]
SHARDS = {
    f"{shard}.tar": tar([one for at, image in enumerate(images) for one in (image, (f"{at}.cls", b"%d" % (at % 2)))])
    for shard, images in enumerate(IMAGES)
}


def tars(files: Path, num_samples: int = 12, **changed: Any) -> RuntimeConfig:
    """Three tars of four images each, of which the user says how many they are."""
    folder = files / "shards"
    folder.mkdir(exist_ok=True)
    for name, content in SHARDS.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(content)
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    dataset = DatasetConfig(str(folder), "image_shards", class_list="classes.txt", num_samples=num_samples)
    return replace(runtime_of(files), datasets={"insects": replace(dataset, **changed)})


def test_shards_that_hold_another_number_than_the_user_says_are_no_dataset(files: Path, store: Store) -> None:
    for wrong in (11, 13):
        runtime = tars(files, wrong)
        task = latents_task(described(runtime, data__mirrored=True))
        assert task is not None
        told = rf"insects\.num_samples says {wrong} samples, and the shards at .*shards hold 12: give 12, or see which"
        with pytest.raises(ValueError, match=told):
            Bench(store, runtime=runtime).run(task)
        assert_no_latents(store, task)
    bench, encoder = counting_bench(store, tars(files))
    task = latents_task(described(tars(files), data__mirrored=True))
    assert task is not None
    (record,) = bench.run(task)
    assert record is not None
    assert (record.metrics["num_samples"], record.metrics["num_left_out"]) == (24.0, 0.0)
    assert encoder.made == []  # the number decides no latent: what was encoded is there


@pytest.mark.parametrize("content", [SHARDS["1.tar"][:3000], b""], ids=["cut", "empty"])
def test_what_is_lost_with_a_damaged_shard_counts_against_what_may_be_left_out(
    files: Path, store: Store, content: bytes
) -> None:
    shards = tars(files).datasets["insects"]
    (Path(shards.files) / "1.tar").write_bytes(content)
    runtime = tars(files, max_bad_share=0.5)
    task = latents_task(described(runtime))
    assert task is not None
    for share in (0.0, 0.1):
        with pytest.raises(ValueError, match=r"1\.tar: is"):
            Bench(store, runtime=tars(files, max_bad_share=share)).run(task)
        assert_no_latents(store, task)
    (record,) = Bench(store, runtime=runtime).run(task)
    assert record is not None
    found = int(record.metrics["num_samples"])
    assert len(latents_of(store, task)["mean"]) == found
    manifest = store.manifest(TaskPaths(task.digest).latents)
    assert manifest is not None
    assert manifest["about"]["num_left_out"] == 12 - found
    assert record.metrics["num_left_out"] == 1.0 + 12 - found  # the shard, and the samples that it does not give


def test_a_reference_in_shards_of_its_own_is_counted_by_the_user(files: Path) -> None:
    runtime = tars(files, reference=str(files / "shards"))
    with pytest.raises(AssertionError, match="give num_reference, as the reference is apart"):
        described(runtime)


class Vanishing(FaultyProxy):
    """A proxy that fails for good from the moment on when `vanish` was called."""

    def vanish(self) -> None:
        self.fault = "reset"

    def come_back(self) -> None:
        self.fault = ""


@contextmanager
def behind_a_proxy(s3_endpoint: str) -> Iterator[tuple[Vanishing, StorageConfig]]:
    proxy = Vanishing(s3_endpoint)
    with environment(variables(proxy.endpoint)):
        root = f"s3://{make_bucket(s3_endpoint)}/dfm"
        yield proxy, StorageConfig(root, call_seconds=10.0, retry_seconds=0.5)
    proxy.close()


def at_part(number: int, act: Callable[[], None], method: str, patch: pytest.MonkeyPatch) -> None:
    """Does something just before the encoder's `method` begins with this part."""
    plain = getattr(ShardEncoder, method)

    def acting(self: ShardEncoder, task: Task, part: int, *rest: Any) -> Any:
        if part == number:
            act()
        return plain(self, task, part, *rest)

    patch.setattr(ShardEncoder, method, acting)


@pytest.mark.proves(24)
@pytest.mark.parametrize("method", ["encode", "_write"])
def test_a_store_that_vanishes_ends_the_encoding_which_resumes_when_it_is_back(
    files: Path, s3_endpoint: str, method: str, tmp_path: Path
) -> None:
    with behind_a_proxy(s3_endpoint) as (proxy, storage):
        runtime = replace(runtime_of(files), storage=storage)
        task = small_parts(latents_task(described(runtime)))
        store = Store(storage.root, retry_policy=storage.retry_policy)
        bench, encoder = counting_bench(store, runtime)
        with pytest.MonkeyPatch.context() as patch:
            at_part(2, proxy.vanish, method, patch)
            with pytest.raises(StorageUnavailableError, match=rf"{storage.root}/latents/{task.digest}/") as caught:
                bench.run(task)
        assert SECRET not in str(caught.value)
        proxy.come_back()
        assert_no_latents(store, task)
        assert store.names(f"{TaskPaths(task.digest).latents}/cards") == ["00000.json", "00001.json"]
        encoder.made = []
        bench.run(task)
        assert encoder.made == [2, 3]
        undisturbed = Store(str(tmp_path / "undisturbed"))
        Bench(undisturbed, runtime=runtime).run(task)
        paths = TaskPaths(task.digest)
        assert store.manifest(paths.latents) == undisturbed.manifest(paths.latents)


@pytest.mark.proves(24)
def test_files_that_vanish_half_way_are_not_left_out(files: Path, store: Store, s3_endpoint: str) -> None:
    with behind_a_proxy(s3_endpoint) as (proxy, storage):
        bucket = Store(storage.root)
        for path in (files / "train").rglob("[0-3].png"):
            bucket.write(f"train/{path.relative_to(files / 'train').as_posix()}", path.read_bytes())
        dataset = DatasetConfig(f"{storage.root}/train", reference=str(files / "reference"), max_bad_share=0.9)
        runtime = replace(runtime_of(files), storage=storage, datasets={"insects": dataset})
        task = small_parts(latents_task(described(runtime)), 2)
        bench, encoder = counting_bench(store, runtime)
        with pytest.MonkeyPatch.context() as patch:
            at_part(2, proxy.vanish, "encode", patch)
            with pytest.raises(StorageUnavailableError, match=rf"{storage.root}/train/.*\.png"):
                bench.run(task)
        assert_no_latents(store, task)
        proxy.come_back()
        encoder.made = []
        (record,) = bench.run(task)
        assert encoder.made == [2, 3]
        assert record is not None
        assert (record.metrics["num_samples"], record.metrics["num_left_out"]) == (8.0, 0.0)


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """The disk is full after so many bytes of a file, for the length of a block; Python ignores SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.proves(13)
@pytest.mark.parametrize(
    ("owner", "method", "room"),
    [(ShardEncoder, "_write", 0), (ShardEncoder, "_write", 700), (Store, "put", 700), (Store, "write", 200)],
    ids=["nothing", "a part of the shard", "a part of its copy", "a part of its card"],
)
def test_a_full_disk_ends_the_encoding_and_leaves_the_parts_that_were_whole(
    files: Path, store: Store, owner: type, method: str, room: int
) -> None:
    runtime = runtime_of(files)
    task = small_parts(latents_task(described(runtime)))
    bench, encoder = counting_bench(store, runtime)
    plain = getattr(owner, method)

    def full(*arguments: Any) -> Any:
        with largest_file(room if encoder.made[-1] == 2 else 10**9):
            return plain(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, full)
        with pytest.raises(DiskFullError, match=r"part 2 of the latents does not fit: .* MB are free at"):
            bench.run(task)
    assert_no_latents(store, task)
    there = {path.name for path in Path(store.path(TaskPaths(task.digest).latents)).rglob("*") if path.is_file()}
    shards = {f"latents-0000{part}-of-00004.safetensors" for part in ((0, 1, 2) if method == "write" else (0, 1))}
    assert there == {"00000.json", "00001.json"} | shards  # and nothing that is cut off
    encoder.made = []
    bench.run(task)
    assert encoder.made == [2, 3]
    assert len(latents_of(store, task)["mean"]) == 20
