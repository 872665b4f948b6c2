"""What may be left out: up to the limit a report, beyond it an end with the cause."""

from __future__ import annotations

import pytest

from dfm_core.data.encoding.excluded_samples import ExcludedSamples
from dfm_core.data.files.folder_report import BadFile, UnusableFolderError


def bad(count: int) -> list[BadFile]:
    return [BadFile(f"a/{at}.png", "damaged", "is damaged") for at in range(count)]


def test_up_to_the_limit_the_report_names_what_was_left_out() -> None:
    left_out = ExcludedSamples("s3://data", 0.1, 100)
    left_out.add(bad(10))
    report = left_out.finish([60, 30], ["ant", "bee"])
    assert (report.num_used, len(report.bad)) == (90, 10)
    assert "10 of 100 images cannot be used (10 damaged)" in str(report)


def test_beyond_the_limit_it_ends_at_once() -> None:
    left_out = ExcludedSamples("s3://data", 0.1, 100)
    left_out.add(bad(10))
    with pytest.raises(UnusableFolderError, match=r"(?s)11 of 100 .*a/0\.png: is damaged.*a share of 0\.1 may be left"):
        left_out.add(bad(1))


def test_where_the_number_is_not_known_the_end_decides() -> None:
    left_out = ExcludedSamples("s3://data", 0.1)
    left_out.add(bad(11))
    assert left_out.finish([99], ["ant"]).num_used == 99
    with pytest.raises(UnusableFolderError, match="11 of 109"):
        left_out.finish([98], ["ant"])


def test_without_a_limit_nothing_is_left_out() -> None:
    with pytest.raises(UnusableFolderError, match="is damaged"):
        ExcludedSamples("s3://data", 0.0).add(bad(1))
    assert not ExcludedSamples("s3://data", 0.0).finish([1], ["ant"]).bad


def test_a_class_of_which_nothing_is_left_is_told() -> None:
    left_out = ExcludedSamples("s3://data", 0.5)
    left_out.add(bad(1))
    with pytest.raises(ValueError, match=r"s3://data: of 1 classes no sample is left: bee"):
        left_out.finish([5, 0], ["ant", "bee"])
    with pytest.raises(UnusableFolderError):
        ExcludedSamples("s3://data", 0.5).finish([0], ["ant"])


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_limit_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="allowed is 0 or more, and less than 1"):
        ExcludedSamples("s3://data", share)


def test_what_was_left_behind_is_named_and_counts_for_nothing() -> None:
    left_out = ExcludedSamples("s3://data", 0.0, 2)
    left_out.add([BadFile("a/._0.png", "left behind", "is left behind")] * 9)
    report = left_out.finish([1, 1], ["ant", "bee"])
    assert (report.num_used, report.bad, report.left_behind) == (2, (), ("a/._0.png",) * 9)
