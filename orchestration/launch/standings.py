"""How the rows of a sweep stand so far, by the same rules as the report's tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.about import parse_about
from analysis.records.record import Record
from analysis.results.measurements import measure
from analysis.results.part_best import best_of_parts
from analysis.results.sections import Section, make_sections
from analysis.text.power_text import power_sentences
from analysis.text.significance_text import claim_sentences
from orchestration.artifacts.task_record import TaskRecord
from orchestration.plan.best_snapshot import BestSnapshot
from orchestration.plan.plan import Plan
from orchestration.plan.plan_json import plan_json


def standings_so_far(
    plan: Plan, done: Mapping[str, TaskRecord], failed: Collection[str]
) -> tuple[PublishedPlan, tuple[Section, ...]]:
    """Return the plan as the analysis reads it, and its tables with what is done by now.

    Args: failed: digests of tasks that failed.
    """
    published = parse_plan(plan_json(plan, ""))
    records = dict.fromkeys(failed, Record("failed")) | {
        digest: Record("done", record.metrics, about=parse_about(record.about)) for digest, record in done.items()
    }
    return published, make_sections(published, measure(published, records), records)


def standing_lines(plan: Plan, done: Mapping[str, TaskRecord], failed: Collection[str] = ()) -> Iterator[str]:
    """Yield the best rows so far and, indented, what can be said of the others of their part."""
    published, sections = standings_so_far(plan, done, failed)
    best = list(best_of_parts(sections))
    for section in sections:
        yield from (str(one) for one in best if one.part.name == section.part.name)
        yield from (f"  {section.part.name}: {sentence}" for sentence in claim_sentences(published, section))


def best_snapshots(plan: Plan, done: Mapping[str, TaskRecord], failed: Collection[str]) -> tuple[BestSnapshot, ...]:
    """Return the snapshot of each part's best row, the first of several; none of a part without one."""
    _, sections = standings_so_far(plan, done, failed)
    first: dict[str, BestSnapshot] = {}
    for best in best_of_parts(sections):
        part, row = best.part.name, best.row
        label = best.part.label_in_sweep(row.label)
        first.setdefault(part, BestSnapshot(part, label, row.step, best.metric.name, best.value))
    return tuple(first.values())


def power_lines(plan: Plan, done: Mapping[str, TaskRecord]) -> Iterator[str]:
    """Yield what differences the sweep can find, by the spread of what is done, or else by a stated one."""
    published, sections = standings_so_far(plan, done, ())
    yield from power_sentences(published, sections)
