"""Labels of samples in shards: of the class that stands beside an image, in a tar's member or a table's column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

_LABEL = "cls"
_MAX_LABEL_BYTES = 32

LabelFault = Literal["of another kind", "no caption"]


class Label(NamedTuple):
    """The label of a sample, and the caption that it is the number of."""

    number: int
    caption: str | None = None


class UnusableLabelError(Exception):
    """Why a sample has no label, to follow its name."""


class SampleLabels(Protocol):
    """Reader of the labels of a shard's samples. Both readings raise UnusableLabelError."""

    @property
    def fault(self) -> LabelFault:
        """Kind of fault of a sample without a label."""

    @property
    def member_kinds(self) -> Mapping[str, int]:
        """Kinds of a tar's members that tell a label, each with the most bytes that are read of it."""

    @property
    def column(self) -> str:
        """Column of a table that tells a label."""

    def of_members(self, contents: Mapping[str, bytes]) -> Label:
        """Return the label that members of these kinds tell."""

    def of_value(self, value: object) -> Label:
        """Return the label that a value of the column is."""


@dataclass(frozen=True)
class ClassLabels:
    """Numbers of classes: `SampleLabels`."""

    num_classes: int
    class_of_all: int | None = None
    """Class of a tar's images, where they have no `key.cls`."""
    fault: LabelFault = "of another kind"
    member_kinds: Mapping[str, int] = field(default_factory=lambda: {_LABEL: _MAX_LABEL_BYTES})
    column: str = "label"

    def of_members(self, contents: Mapping[str, bytes]) -> Label:
        label = contents.get(_LABEL)
        number = self.class_of_all
        if label is not None:
            text = label.decode("ascii", "replace").strip()
            number = int(text) if text.isdecimal() else -1
        if number is None or not 0 <= number < self.num_classes:
            shown = "nothing" if label is None else repr(label)
            raise UnusableLabelError(f"names no class: its .cls says {shown}, there are {self.num_classes}")
        return Label(number)

    def of_value(self, value: object) -> Label:
        if type(value) is not int or not 0 <= value < self.num_classes:
            raise UnusableLabelError(f"names no class: its label is {value!r}, there are {self.num_classes}")
        return Label(value)
