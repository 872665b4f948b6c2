"""Caveats to know before comparing the rows of a part: unequal compute, numbers of different protocols."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from analysis.plan.model import Part, Search
from analysis.plan.protocol import shown_apart
from analysis.results.comparability import Comparability
from analysis.results.sections import Section

_MOST_SHOWN = 4


def section_caveats(
    section: Section, *, unequal_compute_allowed: bool, with_real_images: bool = True
) -> tuple[str, ...]:
    """Write a part's caveats, a sentence each, metrics of equal reasons together; empty if its rows compare.

    Args: with_real_images: True if real images stand beside the rows.
    """
    compute = compute_caveat(section, allowed=unequal_compute_allowed)
    reasons = [(reason, compared) for compared in section.comparability for reason in _reasons(compared)]
    for row in section.real_images if with_real_images else ():
        reasons += [(reason, compared) for compared in row.comparability for reason in _real_image_reasons(compared)]
    titles: dict[str, dict[str, None]] = {}
    for reason, compared in reasons:
        titles.setdefault(reason, {})[compared.metric.title] = None
    protocols = (f"{', '.join(metrics)}: {reason}." for reason, metrics in titles.items())
    searched = search_caveat(section.part)
    return (*([searched] if searched else []), *([compute] if compute else []), *protocols)


def search_caveat(part: Part) -> str:
    """Say that a part's rows come from a search, its progress, and the meaning of bold labels; empty if they do not."""
    if part.search is None:
        return ""
    states = ", ".join(f"{count} {state}" for state, count in sorted(part.search.states.items())) or "none yet"
    front = "the Pareto front" if len(part.search.objectives) > 1 else "the one that leads"
    by = ", ".join(f"{direction} {name}" for name, direction in part.search.objectives.items())
    far = f"{states}; {part.search.num_trials} wanted"
    text = f"Trials of a search, by their objectives ({far}); bold labels are {front} ({by})."
    return f"{text}{_bracket_text(part.search)}{_luck_text(part.search)}"


def _luck_text(search: Search) -> str:
    if not search.best:
        return ""
    again = f"the part {search.confirmed} has it" if search.confirmed else "`confirm: {seeds: [...]}` measures it"
    return f" The best of many trials was lucky, too; {again} on new seeds."


def _bracket_text(search: Search) -> str:
    if not search.brackets:
        return ""
    state = {trial.number: trial.state for trial in search.trials}
    brackets = (
        f"{', '.join(map(str, bracket))} ({sum(state.get(number) == 'complete' for number in bracket)} to the end)"
        for bracket in search.brackets
    )
    return f" HyperBand compared these trials with each other: {'; '.join(brackets)}."


def compute_caveat(section: Section, *, allowed: bool) -> str:
    """Say that the rows of a section were trained at unequal compute, and by how much; empty if they were not."""
    if not section.unequal_compute:
        return ""
    spread = section.compute_spread
    if math.isinf(spread):
        differ = "some rows are trained, others not at all"
    else:
        differ = f"rows differ by up to {spread:.{0 if spread >= 0.1 else 1}%}"
    return f"Unequal training compute: {differ}{' (the sweep allows it)' if allowed else ''}."


def chart_caption(compared: Comparability) -> str:
    """Say in a sentence why the lines of a chart do not compare; empty if they do."""
    reasons = [
        differences_text(compared),
        f"not measured as planned: {deviations_text(compared)}" if compared.deviations else "",
        f"of unknown protocol: {some_of(compared.unknown)}" if compared.unknown else "",
    ]
    return "" if compared.comparable else f"These lines do not compare: {'; '.join(filter(None, reasons))}."


def _reasons(compared: Comparability) -> Iterator[str]:
    """Yield the reasons why no row is best by a metric, one for each kind."""
    if compared.differences:
        yield f"no row is best, since they were measured differently: {differences_text(compared)}"
    if compared.deviations:
        yield f"no row is best, since not all were measured as planned: {deviations_text(compared)}"
    if compared.unknown:
        yield f"no row is best, since some are of unknown protocol: {some_of(compared.unknown)}"


def _real_image_reasons(compared: Comparability) -> Iterator[str]:
    if compared.differences:
        yield f"real images were measured otherwise than the rows: {differences_text(compared)}"
    if compared.unknown:
        yield "real images are of unknown protocol"


def differences_text(compared: Comparability) -> str:
    """Write "num_samples is 5,000 (a, b) and 10,000 (c); guidance is ..."."""
    texts = []
    for difference in compared.differences:
        values = shown_apart([value for value, _ in difference.values])
        owners = (some_of(labels) for _, labels in difference.values)
        listed = [f"{value} ({labels})" for value, labels in zip(values, owners, strict=True)]
        texts.append(f"{difference.name} is {', '.join(listed[:-1])} and {listed[-1]}")
    return "; ".join(texts)


def deviations_text(compared: Comparability) -> str:
    """Write "num_samples is 4,000, planned 5,000 (a, b); guidance is ..."."""
    texts = []
    for deviation in compared.deviations:
        recorded, planned = shown_apart([deviation.recorded, deviation.planned])
        texts.append(f"{deviation.name} is {recorded}, planned {planned} ({some_of(deviation.labels)})")
    return some_of(texts, "; ")


def some_of(texts: Sequence[str], separator: str = ", ") -> str:
    """Join the first few texts, and say how many more there are."""
    rest = len(texts) - _MOST_SHOWN
    return separator.join(texts) if rest <= 1 else f"{separator.join(texts[:_MOST_SHOWN])} and {rest} more"
