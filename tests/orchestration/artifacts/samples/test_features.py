"""Groups of features in the store."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestration.artifacts.samples.features import Group, GroupFiles, LostFeaturesError, groups_of
from orchestration.storage.store import Store

TENSORS = {"a": torch.arange(10.0).reshape(5, 2), "labels": torch.arange(5)}


@pytest.fixture
def files(store: Store) -> GroupFiles:
    return GroupFiles(store, "features/x/lite0-y")


def test_groups_cover_all_samples_once() -> None:
    groups = groups_of(601)
    assert [index for group in groups for index in range(group.begin, group.end)] == list(range(601))
    assert groups[:2] == groups_of(500)  # more samples leave those that are there alone


def test_what_was_written_is_read_in_the_order_asked_for(files: GroupFiles) -> None:
    second = {name: tensor + 100 for name, tensor in TENSORS.items()}
    files.write(Group(5, 10), second)
    files.write(Group(0, 5), TENSORS)
    read = list(files.read([Group(5, 10), Group(0, 5)]))
    assert [group for group, _ in read] == [Group(5, 10), Group(0, 5)]
    torch.testing.assert_close(read[0][1], second, rtol=0, atol=0)
    torch.testing.assert_close(read[1][1], TENSORS, rtol=0, atol=0)


def test_a_group_that_is_not_there_is_named(files: GroupFiles) -> None:
    files.write(Group(0, 5), TENSORS)
    with pytest.raises(LostFeaturesError, match="samples 5 to 10 are not there"):
        list(files.read([Group(0, 5), Group(5, 10)]))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_every_kind_of_damage_is_found_and_the_file_removed(files: GroupFiles, store: Store, damage: str) -> None:
    files.write(Group(0, 5), TENSORS)
    (path,) = Path(store.path(files.directory)).iterdir()
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]
    path.write_bytes({"flip": flipped, "cut": content[:-20], "empty": b""}[damage])
    with pytest.raises(LostFeaturesError, match="are not there as they were written"):
        list(files.read([Group(0, 5)]))
    assert files.stored() == {}


def test_half_written_and_foreign_files_are_no_groups(files: GroupFiles, store: Store) -> None:
    files.write(Group(0, 5), TENSORS)
    folder = Path(store.path(files.directory))
    (folder / ".000000005-000000010-0123456789abcdef.safetensors.1f.partial").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    assert set(files.stored()) == {Group(0, 5)}


def test_a_group_of_another_length_is_our_mistake(files: GroupFiles) -> None:
    with pytest.raises(AssertionError, match="has another length"):
        files.write(Group(0, 6), TENSORS)


def test_all_damage_is_found_at_once(files: GroupFiles, store: Store) -> None:
    groups = [Group(begin, begin + 5) for begin in range(0, 20, 5)]
    for group in groups:
        files.write(group, TENSORS)
    for path in sorted(Path(store.path(files.directory)).iterdir())[1:3]:
        path.write_bytes(b"damaged")
    with pytest.raises(LostFeaturesError, match="samples 5 to 10"):
        list(files.read(groups))
    assert set(files.stored()) == {groups[0], groups[3]}


def test_a_file_that_vanishes_while_it_is_read_is_lost_features(
    files: GroupFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(Group(0, 5), TENSORS)
    listed = files.stored()
    files.store.remove(files.directory)
    monkeypatch.setattr(GroupFiles, "stored", lambda _: listed)
    with pytest.raises(LostFeaturesError, match="samples 0 to 5"):
        list(files.read([Group(0, 5)]))
