"""Every key of a published plan that orchestration writes is in the schema that both readers share."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, NotRequired, get_origin, get_type_hints

import pytest

from analysis.contract.plan_schema import (
    EvaluationEntry,
    MetricEntry,
    PartEntry,
    PlanDocument,
    PlanFormatError,
    RowEntry,
    SourceEntry,
    TaskEntry,
    TrialEntry,
    parse_plan_document,
)
from analysis.contract.record_schema import RecordDocument
from orchestration.artifacts.task_record import TaskRecord
from orchestration.plan.plan_json import plan_json
from tests.support.stored_sweeps import tiny_plan


def assert_keys(entry: Any, schema: Any) -> None:
    """Raise AssertionError if a key is not in the schema, or a required one is missing."""
    hints = get_type_hints(schema, include_extras=True)
    required = {key for key, hint in hints.items() if get_origin(hint) is not NotRequired}
    assert required <= set(entry) <= set(hints)


def test_a_published_plan_has_the_keys_of_its_schema() -> None:
    document = parse_plan_document(plan_json(tiny_plan(), "sqlite:///x"))
    assert_keys(document, PlanDocument)
    lists = (("metrics", MetricEntry), ("parts", PartEntry), ("trials", TrialEntry))
    for key, schema in lists:
        for entry in json.loads(json.dumps(document))[key]:
            assert_keys(entry, schema)
    for part, trial in zip(document["parts"], document["trials"], strict=True):
        assert_keys(part["rows"][0], RowEntry)
        assert_keys(trial["evaluations"][0], EvaluationEntry)
    for task in document["tasks"].values():
        assert_keys(task, TaskEntry)
        for source in task["sources"]:
            assert_keys(source, SourceEntry)


def test_a_record_has_the_keys_of_its_schema() -> None:
    assert {field.name for field in fields(TaskRecord)} == RecordDocument.__required_keys__


def test_another_format_says_which_one_it_is() -> None:
    with pytest.raises(PlanFormatError, match="7") as caught:
        parse_plan_document('{"format": 7}')
    assert caught.value.given == 7
