"""Whether numbers of one metric may be compared: only if they were measured alike, and as the plan says. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from analysis.plan.model import Metric
from analysis.plan.protocol import FREE_FOR_REAL_IMAGES, MEANT_TO_DIFFER, Protocol, ProtocolPair
from analysis.results.measurements import Measurement

Labelled = tuple[str, ProtocolPair]
"""Whose number it is, and how it was measured."""


@dataclass(frozen=True)
class FieldDifference:
    """A field of the protocol in which numbers differ."""

    name: str
    values: tuple[tuple[Any, tuple[str, ...]], ...]
    """Each value with the labels that have it, in the table's order."""


@dataclass(frozen=True)
class Deviation:
    """A field of the protocol in which numbers were measured otherwise than planned."""

    name: str
    recorded: Any
    planned: Any
    labels: tuple[str, ...]
    """Whose numbers, in the table's order."""


@dataclass(frozen=True)
class Comparability:
    """What speaks against comparing some numbers of one metric; nothing if all is empty."""

    metric: Metric
    differences: tuple[FieldDifference, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    unknown: tuple[str, ...] = ()
    """Labels of which neither plan nor record says how they were measured."""

    @property
    def comparable(self) -> bool:
        return not (self.differences or self.deviations or self.unknown)


def compare_protocols(
    metric: Metric, numbers: Iterable[Labelled], meant_to_differ: Collection[str] = MEANT_TO_DIFFER
) -> Comparability:
    """Whether numbers of one metric were measured alike, and as planned.

    Args: numbers: in the table's order. meant_to_differ: fields that may differ between numbers that are compared.
    """
    found = list(numbers)
    known = [(label, pair.effective) for label, pair in found if pair.effective is not None]
    names = dict.fromkeys(name for _, protocol in known for name in known[0][1].differences(protocol))
    return Comparability(
        metric,
        tuple(_difference(name, known) for name in names if name not in meant_to_differ),
        tuple(_deviations(found)),
        tuple(dict.fromkeys(label for label, pair in found if pair.effective is None)),
    )


def _difference(name: str, numbers: Iterable[tuple[str, Protocol]]) -> FieldDifference:
    values = _grouped((protocol.values.get(name), label) for label, protocol in numbers)
    return FieldDifference(name, tuple(values))


def _deviations(numbers: Iterable[Labelled]) -> Iterator[Deviation]:
    found = (((name, *values), label) for label, pair in numbers for name, values in pair.deviations.items())
    for (name, recorded, planned), labels in _grouped(found):
        yield Deviation(name, recorded, planned, labels)


def _grouped(pairs: Iterable[tuple[Any, str]]) -> list[tuple[Any, tuple[str, ...]]]:
    """Each value, which may be unhashable, with all its labels once, in the order in which they come."""
    groups: list[tuple[Any, list[str]]] = []
    for value, label in pairs:
        labels = next((labels for known, labels in groups if known == value), None)
        if labels is None:
            groups.append((value, [label]))
        elif label not in labels:
            labels.append(label)
    return [(value, tuple(labels)) for value, labels in groups]


def rows_comparability(metric: Metric, measurements: Iterable[Measurement]) -> Comparability:
    """Whether the rows' numbers by a metric compare; metrics that a row leaves out are no numbers."""
    planned = (m for m in measurements if m.metric == metric.name and m.status != "not planned")
    return compare_protocols(metric, ((m.row, m.protocols) for m in planned))


def floor_comparability(metric: Metric, floor: Labelled, measurements: Iterable[Measurement]) -> Comparability:
    """Whether what real images score was measured as the rows were; empty if these differ among themselves."""
    found = [m for m in measurements if m.metric == metric.name and m.status != "not planned"]
    if rows_comparability(metric, found).differences:
        return Comparability(metric)
    rows = [(m.row, m.protocols) for m in found]
    differences = compare_protocols(metric, [floor, *rows], FREE_FOR_REAL_IMAGES).differences
    return Comparability(metric, differences, unknown=compare_protocols(metric, [floor]).unknown)
