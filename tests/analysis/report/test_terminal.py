"""The results at the end of a run: the metrics of each part, aligned, the best starred, long parts cut."""

from __future__ import annotations

from analysis.report.terminal import format_results
from analysis.text.text_tables import TextCell, TextTable


def table(num_rows: int, num_real_images: int = 0) -> TextTable:
    rows = [(TextCell(f"row {n}"), TextCell(f"{n}.5", best=n == 0), TextCell("700")) for n in range(num_rows)]
    rows += [(TextCell("real images"), TextCell("0.1"), TextCell("–"))] * num_real_images
    return TextTable("A part", ("", "FD ↓", "training steps"), tuple(rows), num_real_images, ("beware",), notes=("so",))


def test_the_end_shows_metrics_without_costs_and_stars_the_best() -> None:
    text = format_results([table(2)], num_metrics=1)
    assert text.splitlines()[0] == "A part"
    assert "0.5 *" in text
    assert "training steps" not in text
    assert text.splitlines()[-2:] == ["  beware", "  so"]


def test_a_long_part_is_cut_and_says_so_but_real_images_stay() -> None:
    lines = format_results([table(40, 1)], num_metrics=1).splitlines()
    assert "  and 10 rows more, in the report" in lines
    assert any(line.startswith("  real images") for line in lines)
    assert not any("row 39" in line for line in lines)
