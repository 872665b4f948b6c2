"""Tables, plots and one page out of a published plan and MLflow: a join, no bookkeeping of its own.

`analysis.load(sweep)` gives the same numbers as pandas frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.frames import Frames, load

__all__ = ["Frames", "load"]


def __getattr__(name: str) -> Any:
    """Frames only when they are asked for: they need pandas and MLflow."""
    if name in __all__:
        from analysis import frames

        return getattr(frames, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
