"""Listings that are kept: a known dataset is not listed again, a changed one is, and a run always lists."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dfm_core.data.files.raw_samples import Listing
from orchestration.commands.sweep_modes import run_mode
from orchestration.common.errors import UserError
from orchestration.config.datasets import DatasetConfig
from orchestration.config.storage import StorageConfig
from orchestration.data import kept_listings
from orchestration.data.file_cache import CACHE_VARIABLE
from orchestration.data.kept_listings import facts_of, open_planned
from orchestration.data.user_files import StoreFiles, UserDataset
from tests.orchestration.data.test_dataset_facts import SWEEP
from tests.support.dataset_files import everything, png
from tests.support.encodings import make_files
from tests.support.s3 import environment, make_bucket, variables
from tests.support.work import num_lines


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(kept_listings, "WORTH_KEEPING_SECONDS", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def train(tmp_path: Path) -> Path:
    make_files(tmp_path)
    settle(tmp_path)
    return tmp_path / "train"


def settle(folder: Path) -> None:
    """Set the times of all entries back, as if nothing had changed for an hour."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - 3600,) * 2)


def dataset(place: Path | str, **settings: str) -> UserDataset:
    return UserDataset(DatasetConfig(str(place), **settings), StorageConfig(), reference=False, clips=False)  # type: ignore[arg-type]


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(files: StoreFiles) -> Listing:
        assert files._listing is not None, "the files were listed again"
        return files._listing

    monkeypatch.setattr(StoreFiles, "listing", listing)


def test_a_known_dataset_is_planned_and_opened_without_listing_it(train: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = facts_of(dataset(train), kept=True)
    assert first.listed == ""
    whole = everything(dataset(train).open())
    refuse(monkeypatch)
    again = facts_of(dataset(train), kept=True)
    assert "As listed on 2" in again.text("x")
    assert (again.fingerprint, again.class_names, again.num_units) == (first.fingerprint, ("ant", "bee"), 20)
    assert everything(open_planned(dataset(train), first.fingerprint)) == whole
    with pytest.raises(AssertionError, match="listed again"):
        facts_of(dataset(train), kept=False)


@pytest.mark.parametrize("change", ["ant/new.png", "cat/0.png"])
def test_a_changed_folder_is_listed_anew_and_said_to_be(train: Path, change: str) -> None:
    first = facts_of(dataset(train), kept=True)
    (train / change).parent.mkdir(exist_ok=True)
    (train / change).write_bytes(png(5))
    found = facts_of(dataset(train), kept=True)
    assert (found.num_units, found.listed) == (21, "")
    assert "Listed anew: the listing of 2" in found.text("x")
    assert open_planned(dataset(train), first.fingerprint).fingerprint == found.fingerprint


def test_a_folder_that_changed_just_now_is_not_kept(train: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_listings, "_UNSETTLED_SECONDS", 600.0)  # the other folders changed an hour ago
    os.utime(train / "ant")
    facts_of(dataset(train), kept=True)
    assert not cache.exists()


def test_of_a_bucket_the_first_level_is_looked_at_and_a_run_lists_all(s3_endpoint: str) -> None:
    with environment(variables(s3_endpoint)):
        place = f"s3://{make_bucket(s3_endpoint)}/data"
        store = dataset(place).store
        for name in ("ant/0.png", "bee/0.png"):
            store.write(name, png())
        facts_of(dataset(place), kept=True)
        store.write("ant/1.png", png())
        known = facts_of(dataset(place), kept=True)
        assert (known.num_units, bool(known.listed)) == (2, True)
        assert facts_of(dataset(place), kept=False).num_units == 3
        assert facts_of(dataset(place), kept=True).num_units == 3
        store.write("cow/0.png", png())
        found = facts_of(dataset(place), kept=True)
        assert (found.num_units, bool(found.stale)) == (4, True)


def test_other_lists_or_layouts_of_a_place_are_other_datasets(train: Path) -> None:
    (train / "classes.txt").write_text("bee\nant\n")
    settle(train)
    for settings in ({}, {"class_list": "classes.txt"}):
        for _ in range(2):
            names = facts_of(dataset(train, **settings), kept=True).class_names
            assert names == (("bee", "ant") if settings else ("ant", "bee"))
    (train / "classes.txt").write_text("ant\nbee\n")
    assert facts_of(dataset(train, class_list="classes.txt"), kept=True).class_names == ("ant", "bee")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"facts": 1}', b"\xff" * 100])
def test_what_is_damaged_is_as_if_nothing_were_kept(train: Path, cache: Path, content: bytes) -> None:
    first = facts_of(dataset(train), kept=True)
    facts, listing = sorted((cache / "listings").iterdir(), key=lambda path: path.suffix != ".json")
    listing.write_bytes(content)
    assert open_planned(dataset(train), first.fingerprint).fingerprint == first.fingerprint
    facts.write_bytes(content)
    assert facts_of(dataset(train), kept=True) == first


def test_a_cache_that_cannot_be_written_costs_the_listing_alone(
    train: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file")
    assert facts_of(dataset(train), kept=True).num_units == 20
    assert f"is not kept ([Errno 20] Not a directory: '{cache}/listings" in caplog.text
    assert f"name another folder in {CACHE_VARIABLE}" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("no home"), UserError.of("HOME", "no home")])
def test_without_a_home_there_is_a_plan_all_the_same(
    train: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def nowhere() -> Path:
        raise error

    monkeypatch.setattr(kept_listings, "default_cache_directory", nowhere)
    assert facts_of(dataset(train), kept=True).num_units == 20
    assert "no home); make room there" in caplog.text


def test_a_dry_run_takes_what_is_kept_and_says_so(
    tmp_path: Path, train: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del train
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(folder=tmp_path))
    assert run_mode("dry-run", tmp_path / "sweep.yaml", [], confirmed=False) == 0
    assert "As listed" not in capsys.readouterr().out
    refuse(monkeypatch)
    assert run_mode("dry-run", tmp_path / "sweep.yaml", [], confirmed=False) == 0
    assert capsys.readouterr().out.count("As listed on") == 2


def test_a_known_dataset_of_many_classes_costs_a_few_lines_a_class(train: Path) -> None:
    """21,841 classes are planned in about a second: what a class costs counts."""
    for number in range(1000):
        folder = train / f"n{number:08}"
        folder.mkdir()
        (folder / "0.png").write_bytes(b"x")
    settle(train)
    first = num_lines(lambda: facts_of(dataset(train), kept=True))
    again = num_lines(lambda: facts_of(dataset(train), kept=True))
    assert again < 200 * 1000 < first, (again, first)
