"""Selection of lines: of many, a chart shows some in colour, some in grey, and leaves out the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis.drawing.chart import Line

MOST_NAMED = 12
MOST_GREY = 150
"""Most grey lines: more would be one grey patch."""


@dataclass(frozen=True)
class LineSelection:
    """The lines that are shown, by label."""

    named: frozenset[str]
    grey: frozenset[str]
    note: str
    """Remark on the other lines; empty if all have a name."""

    def shown(self, lines: Iterable[Line]) -> tuple[Line, ...]:
        """Return the lines that are shown, those without a name faint."""
        selected = (line for line in lines if line.label in self.named | self.grey)
        return tuple(replace(line, faint=line.label not in self.named) for line in selected)


def select_lines(last_values: Sequence[tuple[str, float]], better: str) -> LineSelection:
    """Give the twelve lines of the best last values colour and name; an even choice of the rest is grey.

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
