"""Prices of node types, so that plans and reports say money beside accelerator-hours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval, Len

HOUR = 3600.0


@dataclass(frozen=True)
class NodePrice:
    """Price of one type of node."""

    per_hour: Annotated[float, Interval(ge=0.0, le=1e6)]
    """Price of the whole node."""
    accelerators: Annotated[int, Interval(ge=1, le=10_000)] = 1
    """GPUs of a node; on nodes without any, the CPU workers that one holds."""

    @property
    def per_accelerator_hour(self) -> float:
        return self.per_hour / self.accelerators


@dataclass(frozen=True)
class PricesConfig:
    """Prices by node type; the site file is their place."""

    currency: Annotated[str, Len(1, 8)] = "USD"
    """Shown beside amounts."""
    node_types: dict[str, NodePrice] = field(default_factory=dict)
    """Name of a node type, as the cluster's file has it -> its price."""

    def text(self, accelerator_seconds: float) -> str:
        """Return the cost of accelerator-seconds: "USD 98.30 on p5"; a range of several types; "" without prices."""
        costs = sorted(
            (accelerator_seconds / HOUR * price.per_accelerator_hour, name) for name, price in self.node_types.items()
        )
        if not costs:
            return ""
        (low, cheap), (high, dear) = costs[0], costs[-1]
        if cheap == dear:
            return f"{self.currency} {_amount(low)} on {cheap}"
        return f"{self.currency} {_amount(low)} on {cheap} to {_amount(high)} on {dear}"

    def beside(self, accelerator_seconds: float) -> str:
        """Return the cost in brackets, to stand after hours; "" without prices."""
        text = self.text(accelerator_seconds)
        return f" ({text})" if text else ""


def _amount(value: float) -> str:
    return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
