"""Tables, plots and one page from a published plan and its records: a join, without bookkeeping of its own.

`python -m analysis SWEEP.yaml` writes the report, `analysis.load(sweep)` returns the same numbers as pandas frames.
Packages, in the order of reading; each imports only those above it in this list:

    contract    names of the published tables, limits shared with planning
    plan        the published plan as plain values
    tracking    MLflow over its API, its database and a cache
    records     one record a task, from MLflow or from the store
    results     measurements, cells with intervals, sections
    comparison  our cells beside the paper's
    text        tables and sentences in plain text
    drawing     charts as SVG and PNG
    figures     the kinds of figures, collected as charts
    report      the files of a report

It imports nothing of `orchestration`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.frames import Frames, load

__all__ = ["Frames", "load"]


def __getattr__(name: str) -> Any:
    """Import the frames only on access: they need pandas and MLflow."""
    if name in __all__:
        from analysis import frames

        return getattr(frames, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
