"""The report's lines of protocols and samplings, by known answers."""

from __future__ import annotations

import json
from typing import Any

from analysis.plan.protocol import parse_protocol
from analysis.plan.read import parse_plan
from analysis.records.about import parse_about
from analysis.records.record import Record
from analysis.results.measurements import measure
from analysis.text.protocol_tables import make_protocol_table, make_sampling_table
from analysis.text.text_tables import PlainTable
from tests.support.plans import about, change_protocols, evaluate_digest, make_plan, plan_document, protocol

LINE = ("lite0 block10", "a5a5a5a5a5a5", "bicubic to 112", "500", "b7b7b7b7b7b7", "balanced", "none")


def table_of(document: dict[str, Any], records: dict[str, Record] | None = None) -> PlainTable:
    plan, records = parse_plan(json.dumps(document)), records or {}
    return make_protocol_table(plan, measure(plan, records), records)


def id_of(**changes: Any) -> str:
    return parse_protocol({**protocol("fd"), **changes}).id


def test_a_protocol_stands_once_however_many_numbers_it_made() -> None:
    table = table_of(plan_document(seeds=(0, 1)))
    assert len(table.rows) == 4
    assert table.rows[0] == ("FD-Lite0", *LINE, "0.999", "1", id_of())
    assert table.rows[1] == ("FD-Lite0 of real images", *LINE, "0", "1", id_of(ema_decay=0.0))
    assert [row[0] for row in table.rows[2:]] == ["label accuracy", "label accuracy of real images"]
    assert len(table.header) == len(table.rows[0])


def test_guidance_weights_share_a_line() -> None:
    document = plan_document(parts={"p": ("a", "b", "c")})
    change_protocols(document, "a", guidance=1.5)
    change_protocols(document, "b", guidance=1.25)
    line = table_of(document).rows[0]
    ids = (id_of(guidance=1.5), id_of(guidance=1.25), id_of())
    assert line == ("FD-Lite0", *LINE, "0.999", "1, 1.25, 1.5", ", ".join(ids))


def test_samples_and_real_images_of_one_protocol_share_a_line() -> None:
    document = plan_document()
    change_protocols(document, "DFM", ema_decay=0.0)
    change_protocols(document, "flow matching", ema_decay=0.0)
    whose = "of samples and real images"
    assert [row[0] for row in table_of(document).rows] == [f"FD-Lite0 {whose}", f"label accuracy {whose}"]


def test_any_other_difference_is_a_line_of_its_own() -> None:
    document = plan_document()
    change_protocols(document, "DFM", settings="k=5", crop="centre")
    lines = [row for row in table_of(document).rows if row[0].startswith("FD-Lite0")]
    assert [line[7] for line in lines] == ["none", "k=5, crop=centre", "none"]


def test_what_was_really_done_stands_in_the_place_of_what_was_planned() -> None:
    done = Record("done", {"fd": 1.0}, about=parse_about(json.loads(about(num_samples=400))))
    records = {evaluate_digest(row, step): done for row in ("flow matching", "DFM") for step in (100, 200)}
    assert table_of(plan_document(), records).rows[0][4] == "400"


def test_a_plan_without_protocols_has_no_lines() -> None:
    document = plan_document()
    for task in document["tasks"].values():
        if "protocols" in task:
            task["protocols"] = {}
    assert table_of(document).rows == ()


def test_samplings_stand_once_with_the_rows_that_use_them() -> None:
    document = plan_document(parts={"p": ("a", "b"), "q": ("c",)})
    document["tasks"][evaluate_digest("c", 200)]["sampling"] = {"steps": [], "shift": 2.5}
    assert make_sampling_table(parse_plan(json.dumps(document))) == PlainTable(
        ("rows", "steps", "tau", "guidance", "solver", "weights", "shift"),
        (
            ("p / a, p / b", "20, 20", "0.9", "1", "euler", "ema", "–"),
            ("q / c", "none", "–", "–", "–", "–", "2.5"),
        ),
    )


def test_samplings_of_which_the_plan_says_nothing_have_no_lines() -> None:
    document = plan_document()
    for task in document["tasks"].values():
        task["sampling"] = {}
    assert make_sampling_table(parse_plan(json.dumps(document))).rows == ()
    assert len(make_sampling_table(make_plan()).rows) == 1
