"""Numbers of different protocols: no best among them, and a caveat that says why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from analysis.plan.read import parse_plan
from analysis.records.about import About, parse_about
from analysis.records.record import Record
from analysis.results.measurements import measure
from analysis.results.sections import Section, make_sections
from analysis.text.caveats import section_caveats, some_of
from tests.support.plans import about, change_protocols, evaluate_digest, plan_document, protocols

ROWS = ("a", "b", "c")
FREE_FIELDS = ("guidance", "ema_decay")
FIXED_FIELDS = (
    "metric", "network", "weights_sha256", "preprocessing", "num_samples", "reference", "label_sampling", "settings",
)  # fmt: skip


def done(value: float, said: bytes = b"{}") -> Record:
    return Record("done", {"fd": value, "accuracy": value / 10}, about=parse_about(json.loads(said)))


RECORDS = {evaluate_digest(row, 200): done(value) for row, value in zip(ROWS, (3.0, 2.0, 4.0), strict=True)}


def section_of(document: Mapping[str, Any], records: Mapping[str, Record] = RECORDS) -> Section:
    plan = parse_plan(json.dumps(document))
    return make_sections(plan, measure(plan, records), records)[0]


def caveats_of(section: Section) -> tuple[str, ...]:
    return section_caveats(section, unequal_compute_allowed=False)


def best_rows(section: Section) -> list[list[str]]:
    """Labels of the rows with the best means, for each metric."""
    return [[] if one.choice is None else list(one.choice.rows) for one in section.standings]


def three_rows(**changes: Any) -> dict[str, Any]:
    """Three rows, of which c was measured with some fields changed."""
    document = plan_document(parts={"p": ROWS})
    change_protocols(document, "c", **changes)
    return document


def test_rows_of_one_protocol_have_a_best_and_no_flag() -> None:
    section = section_of(three_rows())
    assert best_rows(section) == [["b"], ["c"]]
    assert caveats_of(section) == ()


@pytest.mark.parametrize("field", FREE_FIELDS)
def test_rows_may_differ_in_guidance_and_ema_decay(field: str) -> None:
    section = section_of(three_rows(**{field: 0.25}))
    assert best_rows(section) == [["b"], ["c"]]
    assert caveats_of(section) == ()


@pytest.mark.parametrize("field", FIXED_FIELDS)
def test_a_difference_in_any_other_field_leaves_no_best_and_is_flagged(field: str) -> None:
    section = section_of(three_rows(**{field: 7}))
    assert best_rows(section) == [[], []]
    caveats = [caveat for caveat in caveats_of(section) if "differently" in caveat]
    titles = [title for caveat in caveats for title in caveat.partition(": no row is best")[0].split(", ")]
    assert titles == ["FD-Lite0", "label accuracy"]
    assert all(f"measured differently: {field} is" in caveat and "7 (c)" in caveat for caveat in caveats)


def test_a_flag_names_metric_field_values_and_rows() -> None:
    assert caveats_of(section_of(three_rows(num_samples=10_000, settings="k=5", guidance=3.0)))[0] == (
        "FD-Lite0, label accuracy: no row is best, since they were measured differently: "
        "num_samples is 500 (a, b) and 10,000 (c); settings is none (a, b) and k=5 (c)."
    )


def test_digests_are_shortened_in_a_flag() -> None:
    caveat = caveats_of(section_of(three_rows(weights_sha256="c" * 64)))[0]
    assert caveat.endswith("weights_sha256 is a5a5a5a5a5a5 (a, b) and cccccccccccc (c).")


def test_a_difference_in_one_metric_leaves_the_other_its_best() -> None:
    document = plan_document(parts={"p": ROWS})
    document["tasks"][evaluate_digest("c", 200)]["protocols"]["fd"]["num_samples"] = 400
    section = section_of(document)
    assert best_rows(section) == [[], ["c"]]
    assert [found.comparable for found in section.comparability] == [False, True]


def test_only_the_last_evaluations_of_a_part_are_compared() -> None:
    document = plan_document(parts={"p": ("a", "b"), "q": ("c",)})
    change_protocols(document, "c", num_samples=400)
    document["tasks"][evaluate_digest("a", 100)]["protocols"] = protocols(num_samples=300)
    plan = parse_plan(json.dumps(document))
    sections = make_sections(plan, measure(plan, RECORDS), RECORDS)
    assert best_rows(sections[0]) == [["b"], ["a"]]
    assert not [caveat for section in sections for caveat in caveats_of(section) if "differently" in caveat]


def test_seeds_of_one_row_are_held_against_each_other() -> None:
    document = plan_document(parts={"p": ("a", "b")}, seeds=(0, 1))
    document["tasks"][evaluate_digest("b", 200, 1)]["protocols"] = protocols(num_samples=400)
    section = section_of(document, {})
    assert "num_samples is 500 (a, b) and 400 (b)" in caveats_of(section)[0]


def test_a_row_that_leaves_a_metric_out_is_not_held_against_the_others() -> None:
    document = three_rows(num_samples=400)
    document["tasks"][evaluate_digest("c", 200)]["payload"]["evaluation"]["metrics"] = ["accuracy"]
    section = section_of(document)
    assert [found.comparable for found in section.comparability] == [True, False]
    assert best_rows(section) == [["b"], []]


def test_a_record_of_another_protocol_than_planned_leaves_no_best() -> None:
    records = {**RECORDS, evaluate_digest("a", 200): done(3.0, about(guidance=1.5))}
    section = section_of(three_rows(), records)
    assert best_rows(section) == [[], []]
    (caveat,) = caveats_of(section)
    reason = "no row is best, since not all were measured as planned: guidance is 1.5, planned 1 (a)."
    assert caveat == f"FD-Lite0, label accuracy: {reason}"


def test_records_that_all_deviate_alike_are_still_not_as_planned() -> None:
    records = {digest: done(3.0, about(num_samples=400)) for digest in RECORDS}
    section = section_of(three_rows(), records)
    assert best_rows(section) == [[], []]
    assert not [caveat for caveat in caveats_of(section) if "differently" in caveat]
    assert caveats_of(section)[0].endswith("planned: num_samples is 400, planned 500 (a, b, c).")


def test_a_record_that_says_what_the_plan_says_is_comparable() -> None:
    records = {**RECORDS, evaluate_digest("a", 200): done(3.0, about())}
    section = section_of(three_rows(), records)
    assert best_rows(section) == [["b"], ["c"]]
    assert caveats_of(section) == ()


def test_a_broken_record_counts_as_saying_nothing() -> None:
    records = {**RECORDS, evaluate_digest("a", 200): done(3.0, b'{"protocols": {"fd": {"num_samples": 1}}}')}
    assert best_rows(section_of(three_rows(), records)) == [["b"], ["c"]]


def test_a_number_whose_protocol_nobody_says_is_not_compared() -> None:
    document = three_rows()
    del document["tasks"][evaluate_digest("c", 200)]["protocols"]["fd"]
    section = section_of(document)
    assert best_rows(section) == [[], ["c"]]
    assert caveats_of(section) == ("FD-Lite0: no row is best, since some are of unknown protocol: c.",)
    said = {**RECORDS, evaluate_digest("c", 200): done(4.0, about())}
    assert best_rows(section_of(document, said)) == [["b"], ["c"]]


def test_what_an_unfinished_run_says_does_not_count() -> None:
    early = Record(
        "running", {"fd": 1.0}, about=About(protocols=parse_about(json.loads(about(num_samples=1))).protocols)
    )
    assert caveats_of(section_of(three_rows(), {**RECORDS, evaluate_digest("a", 200): early})) == ()


@pytest.mark.parametrize("field", ["guidance", "ema_decay", "label_sampling"])
def test_real_images_have_no_guidance_average_or_asked_labels_to_agree_in(field: str) -> None:
    document = three_rows()
    document["tasks"]["floor"]["protocols"] = protocols(**{field: 0.125})
    assert caveats_of(section_of(document)) == ()


def test_real_images_that_were_measured_otherwise_are_flagged_and_take_no_best_away() -> None:
    document = three_rows()
    document["tasks"]["floor"]["protocols"]["fd"]["num_samples"] = 2000
    section = section_of(document)
    assert best_rows(section) == [["b"], ["c"]]
    (caveat,) = caveats_of(section)
    assert caveat == (
        "FD-Lite0: real images were measured otherwise than the rows: "
        "num_samples is 2,000 (real images) and 500 (a, b, c)."
    )


def test_real_images_of_unknown_protocol_are_flagged() -> None:
    document = three_rows()
    document["tasks"]["floor"]["protocols"] = {}
    section = section_of(document, {**RECORDS, "floor": Record("done", {"fd": 1.0})})
    assert caveats_of(section) == ("FD-Lite0: real images are of unknown protocol.",)


def test_many_rows_are_counted() -> None:
    assert some_of(list("abcde")) == "a, b, c, d, e"
    assert some_of(list("abcdef")) == "a, b, c, d and 2 more"


@pytest.mark.parametrize(("key", "field"), [("seed", "noise_seed"), ("bootstrap_replicates", "error_replicates")])
def test_rows_of_other_noise_or_other_replicates_are_not_compared(key: str, field: str) -> None:
    document = plan_document(parts={"p": ROWS})
    for task in document["tasks"].values():
        if task["kind"] == "evaluate":
            task["payload"]["evaluation"][key] = 7 if task["title"].startswith("c @ ") else 100
    section = section_of(document)
    assert best_rows(section) == [[], []]
    assert any(f"{field} is 100 (a, b) and 7 (c)" in caveat for caveat in caveats_of(section))
    recorded = {digest: replace(record, about=parse_about(json.loads(about()))) for digest, record in RECORDS.items()}
    assert section_of(document, recorded).comparability[0].deviations == (), "a record does not name them"
