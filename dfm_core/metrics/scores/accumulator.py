"""The contract of every metric while samples arrive: a value that batches update, that merges and computes scores.

Accumulators are frozen dataclasses of tensors and numbers. They can be sent between processes (after `to("cpu")`), and
groups of samples can be measured anywhere and merged in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

_MOST_NAMED = 10

ReferenceT = TypeVar("ReferenceT", contravariant=True)


@dataclass(frozen=True)
class Batch:
    """Some samples, as the feature network sees them.

    Raises: ValueError if a number is not finite, with the samples' count and indices: a metric over the others would be
    one of another set of samples. Look before images are made 8-bit, where NaN turns into a colour.
    """

    indices: Tensor
    """Global index of each sample, [B] int64; the order of samples is theirs, not the order of arrival."""
    features: Tensor
    """[B, D], or [B, frames, D] of videos; logits for the inception score."""
    targets: Tensor | None = None
    """Conditions of the samples: text features [B, D], or classes [B] int64."""

    def __post_init__(self) -> None:
        count = self.features.shape[0]
        if self.indices.shape != (count,):
            raise ValueError(f"indices are [{count}] for {count} samples, got {list(self.indices.shape)}")
        require_finite("features", self.features, self.indices)
        if self.targets is not None:
            if self.targets.shape[0] != count:
                raise ValueError(f"{count} samples have as many targets, got {self.targets.shape[0]}")
            require_finite("targets", self.targets, self.indices)

    @property
    def rows(self) -> Tensor:
        """Feature vectors with the frames of a video one after the other, [B * frames, D]."""
        return self.features.flatten(0, -2)


@dataclass(frozen=True)
class ScoreError:
    """The error of a number, if other samples had been drawn; the reference is held (numerics 10.6)."""

    method: str
    design: str
    """Number of samples, and the parts of them that have influences."""
    influences: tuple[float, ...]
    """Influence of each part on the number. Between numbers of one method and design, whose parts are samples of the
    same indices, influences on a difference are the differences of influences."""
    apart: float = 0.0
    """Part of the standard error that is not in the influences."""
    bias: float | None = None
    """Estimated bias; None: not estimated, or the metric is read at its number of samples."""
    interval: tuple[float, float] | None = None
    """95% interval of a share."""

    @property
    def standard_error(self) -> float:
        return math.hypot(self.apart, *self.influences)


@dataclass(frozen=True)
class Score:
    """One number of a metric."""

    value: float
    notes: tuple[str, ...] = ()
    """Remarks that a reader needs to judge the number."""
    spread: float | None = None
    """Population standard deviation over the splits or subsets whose mean `value` is; not a standard error."""
    error: ScoreError | None = None
    """Error by the finite number of samples; `errors.with_errors` adds it where the samples have to be kept for it."""


class Accumulator(Protocol[ReferenceT]):
    """State of a metric over the samples seen so far.

    `merge` is associative, and commutative up to rounding. Every class makes its neutral element with a classmethod
    `empty`, whose arguments are its own (`registry.ACCUMULATORS` makes any from the same ones).
    """

    @property
    def count(self) -> int:
        """Samples seen (for the Fréchet distance of videos' frames: frames)."""

    def update(self, batch: Batch) -> Self:
        """Add a batch, moved to the accumulator's device; float64 from there on."""

    def merge(self, other: Self) -> Self:
        """Return the accumulator of the samples of both."""

    def to(self, device: torch.device | str) -> Self:
        """Return the accumulator on another device."""

    def compute(self, reference: ReferenceT, /) -> dict[str, Score]:
        """Scores by name. Raises: ValueError if too few samples came, or one came twice where that can be seen."""


@dataclass(frozen=True)
class Sums:
    """An accumulator of sums over samples: counts and tensors add up, and other fields, which say of what, agree."""

    def merge(self, other: Self) -> Self:
        """Return the accumulator of the samples of both."""
        added: dict[str, Any] = {}
        for field in fields(self):
            own, others = getattr(self, field.name), getattr(other, field.name)
            if isinstance(own, int | Tensor):
                added[field.name] = own + others
            else:
                assert own == others, f"{own} and {others} do not merge"
        return replace(self, **added)

    def to(self, device: torch.device | str) -> Self:
        """Return the accumulator on another device."""
        own = vars(self).items()
        moved: dict[str, Any] = {name: value.to(device) for name, value in own if isinstance(value, Tensor)}
        return replace(self, **moved)


def require_finite(what: str, values: Tensor, names: Tensor) -> None:
    """Raises: ValueError with count and names of the rows of `values`, [B, ...], that hold NaN or infinity."""
    finite = torch.isfinite(values).flatten(1).all(dim=1) if values.dim() > 1 else torch.isfinite(values)
    if not bool(finite.all()):
        bad = names.to(finite.device)[~finite]
        raise ValueError(f"{what} of {len(bad)} of {len(finite)} samples are not finite: {name_some(bad)}")


def name_some(indices: Tensor) -> str:
    """Name the first indices, and whether there are more."""
    named = ", ".join(str(int(index)) for index in indices[:_MOST_NAMED])
    return named + (", ..." if len(indices) > _MOST_NAMED else "")
