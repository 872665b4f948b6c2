"""The sweep's `primary:` keys: the metric that its claims rest on. Everything else is exploratory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Lt

from analysis.contract.plan_schema import DEFAULT_MARGIN, Bands
from dfm_core.catalog.metrics import MetricName
from orchestration.common.errors import nearest


@dataclass(frozen=True)
class PrimaryMetric:
    """The sweep's `primary:`, to be declared before its numbers are seen."""

    metric: MetricName
    """The metric by which rows are called best, separable, or as the paper's."""
    parts: tuple[str, ...] = ()
    """Parts that claims are made of; default: all but searches. The winners of a search `p` on new seeds are
    `p.confirmed`."""
    baseline: str | None = None
    """Row that others are compared with, in parts that have it; default: the best."""
    difference: Annotated[float, Gt(0.0), Lt(10.0)] = DEFAULT_MARGIN
    """Smallest difference that matters, as a share: less is no practical difference."""
    spread: Annotated[float, Gt(0.0), Lt(10.0)] | None = None
    """Deviation over seeds that is expected, as a share, for the plan; default: that of the records so far."""
    targets: tuple[float, ...] = ()
    """Values of the metric whose training FLOPs are reported, beside the best of the baselines."""
    bands: Bands = "pointwise"
    """95% of the intervals along a convergence line: of each point for itself, or of all points of a line at once."""


def unknown_in_primary(
    primary: PrimaryMetric,
    measured: Collection[str],
    rows: Mapping[str, Collection[str]],
    searches: Mapping[str, str],
) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every name that the sweep does not have.

    Args: measured: metrics of its evaluations. rows: labels of the rows of each part that is no search. searches: part
        of each search's winners on new seeds; "" without `confirm:`.
    """
    if primary.metric not in measured:
        yield "metric", f"{primary.metric} is not measured; evaluation.metrics has {', '.join(measured)}: add it there"
    known = [*rows, *filter(None, searches.values())]
    for name in primary.parts:
        if name in searches:
            instead = f"name {searches[name]!r}" if searches[name] else "`confirm:` measures it on new seeds"
            yield "parts", f"{name!r} is a search, whose best was chosen on these numbers: {instead}"
        elif name not in known:
            yield "parts", f"{name!r} is not a part{nearest(name, known)}; known: {', '.join(known)}"
    labels = {label for part in rows.values() for label in part}
    if primary.baseline is not None and primary.baseline not in labels:
        yield "baseline", f"{primary.baseline!r} is not a row{nearest(primary.baseline, sorted(labels))}"
