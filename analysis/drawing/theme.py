"""Colours, markers and dashes of charts, for a light and a dark page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Theme:
    """Colours of a chart, all as #rrggbb; the palettes follow Okabe and Ito (2008), lightened for a dark page."""

    ink: str
    faint: str
    context: str
    """Colour of lines that are shown without a name."""
    background: str
    palette: tuple[str, ...]

    @property
    def colors(self) -> tuple[str, ...]:
        return (self.ink, self.faint, self.context, self.background, *self.palette)


LIGHT = Theme(
    "#22272e",
    "#d5d9df",
    "#b4bac2",
    "#ffffff",
    ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#555555"),
)
DARK = Theme(
    "#dfe3e8",
    "#414851",
    "#5d6670",
    "#1b1f25",
    ("#56b4e9", "#ff8c42", "#2fc79a", "#e59ac4", "#e6c229", "#8f9bff", "#b9bec5"),
)

MARKERS = "osD^vPX"
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Dashes; their number shares no divisor with that of the colours."""


def color_of(theme: Theme, number: int) -> str:
    return theme.palette[number % len(theme.palette)]


def marker_of(number: int) -> str:
    """Return a marker that differs from those of the same colour until all have been used: 49 pairs."""
    return MARKERS[(number + number // len(MARKERS)) % len(MARKERS)]


def dashes_of(number: int) -> Any:
    """Return dashes that differ from those of the same colour until all have been used: 28 pairs."""
    return DASHES[number % len(DASHES)]


def recolor(svg: bytes, before: Theme, after: Theme) -> bytes:
    """Replace the colours of one theme by those of another; drawing again would take ten times as long."""
    colors = dict(zip(before.colors, after.colors, strict=True))
    pattern = re.compile("|".join(colors))
    return pattern.sub(lambda match: colors[match[0]], svg.decode()).encode()
