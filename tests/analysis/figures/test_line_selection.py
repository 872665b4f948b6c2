"""Which of many lines are shown."""

from __future__ import annotations

import math

from analysis.drawing.chart import Line
from analysis.figures.line_selection import select_lines


def test_a_dozen_lines_all_have_names() -> None:
    selection = select_lines([(str(i), float(i)) for i in range(12)], "lower")
    assert (len(selection.named), selection.grey, selection.note) == (12, frozenset(), "")


def test_the_best_have_names_the_others_are_grey_and_of_very_many_an_even_choice() -> None:
    pairs = [(str(i), float(i)) for i in range(400)]
    low, high = select_lines(pairs, "lower"), select_lines(pairs, "higher")
    assert low.named == {str(i) for i in range(12)}
    assert high.named == {str(i) for i in range(388, 400)}
    assert low.grey == {str(i) for i in range(12, 400, 3)}
    assert low.note == "The best 12 of 400 have colour and name; of the others 130 are grey."
    assert select_lines(pairs[:20], "lower").note == "The best 12 of 20 have colour and name."


def test_what_is_not_finite_is_never_best_and_lines_that_are_not_shown_are_left_out() -> None:
    selection = select_lines(
        [("nan", math.nan), ("inf", -math.inf), *[(str(i), float(i)) for i in range(400)]], "higher"
    )
    assert not {"nan", "inf"} & selection.named
    lines = [Line(label, (1.0,), (1.0,)) for label in ("399", "nan", "2")]
    assert [(line.label, line.faint) for line in selection.shown(lines)] == [("399", False), ("nan", True)]
