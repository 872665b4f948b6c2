"""YAML 1.1 reads some plain values otherwise than people do: refused, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.parsing.yaml_readings import misread_values
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART, ROOT


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("010", "010 is read as 8: write 10 or 8 or '010' in quotes if it is text"),
        ("-010", "-010 is read as -8: write -10 or -8 or"),
        ("01", "01 is read as 1: write 1 or '01'"),
        ("09", "09 is read as text: write 9 or '09'"),
        ("0o10", "0o10 is read as text: write 8 or '0o10'"),
        ("1:00", "1:00 is read as 60: write 60 or '1:00'"),
        ("1:30.5", "1:30.5 is read as 90.5: write 90.5 or"),
        ("0:30", "0:30 is read as text: write '0:30' in quotes"),
        ("1_000", "1_000 is read as 1000: write 1000 or"),
        ("1_000.5", "1_000.5 is read as 1000.5: write 1000.5 or"),
        ("yes", "yes is read as true: write that, or 'yes' in quotes"),
        ("No", "No is read as false"),
        ("ON", "ON is read as true"),
        ("off", "off is read as false"),
    ],
)
@pytest.mark.parametrize("form", ["a: {}", "a: [1, {}]", "{}: 1", "a:\n- {{b: {}}}"])
def test_a_value_that_would_be_misread_is_told_with_what_to_write(value: str, message: str, form: str) -> None:
    ((line, told),) = misread_values(form.format(value))
    assert told.startswith(message)
    assert len(told) < 150
    assert line == form.count("\n") + 1


def test_a_number_without_end_is_not_repeated_whole() -> None:
    ((_, told),) = misread_values(f"a: 0{'7' * 5000}")
    assert told == f"0{'7' * 39}... would be misread: write it in quotes if it is text"


@pytest.mark.parametrize(
    "value",
    [
        *("0", "-0", "10", "1e5", ".5", "0.05", "007.5", "0x1F", "true", "null", "~", "2024-01-01"),
        *("127.0.0.1:80", "a:00", "'010'", '"no"', "|\n  010", "nope", "on_step", "10%", "1,5", "v1_0", "_1"),
    ],
)
def test_what_is_read_as_it_looks_is_let_through(value: str) -> None:
    assert list(misread_values(f"a: {value}")) == []


def test_all_of_a_file_are_told_at_once_and_nothing_is_planned_with_them(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("name: a\nseeds: [01, 010]\ntraining: {steps: 1_000}\nworkers: {compile: off}\n")
    with pytest.raises(UserError) as caught:
        load_sweep(path)
    wheres = [problem.where.removeprefix(f"{path}: ") for problem in caught.value.problems]
    assert wheres == ["line 2", "line 2", "line 3", "line 4"]


def test_a_value_of_the_command_line_is_held_to_the_same() -> None:
    with pytest.raises(UserError, match=r"^command line: 'training\.steps=010': 010 is read as 8: write 10 or 8"):
        load_sweep(QUICKSTART, ["training.steps=010"])


def test_no_shipped_sweep_has_such_a_value() -> None:
    for path in sorted((ROOT / "sweeps").glob("**/*.yaml")):
        assert list(misread_values(path.read_text())) == [], path.name
