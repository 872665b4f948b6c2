"""Protocols: identity, differences, and how their values read."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest

from analysis.plan.protocol import FIELDS, Protocol, ProtocolPair, parse_protocol, shown, shown_apart
from tests.support.plans import protocol


def made(**changes: Any) -> Protocol:
    return parse_protocol({**protocol("fd"), **changes})


def test_the_id_is_the_head_of_the_sha256_over_sorted_json() -> None:
    text = json.dumps(protocol("fd"), sort_keys=True)
    assert made().id == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_order_in_which_fields_are_written_does_not_matter() -> None:
    turned = parse_protocol(dict(reversed(protocol("fd").items())))
    assert turned.id == made().id
    assert turned.differences(made()) == {}


@pytest.mark.parametrize("name", FIELDS)
def test_a_change_of_any_field_is_a_difference_and_another_id(name: str) -> None:
    other = made(**{name: 7})
    assert made().differences(other) == {name: (protocol("fd")[name], 7)}
    assert made().id != other.id


def test_a_field_that_only_one_side_has_is_a_difference() -> None:
    assert made(crop="centre").differences(made()) == {"crop": ("centre", None)}
    assert made().differences(made(crop="centre")) == {"crop": (None, "centre")}


def test_a_number_is_the_same_however_it_is_written() -> None:
    assert made(guidance=1).differences(made(guidance=1.0)) == {}


@pytest.mark.parametrize("name", FIELDS)
def test_a_protocol_that_lacks_a_field_is_refused_by_the_fields_name(name: str) -> None:
    entry = protocol("fd")
    del entry[name]
    with pytest.raises(ValueError, match=f"lacks {name}$"):
        parse_protocol(entry)


@pytest.mark.parametrize("guidance", [math.nan, math.inf, 10**400, "1", True, None, [1.0]])
def test_a_guidance_that_is_no_finite_number_is_refused(guidance: object) -> None:
    with pytest.raises(ValueError, match="guidance of a protocol is a finite number"):
        made(guidance=guidance)


@pytest.mark.parametrize("entry", [None, [], "fd", 3])
def test_what_is_no_object_is_no_protocol(entry: object) -> None:
    with pytest.raises(TypeError, match="a protocol is a JSON object"):
        parse_protocol(entry)


def test_the_record_counts_before_the_plan_and_the_plan_before_nothing() -> None:
    planned, recorded = made(), made(num_samples=400)
    assert ProtocolPair(planned, recorded).effective == recorded
    assert ProtocolPair(planned).effective == planned
    assert ProtocolPair(None).effective is None


def test_a_deviation_takes_both_sides() -> None:
    planned, recorded = made(), made(num_samples=400, guidance=2.0)
    assert ProtocolPair(planned, recorded).deviations == {"num_samples": (400, 500), "guidance": (2.0, 1.0)}
    assert ProtocolPair(None, recorded).deviations == ProtocolPair(planned).deviations == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (50_000, "50,000"),
        (1.0, "1"),
        (1.25, "1.25"),
        (0.99999999, "0.99999999"),
        ("0123456789abcdef" * 4, "0123456789ab"),
        ("31f498538061ac8d7a6a", "31f498538061"),
        ("balanced", "balanced"),
        ("", "none"),
        (None, "none"),
        (True, "true"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_values_read_naturally(value: object, text: str) -> None:
    assert shown(value) == text


def test_values_whose_short_forms_are_alike_stand_in_full() -> None:
    first, second = "a" * 63 + "b", "a" * 63 + "c"
    assert shown_apart([first, second]) == [f'"{first}"', f'"{second}"']
    assert shown_apart(["", None]) == ['""', "null"]
    assert shown_apart([500, 1000]) == ["500", "1,000"]
