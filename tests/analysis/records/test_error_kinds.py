"""The error that a record's number carries, and notes where a table would mix several kinds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from analysis.contract.metric_errors import EARLIER, MetricError, errors_document
from analysis.records.about import About, parse_about
from analysis.records.error_kinds import error_of, mixed_errors_notes
from analysis.records.record import Record
from tests.support.plans import evaluate_digest, make_plan

ERROR = MetricError("group jackknife", 4.0, 0.5, (0.3, 0.4), design="300 samples")
OLD = Record("done", {"fd": 4.0, "fd_standard_error": 0.2})
NEW = replace(OLD, about=About(errors={"fd": ERROR}))


def test_a_record_of_an_earlier_version_says_that_its_error_is_one() -> None:
    error = error_of(OLD, "fd")
    assert error is not None
    assert (error.method, error.standard_error, error.influences) == (EARLIER, 0.2, ())
    assert error_of(NEW, "fd") == ERROR


def test_an_error_of_another_number_is_none() -> None:
    assert error_of(replace(NEW, metrics={"fd": 4.1, "fd_standard_error": 0.2}), "fd") is None
    assert error_of(replace(NEW, metrics={"fd": math.nan}), "fd") is None
    assert error_of(replace(OLD, metrics={"fd": 4.0, "fd_standard_error": -1.0}), "fd") is None
    assert error_of(OLD, "kd") is None


def test_a_table_of_two_kinds_of_errors_says_so() -> None:
    plan = make_plan(seeds=(0, 1))
    one, other = evaluate_digest("DFM", 200, 0), evaluate_digest("DFM", 200, 1)
    (note,) = mixed_errors_notes(plan, {one: OLD, other: NEW})
    assert f"{EARLIER} (1), group jackknife (1)" in note
    assert "sweep.py --errors" in note
    assert mixed_errors_notes(plan, {one: NEW, other: NEW}) == ()
    assert mixed_errors_notes(plan, {one: OLD, other: OLD}) == ()


def test_errors_are_read_and_a_bias_above_the_error_is_noted() -> None:
    document = json.loads(json.dumps({"errors": errors_document({"fd": replace(ERROR, bias=0.6)})}))
    about = parse_about(document)
    assert about.errors is not None
    assert about.errors["fd"].corrected == pytest.approx(3.4)
    assert any("bias is larger than the standard error" in note for note in about.notes["fd"])
    assert parse_about({"errors": errors_document({"fd": replace(ERROR, bias=0.4)})}).notes == {}


@pytest.mark.parametrize("part", [{"version": 99, "metrics": {}}, [], "text"])
def test_errors_of_another_version_count_as_absent_and_are_named(part: object) -> None:
    about = parse_about({"errors": part})
    assert about.errors is None
    assert any("errors are not of version 1" in problem for problem in about.problems)


def test_an_unreadable_error_is_named_and_left_out() -> None:
    document = errors_document({"fd": ERROR})
    about = parse_about({"errors": {**document, "metrics": {"fd": {"method": "x"}, "kd": ERROR.document()}}})
    assert about.errors == {"kd": ERROR} or set(about.errors or {}) == {"kd"}
    assert any("the error of fd is left out" in problem for problem in about.problems)
