"""Sentences on the rows that are not separable from the best one. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.results.sections import Section
from analysis.results.significance import Separation
from analysis.text.caveats import some_of


def separation_notes(section: Section) -> tuple[str, ...]:
    """Write a sentence for each best row, metrics that say the same together; empty where no row is best."""
    metrics = [compared.metric.title for compared in section.comparability]
    titles: dict[str, list[str]] = {}
    for title, separation in zip(metrics, section.separations, strict=True):
        for sentence in _sentences(separation):
            titles.setdefault(sentence, []).append(title)
    return tuple(f"{', '.join(names)}: {sentence}" for sentence, names in titles.items())


def _sentences(separation: Separation | None) -> Iterator[str]:
    if separation is None or not separation.differences:
        return
    if separation.one_seed and all(difference.uncertainty is None for difference in separation.differences):
        basis = "one seed, and no error of samples is known"
    elif separation.one_seed:
        basis = "by the error of samples alone, and another seed may change it"
    else:
        basis = f"by {_seeds(separation)} common seeds"
    alike = separation.not_separable
    if alike:
        rows = some_of(alike) if len(alike) < len(separation.differences) else "all other rows"
        yield f"not separable from the best ({separation.best}): {rows} ({basis})."
    else:
        yield f"the best ({separation.best}) is separable from all others ({basis})."


def _seeds(separation: Separation) -> str:
    counts = sorted({difference.num_seeds for difference in separation.differences})
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))


SEPARATION_LEGEND = (
    "Not separable from the best: paired differences by seed, Holm's correction over all pairs of rows of a part, 5%."
)
