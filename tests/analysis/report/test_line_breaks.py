"""Where labels break."""

from __future__ import annotations

import pytest

from analysis.report.line_breaks import breakable, split_label, wrap_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "training.first_stage_probability=0.95",
            ["training.", "first_", "stage_", "probability=", "0.95"],
        ),
        ("10,000 real images", ["10,000 ", "real ", "images"]),
        ("a, b; c=1e-05", ["a, ", "b; ", "c=", "1e-05"]),
        ("imagenet/512.latents:v2", ["imagenet/", "512.", "latents:", "v2"]),
        ("word", ["word"]),
        ("", [""]),
        ("12:30", ["12:30"]),
    ],
)
def test_a_label_breaks_after_separators_and_never_inside_a_number(text: str, expected: list[str]) -> None:
    assert split_label(text) == expected
    assert "".join(split_label(text)) == text


def test_lines_are_full_and_no_wider_than_asked() -> None:
    text = "training.first_stage_probability=0.95, sampling.tau=[0.7, 0.9]"
    assert list(wrap_text(text, 24)) == ["training.first_stage_", "probability=0.95,", "sampling.tau=[0.7, 0.9]"]
    assert "".join(wrap_text(text, 24)).replace(" ", "") == text.replace(" ", "")


def test_a_part_that_is_too_long_has_a_line_of_its_own() -> None:
    assert list(wrap_text("a incomprehensibilities b", 8)) == ["a", "incomprehensibilities", "b"]
    assert list(wrap_text("", 8)) == [""]


def test_html_has_places_to_break_and_no_markup_of_the_label() -> None:
    assert breakable("<b>_x=1.5 & y") == "&lt;b&gt;_<wbr>x=<wbr>1.5 &amp; y"
