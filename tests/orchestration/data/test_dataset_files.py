"""Datasets in a folder and behind a URL: the same samples, the same fingerprint, faults of the storage survived."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest

from dfm_core.data.files.class_folders import open_class_folders
from dfm_core.data.files.image_files import EXTENSIONS
from dfm_core.data.files.image_shards import open_image_shards
from orchestration.config.datasets import DatasetConfig
from orchestration.config.storage import StorageConfig
from orchestration.data.user_files import StoreFiles, UserDataset
from orchestration.storage.retry import RetryPolicy, StorageUnavailableError
from orchestration.storage.store import Store
from tests.support.dataset_files import everything, parquet, png
from tests.support.encodings import make_files
from tests.support.s3 import FaultyProxy, make_bucket

FILES = {f"{name}/deep/{at}.png": png(at) for at in range(3) for name in ("ant", "bee")} | {"ant/empty.png": b""}
PATIENCE = RetryPolicy(call_seconds=0.7, retry_seconds=60.0)


@pytest.fixture
def stores(tmp_path: Path, proxy: FaultyProxy, s3_endpoint: str) -> tuple[Store, Store]:
    """The same files in a folder and in a bucket."""
    del proxy
    places = (Store(str(tmp_path / "data")), Store(f"s3://{make_bucket(s3_endpoint)}/data", retry_policy=PATIENCE))
    for store in places:
        for name, content in FILES.items():
            store.write(name, content)
    return places


def test_a_folder_and_a_bucket_hold_the_same_dataset(stores: tuple[Store, Store]) -> None:
    local, remote = (open_class_folders(StoreFiles(store), EXTENSIONS) for store in stores)
    assert local.fingerprint == remote.fingerprint
    assert local.units == remote.units
    assert everything(local) == everything(remote)
    sound, bad = everything(remote)
    assert {sample.name: sample.content for sample in sound} == {name: data for name, data in FILES.items() if data}
    assert list(bad) == ["ant/empty.png"]


def test_an_empty_class_is_seen_where_there_are_folders(stores: tuple[Store, Store], tmp_path: Path) -> None:
    (tmp_path / "data" / "cat").mkdir()
    assert [bad.file for bad in open_class_folders(StoreFiles(stores[0]), EXTENSIONS).left_out] == [
        "ant/empty.png",
        "cat",
    ]


def test_links_in_a_circle_are_left_out_by_name(stores: tuple[Store, Store], tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "ant" / "again").symlink_to(data)
    (data / "bee" / "deep" / "itself.png").symlink_to("itself.png")
    (data / "cow").symlink_to(data / "ant" / "deep")  # which is in no circle
    dataset = open_class_folders(StoreFiles(stores[0]), EXTENSIONS)
    assert dataset.class_names == ("ant", "bee", "cow")
    assert {one.file: one.reason for one in dataset.left_out} == {
        "ant/again": "is a link to a folder that it lies in",
        "ant/empty.png": "is empty (0 bytes)",
        "bee/deep/itself.png": "cannot be read (Too many levels of symbolic links)",
    }


ODD = [
    "new\nline.png",
    "tab\t.png",
    "\x1b[2J.png",
    "question?.png",
    "hash#.png",
    "percent%20%2F.png",
    "glob*[a]{b}.png",
    "colon: quote'\".png",
    " \u202fspaces .png",
    "\u65e5\u672c.png",
    "-a&b;c+d=e,f$.png",
    "back\\slash.png",
]


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_of_any_name_is_read_or_left_out_by_name(stores: tuple[Store, Store], which: int) -> None:
    store, content = stores[which], png(7)
    names = ODD[which:]  # moto has no keys with a newline
    for name in names:
        store._files.write(f"{store._base}/ant/{name}", content)
    for folder in ("back\\slash", "v1.0\\x"):
        store._files.write(f"{store._base}/{folder}/0.png", content)
    if which == 0:
        Path(os.fsdecode(os.fsencode(f"{store.root}/ant/") + b"latin-\xe9.png")).write_bytes(content)
        refused = {"ant/latin-\udce9.png"}
    else:  # which no folder can hold
        for name in (f"{'long' * 70}.png", "../up.png", "/double.png"):
            store._files.write(f"{store._base}/ant/{name}", content)
        refused = {f"ant/{'long' * 70}.png", "ant/../", "ant/"}
    dataset = open_class_folders(StoreFiles(store), EXTENSIONS)
    sound, bad = everything(dataset)
    assert {sample.name for sample in sound} >= {f"ant/{name}" for name in names[:-1]}
    assert set(bad) == {"ant/empty.png", "ant/back\\slash.png", "back\\slash/", "v1.0\\x/", *refused}
    assert all(reason.isprintable() for reason in bad.values())


def test_pipes_and_devices_in_the_place_of_files_are_never_opened(stores: tuple[Store, Store], tmp_path: Path) -> None:
    data = tmp_path / "data"
    os.mkfifo(data / "ant" / "pipe.png")
    os.mkfifo(data / "list.csv")
    (data / "bee" / "device.png").symlink_to("/dev/zero")
    os.mkfifo(data / "control.ini")
    bad = {one.file: one.reason for one in open_class_folders(StoreFiles(stores[0]), EXTENSIONS).left_out}
    assert bad == {"ant/empty.png": "is empty (0 bytes)"} | dict.fromkeys(
        ("ant/pipe.png", "bee/device.png"), "is no regular file"
    )
    config = DatasetConfig(str(data), layout="list")
    with pytest.raises(FileNotFoundError, match=r"list\.csv: is not there as a regular file"):
        UserDataset(config, StorageConfig(), reference=False, clips=False).open()
    for read in (stores[0].read, lambda name: stores[0].fetch(name, tmp_path, 1)):
        with pytest.raises(FileNotFoundError, match="is no regular file"):
            read("ant/pipe.png")


def test_a_link_that_leads_nowhere_is_left_out(stores: tuple[Store, Store], tmp_path: Path) -> None:
    (tmp_path / "data" / "ant" / "gone.png").symlink_to(tmp_path / "nothing.png")
    bad = {one.file for one in open_class_folders(StoreFiles(stores[0]), EXTENSIONS).left_out}
    assert bad == {"ant/empty.png", "ant/gone.png"}


@pytest.mark.parametrize("fault", ["busy", "reset", "hang"])
def test_a_passing_fault_costs_time_only(proxy: FaultyProxy, stores: tuple[Store, Store], fault: str) -> None:
    proxy.fault, proxy.faults_left = fault, 2
    sound, _ = everything(open_class_folders(StoreFiles(stores[1]), EXTENSIONS))
    assert len(sound) == len(FILES) - 1
    assert proxy.faults_left == 0


def test_a_storage_that_stays_away_is_no_dataset_with_fewer_samples(
    proxy: FaultyProxy, stores: tuple[Store, Store]
) -> None:
    hasty = RetryPolicy(call_seconds=20.0, retry_seconds=0.5)  # of calls that are refused: the sound ones have time
    dataset = open_class_folders(StoreFiles(Store(stores[1].root, retry_policy=hasty)), EXTENSIONS)
    proxy.fault = "reset"
    with pytest.raises(StorageUnavailableError, match=r"s3://.*\.png"):
        everything(dataset)


def test_a_shard_is_read_from_a_bucket(stores: tuple[Store, Store]) -> None:
    stores[1].write("shards/0.parquet", parquet([png(5)], [1]))
    sound, bad = everything(open_image_shards(StoreFiles(Store(f"{stores[1].root}/shards")), ("a", "b")))
    assert not bad
    assert [(sample.label, sample.content) for sample in sound] == [(1, png(5))]


@pytest.mark.parametrize("which", [0, 1])
def test_a_place_that_is_not_there_is_told(stores: tuple[Store, Store], which: int) -> None:
    root = f"{stores[which].root}/elsewhere"
    with pytest.raises(FileNotFoundError, match=f"{root}: there is nothing"):
        StoreFiles(Store(root, retry_policy=PATIENCE)).listing()


def test_lists_as_windows_writes_them_are_read(tmp_path: Path) -> None:
    make_files(tmp_path)
    train = tmp_path / "train"
    (train / "list.csv").write_bytes(codecs.BOM_UTF8 + b"path,label\r\nant/0.png,ant\r\nbee/0.png,bee\r\n")
    (train / "classes.txt").write_bytes(codecs.BOM_UTF8 + b"bee\r\nant\r\n")
    config = DatasetConfig(str(train), layout="list", class_list="classes.txt")
    dataset = UserDataset(config, StorageConfig(), reference=False, clips=False).open()
    assert (dataset.class_names, len(dataset.units), dataset.left_out) == (("bee", "ant"), 2, ())


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_in_the_place_of_a_folder_is_told(stores: tuple[Store, Store], which: int) -> None:
    root = f"{stores[which].root}/ant/deep/0.png"
    told = (f"{root} is a file; give a folder", f"{root}: is a file or an empty folder; give the folder of the files")
    with pytest.raises((FileNotFoundError, ValueError), match=told[which]):
        StoreFiles(Store(root, retry_policy=PATIENCE)).listing()
