"""The sweep's `published:` keys: the paper's numbers beside which its tables stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from analysis.contract.plan_schema import DEFAULT_MARGIN
from analysis.contract.published_numbers import UnknownPublishedError, check_published_metrics, find_published
from dfm_core.catalog.metrics import METRICS
from orchestration.common.errors import nearest


@dataclass(frozen=True)
class PublishedTable:
    """The sweep's `published:`."""

    table: str
    """A table of the paper, e.g. table2."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Our metric -> the published one that it stands beside."""
    same_setting: bool = True
    """false: data, model or metric are not the paper's, so that only the order of the rows can be compared."""
    margin: Annotated[float, Gt(0.0), Lt(1.0)] = DEFAULT_MARGIN
    """Largest difference from the paper's number that counts as none, as a share of it."""


@dataclass(frozen=True)
class PublishedPart:
    """A part's `published:`."""

    part: str | None = None
    """The table's part; default: the one of the same name."""
    guidance: Annotated[float, Ge(0.0)] | None = None
    """The guidance weight of the published values; default: 1."""


def unknown_counterparts(table: PublishedTable, parts: Mapping[str, PublishedPart | None]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every name that the paper does not print.

    Args: parts: `published:` of each part that has it, by the part's name.
    """
    for name in table.metrics:
        if name not in METRICS:
            yield "published.metrics", f"{name!r} is not a metric{nearest(name, list(METRICS))}"
    try:
        check_published_metrics(table.table, table.metrics.values())
    except UnknownPublishedError as error:
        yield "published", str(error).removeprefix("published: ")
        return
    for name, part in parts.items():
        if part is not None:
            try:
                find_published(table.table, part.part or name, part.guidance)
            except UnknownPublishedError as error:
                yield f"parts.{name}.published", str(error).removeprefix("published: ")
