"""Protocols: numbers that were measured differently are never compared by accident."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from dfm_core.metrics.protocol import Measurement, Protocol, ProtocolMismatchError, compare

PROTOCOL = Protocol(
    metric="fid",
    network="inception pool3",
    weights_sha256="6726825d",
    preprocessing="bilinear to 299",
    num_samples=50_000,
    reference="4f1a",
    guidance=1.0,
    ema_decay=0.9999,
    label_sampling="uniform",
)
OTHERS: dict[str, Any] = {
    "metric": "fdd",
    "network": "inception logits",
    "weights_sha256": "0000",
    "preprocessing": "bicubic to 299",
    "num_samples": 10_000,
    "reference": "4f1b",
    "guidance": 1.5,
    "ema_decay": 0.0,
    "label_sampling": "balanced",
    "settings": "10 splits",
}


def measured(value: float, error: float | None, **changes: Any) -> Measurement:
    return Measurement(value, error, replace(PROTOCOL, **changes))


def test_every_field_has_a_case_here() -> None:
    assert set(OTHERS) == {field.name for field in fields(Protocol)}


@pytest.mark.parametrize("name", OTHERS)
def test_every_field_makes_another_protocol(name: str) -> None:
    other = replace(PROTOCOL, **{name: OTHERS[name]})
    assert other.digest != PROTOCOL.digest
    assert PROTOCOL.differences(other) == {name: (getattr(PROTOCOL, name), OTHERS[name])}
    with pytest.raises(ProtocolMismatchError, match=f"numbers of different protocols are not compared: {name}: "):
        compare(measured(3.0, 0.1), measured(2.0, 0.1, **{name: OTHERS[name]}))
    allowed = compare(measured(3.0, 0.1), measured(2.0, 0.1, **{name: OTHERS[name]}), across={name})
    assert (allowed.value, allowed.across) == (1.0, (name,))


def test_one_protocol_is_compared_with_the_joint_error() -> None:
    difference = compare(measured(3.0, 0.3), measured(2.0, 0.4))
    assert (difference.value, difference.across) == (1.0, ())
    assert difference.standard_error == pytest.approx(0.5)
    assert compare(measured(3.0, 0.3), measured(2.0, None)).standard_error is None
    assert compare(measured(3.0, None), measured(2.0, 0.4)).standard_error is None


def test_all_fields_that_differ_are_named_with_both_values_but_those_asked_for() -> None:
    other = measured(2.0, 0.1, guidance=1.5, num_samples=10_000, reference="4f1b")
    with pytest.raises(ProtocolMismatchError) as caught:
        compare(measured(3.0, 0.1), other, across=["guidance"])
    assert str(caught.value).endswith("compared: num_samples: 50000 and 10000; reference: '4f1a' and '4f1b'")


def test_a_field_that_does_not_exist_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match=r"across: guidence is no field of a protocol; known: .*guidance"):
        compare(measured(3.0, 0.1), measured(2.0, 0.1), across=["guidence"])


def test_a_record_brings_the_same_protocol_back() -> None:
    read = Protocol(**json.loads(json.dumps(asdict(PROTOCOL))))
    assert read == PROTOCOL
    assert read.digest == PROTOCOL.digest


def test_the_digest_stays_what_it_is() -> None:
    assert PROTOCOL.digest == "7e8c71341fb9ef6e22de4762784f13a76b6e84bf6fb559767fbe1f7c9289c1b9"
