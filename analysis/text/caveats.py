"""What a reader must know before comparing the rows of a part: unequal compute, numbers of different protocols."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from analysis.plan.model import Part
from analysis.plan.protocol import shown_apart
from analysis.results.cells import Section
from analysis.results.comparability import Comparability

_MOST_SHOWN = 4


def section_flags(section: Section, *, unequal_compute_allowed: bool, with_floors: bool = True) -> tuple[str, ...]:
    """Every flag of a part, each a sentence, metrics of equal reasons together; empty if its rows compare.

    Args: with_floors: whether real images stand beside the rows.
    """
    compute = compute_flag(section, allowed=unequal_compute_allowed)
    reasons = [(reason, found) for found in section.comparability for reason in _reasons(found)]
    of_floors = (found for floor in section.floors if with_floors for found in floor.comparability)
    reasons += [(reason, found) for found in of_floors for reason in _floor_reasons(found)]
    titles: dict[str, dict[str, None]] = {}
    for reason, found in reasons:
        titles.setdefault(reason, {})[found.metric.title] = None
    protocols = (f"{', '.join(metrics)}: {reason}." for reason, metrics in titles.items())
    searched = search_flag(section.part)
    return (*([searched] if searched else []), *([compute] if compute else []), *protocols)


def search_flag(part: Part) -> str:
    """Says that the rows of a part were searched for, how far that is, and what its bold labels are; empty if not."""
    if part.search is None:
        return ""
    states = ", ".join(f"{count} {state}" for state, count in sorted(part.search.states.items())) or "none yet"
    front = "the Pareto front" if len(part.search.objectives) > 1 else "the best"
    by = ", ".join(f"{direction} {name}" for name, direction in part.search.objectives.items())
    far = f"{states}; {part.search.num_trials} wanted"
    return f"Trials of a search, the best first ({far}); bold labels are {front} ({by})."


def compute_flag(section: Section, *, allowed: bool) -> str:
    """Says that the rows of a section were trained at unequal compute, and by how much; empty if they were not."""
    if not section.unequal_compute:
        return ""
    spread = section.compute_spread
    if math.isinf(spread):
        differ = "some rows are trained, others not at all"
    else:
        differ = f"rows differ by up to {spread:.{0 if spread >= 0.1 else 1}%}"
    return f"Unequal training compute: {differ}{' (the sweep allows it)' if allowed else ''}."


def chart_caption(found: Comparability) -> str:
    """Why the lines of a chart do not compare, in a sentence; empty if they do."""
    reasons = [
        differences_text(found),
        f"not measured as planned: {deviations_text(found)}" if found.deviations else "",
        f"of unknown protocol: {some_of(found.unknown)}" if found.unknown else "",
    ]
    return "" if found.comparable else f"These lines do not compare: {'; '.join(filter(None, reasons))}."


def _reasons(found: Comparability) -> Iterator[str]:
    """Why no row is best by a metric, one for each kind."""
    if found.differences:
        yield f"no row is best, since they were measured differently: {differences_text(found)}"
    if found.deviations:
        yield f"no row is best, since not all were measured as planned: {deviations_text(found)}"
    if found.unknown:
        yield f"no row is best, since some are of unknown protocol: {some_of(found.unknown)}"


def _floor_reasons(found: Comparability) -> Iterator[str]:
    if found.differences:
        yield f"real images were measured otherwise than the rows: {differences_text(found)}"
    if found.unknown:
        yield "real images are of unknown protocol"


def differences_text(found: Comparability) -> str:
    """ "num_samples is 5,000 (a, b) and 10,000 (c); guidance is ..."."""
    texts = []
    for difference in found.differences:
        values = shown_apart([value for value, _ in difference.values])
        whose = (some_of(labels) for _, labels in difference.values)
        listed = [f"{value} ({labels})" for value, labels in zip(values, whose, strict=True)]
        texts.append(f"{difference.name} is {', '.join(listed[:-1])} and {listed[-1]}")
    return "; ".join(texts)


def deviations_text(found: Comparability) -> str:
    """ "num_samples is 4,000, planned 5,000 (a, b); guidance is ..."."""
    texts = []
    for deviation in found.deviations:
        recorded, planned = shown_apart([deviation.recorded, deviation.planned])
        texts.append(f"{deviation.name} is {recorded}, planned {planned} ({some_of(deviation.labels)})")
    return some_of(texts, "; ")


def some_of(texts: Sequence[str], separator: str = ", ") -> str:
    """The first few of some texts, and how many more there are."""
    rest = len(texts) - _MOST_SHOWN
    return separator.join(texts) if rest <= 1 else f"{separator.join(texts[:_MOST_SHOWN])} and {rest} more"
