"""Sentences on the best row of a part, and on the rows that differ from it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from analysis.plan.model import Primary, PublishedPlan
from analysis.results.cells import mean_without_bias
from analysis.results.sections import Section
from analysis.results.significance import Difference
from analysis.results.standings import Standing
from analysis.text.caveats import some_of
from analysis.text.numbers import decimals_for, percent


def standing_notes(plan: PublishedPlan, section: Section) -> tuple[str, ...]:
    """Write the claims of a part, by the primary metric, and name the metrics that no claim is made by."""
    notes = [*claim_sentences(plan, section), *_bias_sentences(section)]
    exploratory = [one.metric.title for one in section.standings if not one.makes_claims and one.tests is not None]
    if exploratory:
        notes.append(f"Exploratory, so that no row is called best or separable: {', '.join(exploratory)}.")
    return tuple(notes)


def _bias_sentences(section: Section) -> Iterator[str]:
    """Yield, for each metric whose bias by finite samples records estimate, the values less that bias."""
    for index, standing in enumerate(section.standings):
        cells = {row.label: row.cells[index] for row in section.rows}
        corrected = {label: mean_without_bias(cell.values) for label, cell in cells.items() if cell.finite}
        known = {label: value for label, value in corrected.items() if value is not None}
        if not known:
            continue
        biases = {label: abs((cells[label].mean or 0.0) - value) for label, value in known.items()}
        decimals = decimals_for(max(map(abs, known.values())))
        listed = some_of([f"{label} {value:.{decimals}f}" for label, value in known.items()])
        sentence = f"{standing.metric.title}, less its estimated bias by finite samples: {listed}."
        best = (min if standing.metric.better == "lower" else max)(known, key=lambda label: cells[label].mean or 0.0)
        close = [
            label
            for label, bias in biases.items()
            if label != best and abs((cells[label].mean or 0.0) - (cells[best].mean or 0.0)) < max(bias, biases[best])
        ]
        if close:
            sentence += (
                f" Its bias is larger than the difference from {best} of {some_of(close)}: compare these values."
            )
        yield sentence


def claim_sentences(plan: PublishedPlan, section: Section) -> Iterator[str]:
    """Yield the sentences on a part by the primary metric; none if the sweep makes no claim of it."""
    for index, standing in enumerate(section.standings):
        if standing.makes_claims:
            sentences = (*_sentences(standing, plan.primary), *_failures(section, index))
            yield from (f"{standing.metric.title}: {sentence}" for sentence in sentences)


def _sentences(standing: Standing, primary: Primary) -> Iterator[str]:
    choice, tests = standing.choice, standing.tests
    if tests is not None and tests.block.left_out:
        yield f"not compared with the others, for want of common seeds: {some_of(tests.block.left_out)}."
    if choice is None or tests is None:
        return
    if standing.without_value:
        yield f"not compared with the others, for want of a finite value: {some_of(standing.without_value)}."
    if choice.failed:
        yield f"no row is called best: {some_of(choice.failed)} would be, and failed at other seeds."
        return
    if not choice.agrees:
        common = f"the {_seeds(tests.num_seeds)} that all compared rows have"
        yield (
            f"no row is called best: by {common} it would be {some_of(choice.rows)}, by whichever seeds a row has "
            f"{some_of(choice.by_all_seeds)}."
        )
        return
    differences, best = standing.from_best, standing.best[0]
    if tests.num_seeds < 2:
        yield _one_seed(best, differences)
        return
    yield _separation(standing, best, differences)
    alike = [one.row for one in differences if standing.is_equivalent(one)]
    if alike:
        yield f"no practical difference from the best ({best}), within {percent(primary.difference)}: {some_of(alike)}."
    if tests.is_unequal:
        yield "rows spread differently over seeds, so that each pair is compared by its own spread."


def _separation(standing: Standing, best: str, differences: Sequence[Difference]) -> str:
    basis = f"(by {_seeds(differences[0].num_seeds)} in common)"
    alike = [one.row for one in differences if not standing.is_separable(one)]
    if not alike:
        left_out = standing.without_value or (standing.tests is not None and standing.tests.block.left_out)
        compared = " that are compared" if left_out else ""
        return f"the best ({best}) is separable from all others{compared} {basis}."
    rows = some_of(alike) if len(alike) < len(differences) else "all other rows"
    found = _smallest_text(standing)
    return f"not separable from the best ({best}): {rows} {basis}{found}."


def _smallest_text(standing: Standing) -> str:
    """Say the difference that would have been found; empty if it is not known."""
    tests = standing.tests
    smallest = None if tests is None else tests.smallest_difference
    if tests is None or smallest is None:
        return ""
    size = percent(math.expm1(smallest)) if tests.is_log else f"{smallest:.2g}"
    return f"; differences below {size} are found in less than 80% of such sweeps"


def _one_seed(best: str, differences: Sequence[Difference]) -> str:
    if all(one.uncertainty is None for one in differences):
        return f"one seed, and no error of samples is known: nothing can be told apart from the best ({best})."
    beyond = [one.row for one in differences if one.is_beyond_noise]
    within = [one.row for one in differences if not one.is_beyond_noise]
    parts = [f"beyond the noise of samples from the best ({best}): {some_of(beyond)}"] if beyond else []
    parts += [f"within it: {some_of(within)}"] if within and beyond else []
    parts += [f"within the noise of samples of the best ({best}): {some_of(within)}"] if within and not beyond else []
    return f"{'; '.join(parts)}. One seed: what other seeds would give is unknown, so nothing is separable."


def _failures(section: Section, index: int) -> Iterator[str]:
    """Name rows whose mean leaves failed seeds out."""
    cells = ((row.label, row.cells[index]) for row in section.rows)
    failed = [
        f"{label} ({cell.num_values} of {cell.num_seeds})" for label, cell in cells if cell.unfinished == "failed"
    ]
    if failed:
        yield f"means leave out seeds that failed, which may be the hard ones: {some_of(failed)}."


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def claims_legend(plan: PublishedPlan) -> str:
    """Say which metric claims rest on, how they are corrected, and that the rest makes none."""
    title = next((metric.title for metric in plan.metrics if metric.name == plan.primary.metric), plan.primary.metric)
    source = "which the sweep declares" if plan.primary.declared else "the sweep's first; `primary:` declares another"
    families = plan.num_families
    over = f"{families} families" if families > 1 else "one family"
    return (
        f"Claims rest on the primary metric alone, {title} ({source}). Bold: best mean at the seeds that all rows "
        "have, no claim by itself. Separable: paired by seed, one spread pooled over rows, Tukey's range; at most 5% "
        f"for any false claim in the whole report, over {over} of comparisons. All else is exploratory: estimates "
        "with intervals."
    )
