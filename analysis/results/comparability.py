"""Comparability of numbers of one metric: they must be measured alike, and as the plan says. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from analysis.plan.model import Metric
from analysis.plan.protocol import FREE_FOR_REAL_IMAGES, MEANT_TO_DIFFER, Protocol, ProtocolPair
from analysis.results.measurements import Measurement

Labelled = tuple[str, ProtocolPair]
"""A number's row label, and its protocol."""


@dataclass(frozen=True)
class FieldDifference:
    """A field of the protocol in which numbers differ."""

    name: str
    values: tuple[tuple[Any, tuple[str, ...]], ...]
    """Each value with the labels that have it, in the table's order."""


@dataclass(frozen=True)
class Deviation:
    """A field of the protocol in which measurements deviate from the plan."""

    name: str
    recorded: Any
    planned: Any
    labels: tuple[str, ...]
    """Labels of the numbers, in the table's order."""


@dataclass(frozen=True)
class Comparability:
    """Reasons against comparing some numbers of one metric; none if all is empty."""

    metric: Metric
    differences: tuple[FieldDifference, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    unknown: tuple[str, ...] = ()
    """Labels whose protocol neither plan nor record says."""

    @property
    def comparable(self) -> bool:
        return not (self.differences or self.deviations or self.unknown)


def compare_protocols(
    metric: Metric, numbers: Iterable[Labelled], meant_to_differ: Collection[str] = MEANT_TO_DIFFER
) -> Comparability:
    """Compare the protocols of numbers of one metric with each other, and with the plan's.

    Args: numbers: in the table's order. meant_to_differ: fields that may differ between numbers that are compared.
    """
    labelled = list(numbers)
    known = [(label, pair.effective) for label, pair in labelled if pair.effective is not None]
    names = dict.fromkeys(name for _, protocol in known for name in known[0][1].differences(protocol))
    return Comparability(
        metric,
        tuple(_difference(name, known) for name in names if name not in meant_to_differ),
        tuple(_deviations(labelled)),
        tuple(dict.fromkeys(label for label, pair in labelled if pair.effective is None)),
    )


def _difference(name: str, numbers: Iterable[tuple[str, Protocol]]) -> FieldDifference:
    values = _grouped((protocol.values.get(name), label) for label, protocol in numbers)
    return FieldDifference(name, tuple(values))


def _deviations(numbers: Iterable[Labelled]) -> Iterator[Deviation]:
    deviations = (((name, *values), label) for label, pair in numbers for name, values in pair.deviations.items())
    for (name, recorded, planned), labels in _grouped(deviations):
        yield Deviation(name, recorded, planned, labels)


def _grouped(pairs: Iterable[tuple[Any, str]]) -> list[tuple[Any, tuple[str, ...]]]:
    """Group labels by value, which may be unhashable; each label once, in the given order."""
    groups: list[tuple[Any, list[str]]] = []
    for value, label in pairs:
        labels = next((labels for known, labels in groups if known == value), None)
        if labels is None:
            groups.append((value, [label]))
        elif label not in labels:
            labels.append(label)
    return [(value, tuple(labels)) for value, labels in groups]


def rows_comparability(metric: Metric, measurements: Iterable[Measurement]) -> Comparability:
    """Compare the protocols of the rows' numbers by a metric; rows without the metric are left out."""
    planned = (m for m in measurements if m.metric == metric.name and m.status != "not planned")
    return compare_protocols(metric, ((m.row, m.protocols) for m in planned))


def real_images_comparability(
    metric: Metric, real_images: Labelled, measurements: Iterable[Measurement]
) -> Comparability:
    """Compare the protocol of real images with the rows'; empty if the rows differ among themselves."""
    planned = [m for m in measurements if m.metric == metric.name and m.status != "not planned"]
    if rows_comparability(metric, planned).differences:
        return Comparability(metric)
    rows = [(m.row, m.protocols) for m in planned]
    differences = compare_protocols(metric, [real_images, *rows], FREE_FOR_REAL_IMAGES).differences
    return Comparability(metric, differences, unknown=compare_protocols(metric, [real_images]).unknown)
