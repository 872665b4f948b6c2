"""Which rows are not separable from the best one, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.results.cells import Section
from analysis.results.significance import Separation
from analysis.text.caveats import some_of


def separation_notes(section: Section) -> tuple[str, ...]:
    """A sentence for each best row, metrics that say the same together; empty where no row is best."""
    metrics = [found.metric.title for found in section.comparability]
    titles: dict[str, list[str]] = {}
    for title, found in zip(metrics, section.separations, strict=True):
        for sentence in _sentences(found):
            titles.setdefault(sentence, []).append(title)
    return tuple(f"{', '.join(names)}: {sentence}" for sentence, names in titles.items())


def _sentences(found: Separation | None) -> Iterator[str]:
    if found is None or not found.differences:
        return
    if found.one_seed and all(difference.uncertainty is None for difference in found.differences):
        apart = "one seed, and no error of samples is known"
    elif found.one_seed:
        apart = "by the error of samples alone, and another seed may change it"
    else:
        apart = f"by {_seeds(found)} common seeds"
    if found.not_separable:
        rows = some_of(found.not_separable) if len(found.not_separable) < len(found.differences) else "all other rows"
        yield f"not separable from the best ({found.best}): {rows} ({apart})."
    else:
        yield f"the best ({found.best}) is separable from all others ({apart})."


def _seeds(found: Separation) -> str:
    counts = sorted({difference.num_seeds for difference in found.differences})
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))


SEPARATION_LEGEND = (
    "Not separable from the best: paired differences by seed, Holm's correction over all pairs of rows of a part, 5%."
)
