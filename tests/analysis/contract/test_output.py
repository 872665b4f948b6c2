"""Output that nobody can take changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.lost_output import LOST, run_losing

ROOT = Path(__file__).parents[3]
PROGRAM = """
import logging, sys, warnings
from analysis.contract.output import make_output_unfailing
make_output_unfailing()
print("first", flush=True)
file = open("result", "w")
assert file.fileno() > 2
for number in range(5000):
    print("a line", number)
    sys.stderr.write("an error\\n")
logging.getLogger("x").warning("a log line")
warnings.warn("a warning")
sys.stdout.writelines(["one\\n", "two\\n"])
sys.stdout.flush()
assert sys.stdin.read() == ""
assert not sys.stdin.isatty() and sys.stdout.encoding
file.write("computed")
file.close()
print("last")
sys.exit(7)
"""


@pytest.mark.parametrize("lost", LOST)
def test_a_program_computes_and_ends_as_if_its_output_were_read(lost: str, tmp_path: Path) -> None:
    code, read = run_losing(lost, [sys.executable, "-c", PROGRAM], tmp_path, {"PYTHONPATH": str(ROOT)})
    assert code == 7, read
    assert (tmp_path / "result").read_text() == "computed"
    assert "Exception ignored" not in read
    assert "Traceback" not in read


def test_output_that_is_read_is_whole(tmp_path: Path) -> None:
    code, read = run_losing("", [sys.executable, "-c", PROGRAM], tmp_path, {"PYTHONPATH": str(ROOT)})
    assert code == 7
    assert read.count("a line") == read.count("an error") == 5000
    for line in ("first", "one", "two", "last", "a log line", "UserWarning: a warning"):
        assert line in read


def test_a_disk_that_has_room_again_takes_what_comes_then(tmp_path: Path) -> None:
    """A log goes on where a person has freed some space."""
    program = """
import os, sys
from analysis.contract.output import make_output_unfailing
make_output_unfailing()
full, log = os.open("/dev/full", os.O_WRONLY), os.dup(1)
os.dup2(full, 1)
print("lost", flush=True)
os.dup2(log, 1)
print("there again", flush=True)
"""
    code, read = run_losing("", [sys.executable, "-c", program], tmp_path, {"PYTHONPATH": str(ROOT)})
    assert code == 0
    assert read.endswith("there again\n")
