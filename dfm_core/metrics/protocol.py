"""Protocols of measured numbers; two numbers are comparable if theirs are equal. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any

from dfm_core.catalog.metrics import METRICS, STATISTICS, MetricName
from dfm_core.config import EvaluationConfig


@dataclass(frozen=True)
class Protocol:
    """Conditions of a measurement; plain values, so that `asdict` is its record and `Protocol(**record)` reads it."""

    metric: str
    network: str
    """Feature network and layer."""
    weights_sha256: str
    preprocessing: str
    num_samples: int
    reference: str
    """Identity of the reference set, or of the label probe: its digest. Empty for metrics that read neither."""
    guidance: float
    ema_decay: float
    """Decay of the averaged weights that were sampled; 0 is the weights themselves."""
    label_sampling: str
    settings: str = ""
    """The metric's own: splits, subsets, neighbours."""

    @property
    def digest(self) -> str:
        """sha256 over all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: Protocol) -> dict[str, tuple[Any, Any]]:
        """Fields that differ, with both values."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class Measurement:
    """A number and how it came about."""

    value: float
    standard_error: float | None
    protocol: Protocol
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """First minus second."""

    value: float
    standard_error: float | None
    """Standard error for independent samples; None if one of the two has none."""
    across: tuple[str, ...]
    """Fields of the protocol that differ between the two."""


class ProtocolMismatchError(ValueError):
    """Two numbers that don't measure the same."""


def compare(first: Measurement, second: Measurement, across: Collection[str] = ()) -> Difference:
    """Return the difference of two numbers of one protocol.

    Args: across: fields of the protocol that are meant to differ, such as the guidance of two rows of a table.
    Raises: ProtocolMismatchError with every other field that differs; ValueError for a field that no protocol has.
    """
    known = {field.name for field in fields(Protocol)}
    if unknown := sorted(set(across) - known):
        raise ValueError(f"across: {', '.join(unknown)} is no field of a protocol; known: {', '.join(sorted(known))}")
    differing = first.protocol.differences(second.protocol)
    if unasked := {name: pair for name, pair in differing.items() if name not in across}:
        listed = "; ".join(f"{name}: {one!r} and {other!r}" for name, (one, other) in unasked.items())
        raise ProtocolMismatchError(f"numbers of different protocols are not compared: {listed}")
    return Difference(first.value - second.value, _joint_error(first, second), tuple(differing))


def _joint_error(first: Measurement, second: Measurement) -> float | None:
    if first.standard_error is None or second.standard_error is None:
        return None
    return float((first.standard_error**2 + second.standard_error**2) ** 0.5)


def settings_text(metric: MetricName, evaluation: EvaluationConfig) -> str:
    """Return a metric's own settings for its protocol, e.g. "inception_splits=10"."""
    keys = STATISTICS[METRICS[metric].statistic].settings
    return ", ".join(f"{key}={getattr(evaluation, key)}" for key in keys)
