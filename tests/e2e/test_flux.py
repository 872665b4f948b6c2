"""FLUX from captions to a table: the whole chain on networks of the real classes, and Table 3 in small."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.support.flux_sweeps import flux_sweep, make_flux_files
from tests.support.sweeps import ROOT, python

pytestmark = pytest.mark.slow


def table(report: Path) -> dict[str, float]:
    """First metric of each row."""
    with (report / "table.csv").open(encoding="utf-8") as file:
        return {row["row"]: float(row["value"]) for row in csv.DictReader(file)}


def test_a_chain_of_backbones_is_trained_and_measured_and_then_known(tmp_path: Path) -> None:
    sweep = flux_sweep(tmp_path, make_flux_files(tmp_path / "files"))
    done = python("orchestration/sweep.py", str(sweep))
    assert done.returncode == 0, done.stdout + done.stderr
    values = table(tmp_path / "store/reports/flux")
    assert set(values) == {"flux", "ft", "dfm"}
    assert len(set(values.values())) == 3
    again = python("orchestration/sweep.py", str(sweep))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "started" not in again.stdout
    assert table(tmp_path / "store/reports/flux") == values


@pytest.mark.timeout(3600)
def test_table_3_in_small_runs_from_drawn_emoji_to_its_table(tmp_path: Path) -> None:
    emoji = tmp_path / "emoji"
    assert python("examples/draw_emoji.py", str(emoji)).returncode == 0
    places = [
        f"datasets.emoji.files={emoji}/train",
        f"datasets.emoji.reference={emoji}/test",
        f"datasets.emoji_colours.files={emoji}/train",
        f"text_encoders.random.files={emoji}/text_encoders",
        f"storage.root={tmp_path}/store",
    ]
    done = python("orchestration/sweep.py", str(ROOT / "sweeps/table3_small.yaml"), *places, seconds=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    values = table(tmp_path / "store/reports/table3_small")
    assert set(values) == {"flux", "flux_ft", "flux_dfm"}
    again = python("orchestration/sweep.py", str(ROOT / "sweeps/table3_small.yaml"), *places)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "started" not in again.stdout
    assert table(tmp_path / "store/reports/table3_small") == values
