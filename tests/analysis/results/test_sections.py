"""Cells of the table from plain records, by known answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from analysis.plan.model import Primary, PublishedPlan
from analysis.records.record import Record
from analysis.results.measurements import measure
from analysis.results.sections import Section, make_sections
from tests.support.plans import FLOPS_PER_STEP, evaluate_digest, make_plan, train_digest


def done(fd: float, accuracy: float = 0.5) -> Record:
    return Record("done", {"fd": fd, "accuracy": accuracy})


def first_section(plan: PublishedPlan, records: Mapping[str, Record]) -> Section:
    return make_sections(plan, measure(plan, records), records)[0]


def test_a_cell_is_the_value_at_the_last_evaluation() -> None:
    records = {evaluate_digest("DFM", 100): done(9.0), evaluate_digest("DFM", 200): done(4.0)}
    row = first_section(make_plan(), records).rows[1]
    assert (row.label, row.step, row.training_flops, row.num_evaluations) == ("DFM", 200, 200 * FLOPS_PER_STEP, 40)
    assert [cell.mean for cell in row.cells] == [4.0, 0.5]


def test_a_cell_over_seeds_is_their_mean_and_t_interval() -> None:
    plan = make_plan(seeds=(0, 1, 2))
    records = {evaluate_digest("DFM", 200, seed): done(float(seed + 1)) for seed in range(3)}
    cell = first_section(plan, records).rows[1].cells[0]
    assert (cell.mean, cell.num_values, cell.num_seeds) == (2.0, 3, 3)
    assert cell.half_width == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)


def test_a_cell_with_one_of_three_seeds_has_a_mean_and_without_an_error_no_interval() -> None:
    plan = make_plan(seeds=(0, 1, 2))
    cell = first_section(plan, {evaluate_digest("DFM", 200, 1): done(7.0)}).rows[1].cells[0]
    assert (cell.mean, cell.half_width, cell.num_values, cell.num_seeds) == (7.0, None, 1, 3)


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_cell_says_what_became_of_it(status: str) -> None:
    # A value that an unfinished run logged early is not shown.
    records = {evaluate_digest("DFM", 200): Record(status, {"fd": 1.0})}  # type: ignore[arg-type]
    section = first_section(make_plan(), records)
    assert [row.cells[0].status for row in section.rows] == ["missing", status]
    assert [row.cells[0].mean for row in section.rows] == [None, None]


def test_of_several_seeds_without_a_value_the_worst_status_shows() -> None:
    records = {
        evaluate_digest("DFM", 200, 0): Record("running"),
        evaluate_digest("DFM", 200, 1): Record("failed"),
    }
    assert first_section(make_plan(seeds=(0, 1, 2)), records).rows[1].cells[0].status == "failed"


def test_beside_a_mean_stands_the_worst_that_happened_to_the_other_seeds() -> None:
    plan = make_plan(seeds=(0, 1, 2))
    records = {evaluate_digest("DFM", 200, 0): done(4.0), evaluate_digest("DFM", 200, 1): Record("running")}
    assert first_section(plan, records).rows[1].cells[0].unfinished == "running"
    records[evaluate_digest("DFM", 200, 2)] = Record("failed")
    assert first_section(plan, records).rows[1].cells[0].unfinished == "failed"
    whole = {evaluate_digest("DFM", 200, seed): done(4.0) for seed in (0, 1, 2)}
    assert first_section(plan, whole).rows[1].cells[0].unfinished is None


def test_a_done_run_without_the_metric_leaves_the_cell_missing() -> None:
    records = {evaluate_digest("DFM", 200): Record("done", {"accuracy": 0.5})}
    assert [cell.status for cell in first_section(make_plan(), records).rows[1].cells] == ["missing", "done"]


def test_a_metric_that_a_row_leaves_out_is_not_missing() -> None:
    plan = make_plan()
    narrowed = {key: replace(task, metrics=frozenset({"fd"})) for key, task in plan.evaluations.items()}
    row = first_section(replace(plan, evaluations=narrowed), {}).rows[0]
    assert [cell.status for cell in row.cells] == ["missing", "not planned"]


def best_cells(*values: tuple[float, float]) -> list[list[bool]]:
    names = [f"row {index}" for index in range(len(values))]
    records = {
        evaluate_digest(name, 200): done(*pair) for name, pair in zip(names, values, strict=True) if pair[0] != -1
    }
    section = first_section(make_plan(parts={"p": names}), records)
    chosen = [() if one.choice is None else one.choice.rows for one in section.standings]
    assert [cell.best for row in section.rows for cell in row.cells[1:]] == [False] * len(values), "exploratory"
    assert [row.cells[0].best for row in section.rows] == [name in chosen[0] for name in names]
    return [[name in rows for rows in chosen] for name in names]


def test_the_lowest_distance_and_the_highest_accuracy_are_best() -> None:
    assert best_cells((3.0, 0.9), (2.0, 0.7), (4.0, 0.8)) == [[False, True], [True, False], [False, False]]


def test_ties_share_the_best() -> None:
    assert best_cells((2.0, 0.5), (2.0, 0.5), (4.0, 0.5)) == [[True, False], [True, False], [False, False]]


def test_a_single_row_is_not_best() -> None:
    assert best_cells((2.0, 0.5)) == [[False, False]]


def test_the_only_row_with_a_value_is_not_best() -> None:
    assert best_cells((2.0, 0.5), (-1, 0.0)) == [[False, False], [False, False]]


def test_nan_and_infinity_are_never_best() -> None:
    cells = best_cells((math.nan, math.inf), (2.0, 0.5), (3.0, 0.4), (-math.inf, math.nan))
    assert cells == [[False, False], [True, True], [False, False], [False, False]]


def test_the_floor_is_what_real_images_score() -> None:
    records = {"floor": Record("done", {"fd": 1.25, "accuracy": 0.97})}
    (floor,) = first_section(make_plan(), records).real_images
    assert (floor.label, [cell.mean for cell in floor.values]) == ("real images", [1.25, 0.97])
    assert not any(cell.best for cell in floor.values)


def test_each_floor_of_a_part_has_its_own_row() -> None:
    plan = make_plan()
    digest = evaluate_digest("DFM", 200)
    evaluations = {**plan.evaluations, digest: replace(plan.evaluations[digest], floor="second")}
    second = replace(plan.floors["floor"], digest="second", title="other")
    plan = replace(plan, evaluations=evaluations, floors={**plan.floors, "second": second})
    labels = [floor.label for floor in first_section(plan, {}).real_images]
    assert labels == ["real images (500 real images)", "real images (other)"]


def test_an_evaluation_without_a_floor_has_no_row_of_real_images() -> None:
    plan = make_plan()
    evaluations = {key: replace(task, floor=None) for key, task in plan.evaluations.items()}
    assert first_section(replace(plan, evaluations=evaluations), {}).real_images == ()


def test_a_metric_without_a_floor_is_absent_and_not_missing() -> None:
    plan = make_plan()
    floor = replace(plan.floors["floor"], protocols={"fd": plan.floors["floor"].protocols["fd"]})
    plan = replace(plan, floors={"floor": floor})
    for record, statuses in (
        (Record("missing"), ["missing", "not planned"]),
        (Record("failed"), ["failed", "not planned"]),
        (Record("done", {"fd": 1.25}), ["done", "not planned"]),
        (Record("done", {}), ["not planned", "not planned"]),
    ):
        (found,) = first_section(plan, {"floor": record}).real_images
        assert [cell.status for cell in found.values] == statuses


def test_a_failed_floor_hides_nothing_of_the_table() -> None:
    records = {
        evaluate_digest("flow matching", 200): done(5.0),
        evaluate_digest("DFM", 200): done(4.0),
        "floor": Record("failed", failure="no images"),
    }
    section = first_section(make_plan(), records)
    assert [row.cells[0].mean for row in section.rows] == [5.0, 4.0]
    assert section.rows[1].cells[0].best
    assert [cell.status for cell in section.real_images[0].values] == ["failed", "failed"]


def with_error(value: float, error: float) -> Record:
    return Record("done", {"fd": value, "fd_standard_error": error, "accuracy": 0.5})


def test_a_cell_of_one_seed_has_the_interval_of_its_samples() -> None:
    records = {evaluate_digest("DFM", 200): with_error(4.0, 0.25), "floor": with_error(1.0, 0.125)}
    section = first_section(make_plan(), records)
    row, floor = section.rows[1].cells, section.real_images[0].values
    assert [cell.half_width for cell in row] == [pytest.approx(0.25 * 1.959964), None]
    assert [cell.half_width for cell in floor] == [pytest.approx(0.125 * 1.959964), None]
    assert [cell.basis for cell in (*row, *floor)] == ["samples", None, "samples", None]


def test_cells_of_several_seeds_have_an_interval_of_their_spread_and_their_samples() -> None:
    plan = make_plan(seeds=(0, 1))
    records = {evaluate_digest("DFM", 200, seed): with_error(4.0 + seed, 0.25) for seed in (0, 1)}
    records |= {evaluate_digest("flow matching", 200, 0): with_error(4.0, 0.25), "floor": with_error(1.0, 0.125)}
    section = first_section(plan, records)
    one, two = (row.cells[0] for row in section.rows)
    assert (one.basis, two.basis) == ("samples", "seeds and samples")
    # Half of a range of 1 is the standard error of a mean of two; 12.7062 its quantile.
    assert two.half_width == pytest.approx(math.hypot(12.7062 / 2, 0.25 * 1.959964), abs=1e-4)
    assert [(value.seed, value.value) for value in two.values] == [(0, 4.0), (1, 5.0)]
    assert two.digests == tuple(evaluate_digest("DFM", 200, seed) for seed in (0, 1))
    assert [m.standard_error for m in measure(plan, records) if m.value == 5.0] == [0.25]


def test_the_best_row_is_set_against_the_others_where_rows_compare() -> None:
    plan = make_plan(parts={"p": ("a", "b", "c", "d")}, seeds=(0, 1, 2))
    values = {"a": (3.0, 3.1, 2.9), "b": (5.0, 5.11, 4.92), "c": (3.05, 3.2, 2.8)}
    records = {
        evaluate_digest(row, 200, seed): done(value)
        for row, found in values.items()
        for seed, value in enumerate(found)
    }
    section = first_section(plan, records)
    distance, accuracy = section.standings
    assert distance.best == ("a",)
    assert [one.row for one in distance.from_best if distance.is_separable(one)] == ["b"]
    assert accuracy.choice is None, "all rows are alike, so that none is best"


def test_an_evaluation_whose_training_failed_has_failed() -> None:
    section = first_section(make_plan(), {train_digest("DFM"): Record("failed")})
    assert [row.cells[0].status for row in section.rows] == ["missing", "failed"]


def test_of_a_metric_that_is_not_primary_no_row_is_best() -> None:
    plan = replace(make_plan(), primary=Primary("accuracy"))
    records = {evaluate_digest("flow matching", 200): done(3.0, 0.9), evaluate_digest("DFM", 200): done(2.0, 0.7)}
    section = first_section(plan, records)
    assert [[cell.best for cell in row.cells] for row in section.rows] == [[False, True], [False, False]]
    other = replace(plan, primary=Primary("accuracy", parts=("another",)))
    assert not any(cell.best for row in first_section(other, records).rows for cell in row.cells)


@pytest.mark.parametrize(
    ("value", "error", "kept"),
    [
        (4.0, math.nan, None),
        (4.0, -0.1, None),
        (4.0, math.inf, None),
        (4.0, -math.inf, None),
        (math.nan, 0.1, None),
        (math.inf, 0.1, None),
    ],
)
def test_only_a_finite_value_has_a_standard_error_and_only_one_that_can_be(
    value: float, error: float, kept: float | None
) -> None:
    cell = first_section(make_plan(), {evaluate_digest("DFM", 200): with_error(value, error)}).rows[1].cells[0]
    assert cell.values[0].standard_error == kept
    assert cell.half_width == kept


def test_a_standard_error_without_its_value_is_none() -> None:
    record = Record("done", {"fd_standard_error": 0.1, "accuracy": 0.5})
    cell = first_section(make_plan(), {evaluate_digest("DFM", 200): record}).rows[1].cells[0]
    assert (cell.status, cell.half_width) == ("missing", None)


def with_flops(**flops: int) -> Section:
    """A section whose rows have cost this much at their last evaluation."""
    plan = make_plan(parts={"p": tuple(flops)})
    evaluations = dict(plan.evaluations)
    for row, spent in flops.items():
        digest = evaluate_digest(row, 200)
        evaluations[digest] = replace(evaluations[digest], training_flops=spent)
    return first_section(replace(plan, evaluations=evaluations), {})


@pytest.mark.parametrize(
    ("flops", "spread", "unequal"),
    [
        ({"a": 100, "b": 100}, 0.0, False),
        ({"a": 10**18, "b": 101 * 10**16}, 0.01, False),
        ({"a": 101 * 10**16 + 1, "b": 10**18}, 0.01, True),
        ({"a": 100, "b": 137, "c": 120}, 0.37, True),
        ({"a": 0, "b": 1}, math.inf, True),
        ({"a": 0, "b": 0}, 0.0, False),
        ({"a": 5}, 0.0, False),
    ],
)
def test_rows_that_differ_by_more_than_one_percent_of_compute_are_unequal(
    flops: dict[str, int], spread: float, unequal: bool
) -> None:
    section = with_flops(**flops)
    assert section.compute_spread == pytest.approx(spread)
    assert section.unequal_compute is unequal


def test_compute_is_compared_at_the_last_evaluation_and_within_a_part() -> None:
    plan = make_plan(parts={"p": ("a", "b"), "q": ("c",)})
    cheap = {key: replace(task, training_flops=1) for key, task in plan.evaluations.items() if task.step == 100}
    cheap[evaluate_digest("c", 200)] = replace(plan.evaluations[evaluate_digest("c", 200)], training_flops=1)
    plan = replace(plan, evaluations={**plan.evaluations, **cheap})
    assert not any(section.unequal_compute for section in make_sections(plan, measure(plan, {}), {}))


def test_a_row_that_stands_in_two_parts_shows_the_same_run_twice() -> None:
    plan = make_plan(parts={"a": ("DFM", "x"), "b": ("DFM",)})
    records = {evaluate_digest("DFM", 200): done(4.0)}
    sections = make_sections(plan, measure(plan, records), records)
    assert [section.rows[0].cells[0].mean for section in sections] == [4.0, 4.0]


def test_measurements_keep_the_order_of_the_plan() -> None:
    plan = make_plan(parts={"b": ("z", "y"), "a": ("x",)}, seeds=(1, 0))
    keys = [(m.part, m.row, m.seed, m.step, m.metric) for m in measure(plan, {})]
    assert keys[:4] == [("b", "z", 1, step, name) for step in (100, 200) for name in ("fd", "accuracy")]
    assert list(dict.fromkeys((part, row) for part, row, *_ in keys)) == [("b", "z"), ("b", "y"), ("a", "x")]
