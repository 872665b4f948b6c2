"""Features of samples in the store, group by group: written as they are made, so that a killed evaluation resumes.

A group is a fixed range of sample indices. Its file's name ends in the start of its sha256: one listing tells which
groups there are, and a file that does not hold what its name says is removed and made anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import safetensors.torch
from torch import Tensor

from orchestration.storage.store import Store

GROUP_IMAGES = 250
"""Samples of a group. Fixed, so that groups are found again whatever the number of evaluators."""
_FILE = re.compile(r"(\d{9})-(\d{9})-([0-9a-f]{16})\.safetensors")


class LostFeaturesError(Exception):
    """A group of features is not in the store as it was written; a restart of the task makes it again."""


@dataclass(frozen=True, order=True)
class Group:
    """Samples begin..end - 1."""

    begin: int
    end: int

    @property
    def num_samples(self) -> int:
        return self.end - self.begin


def groups_of(num_samples: int) -> list[Group]:
    """Return all groups of so many samples; the last may be shorter."""
    return [Group(begin, min(begin + GROUP_IMAGES, num_samples)) for begin in range(0, num_samples, GROUP_IMAGES)]


@dataclass(frozen=True)
class GroupFiles:
    """The groups in one directory of the store."""

    store: Store
    directory: str

    def stored(self) -> dict[Group, str]:
        """Return the groups that are there, with the names of their files."""
        named = ((name, _FILE.fullmatch(name)) for name in self.store.names(self.directory))
        return {Group(int(match[1]), int(match[2])): name for name, match in named if match}

    def write(self, group: Group, tensors: Mapping[str, Tensor]) -> None:
        """Write a group's tensors, each with a row per sample; whole or not at all."""
        assert all(len(tensor) == group.num_samples for tensor in tensors.values()), f"{group} has another length"
        content = safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
        name = f"{group.begin:09d}-{group.end:09d}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        self.store.write(f"{self.directory}/{name}", content)

    def read(self, groups: Sequence[Group]) -> Iterator[tuple[Group, dict[str, Tensor]]]:
        """Yield the tensors of groups, in order.

        Raises: LostFeaturesError if one is not there, or not what was written, after which it is gone: it can be made
        anew.
        """
        names = self.stored()
        for number, group in enumerate(groups):
            content = self._content(group, names)
            if content is None:
                for later in groups[number + 1 :]:  # all that is lost is made anew at once
                    self._content(later, names)
                place = f"{self.store.uri(self.directory)}: samples {group.begin} to {group.end}"
                raise LostFeaturesError(f"{place} are not there as they were written; they are made anew")
            yield group, safetensors.torch.load(content)

    def _content(self, group: Group, names: Mapping[Group, str]) -> bytes | None:
        """Return a group's file; None if it is missing, or was damaged and is removed now."""
        if group not in names:
            return None
        path = f"{self.directory}/{names[group]}"
        try:
            content = self.store.read(path)
        except FileNotFoundError:  # somebody else has removed it since the listing
            return None
        if hashlib.sha256(content).hexdigest()[:16] in names[group]:
            return content
        self.store.remove(path)
        return None
