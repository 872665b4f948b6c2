"""The part of a record with errors: written, read, refused; errors of sums and of paired differences."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from analysis.contract.metric_errors import (
    EARLIER,
    MetricError,
    combined_standard_error,
    errors_document,
    paired_standard_error,
    parse_metric_error,
)

FIRST = MetricError("m", 5.0, 5.0, (3.0, 0.0, 4.0), 0.0, "300 samples", bias=0.5, interval=(0.25, 0.75))
SECOND = MetricError("m", 4.0, 13.0, (3.0, 12.0, 4.0), 0.0, "300 samples")


def test_an_entry_is_read_as_it_was_written() -> None:
    document = json.loads(json.dumps(errors_document({"fd": FIRST, "kd": SECOND})))
    assert {name: parse_metric_error(entry) for name, entry in document["metrics"].items()} == {
        "fd": FIRST,
        "kd": SECOND,
    }
    assert document["metrics"]["fd"]["influences"] == "AABAQAAAAAAAAIBA"  # little-endian 3, 0, 4
    assert FIRST.corrected == 4.5
    assert SECOND.corrected is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("standard_error", math.nan),
        ("standard_error", -1.0),
        ("apart", math.inf),
        ("bias", math.inf),
        ("influences", "no base64!"),
        ("influences", "AABAQAA="),
        ("influences", None),
        ("interval", [0.1]),
    ],
)
def test_a_damaged_entry_is_refused(key: str, value: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, IndexError)):
        parse_metric_error({**FIRST.document(), key: value})


def test_common_influences_cancel_in_a_difference() -> None:
    assert paired_standard_error(FIRST, SECOND) == 12.0
    assert paired_standard_error(FIRST, FIRST) == 0.0


def test_numbers_of_other_samples_are_independent() -> None:
    assert paired_standard_error(FIRST, replace(SECOND, design="400 samples")) == pytest.approx(math.hypot(5, 13))
    assert paired_standard_error(FIRST, replace(SECOND, method="n")) == pytest.approx(math.hypot(5, 13))
    earlier = MetricError(EARLIER, 4.0, 2.0, apart=2.0)
    assert paired_standard_error(FIRST, earlier) == pytest.approx(math.hypot(5, 2))


def test_what_is_apart_never_cancels() -> None:
    assert paired_standard_error(replace(FIRST, apart=3.0), replace(FIRST, apart=4.0)) == 5.0


def test_seeds_with_common_noise_do_not_average_it_out() -> None:
    assert combined_standard_error([(0.5, FIRST), (0.5, FIRST)]) == FIRST.standard_error
    assert combined_standard_error([(0.5, FIRST), (0.5, replace(FIRST, design="other"))]) == pytest.approx(
        FIRST.standard_error / math.sqrt(2)
    )
