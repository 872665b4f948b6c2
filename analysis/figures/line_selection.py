"""Which of many lines a chart shows in colour, which in grey, and which not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis.drawing.chart import Line

MOST_NAMED = 12
MOST_GREY = 150
"""More would be one grey patch."""


@dataclass(frozen=True)
class LineSelection:
    """The lines that are shown, by label."""

    named: frozenset[str]
    grey: frozenset[str]
    note: str
    """What is said of the others; empty if all have a name."""

    def shown(self, lines: Iterable[Line]) -> tuple[Line, ...]:
        """The lines that are shown, those without a name faint."""
        kept = (line for line in lines if line.label in self.named or line.label in self.grey)
        return tuple(replace(line, faint=line.label not in self.named) for line in kept)


def select_lines(last_values: Sequence[tuple[str, float]], better: str) -> LineSelection:
    """Of more than twelve lines those of the best last values have colour and name, an even choice of the rest is grey.

    Args: last_values: label and last value of each line, in the table's order. better: lower or higher.
    """
    sign = 1.0 if better == "lower" else -1.0
    ranked = sorted(last_values, key=lambda pair: sign * pair[1] if math.isfinite(pair[1]) else math.inf)
    named = frozenset(label for label, _ in ranked[:MOST_NAMED])
    others = [label for label, _ in last_values if label not in named]
    if not others:
        return LineSelection(named, frozenset(), "")
    grey = frozenset(others[:: -(-len(others) // MOST_GREY)])
    note = f"The best {MOST_NAMED} of {len(last_values):,} have colour and name"
    return LineSelection(
        named, grey, f"{note}; of the others {len(grey)} are grey." if len(grey) < len(others) else f"{note}."
    )
