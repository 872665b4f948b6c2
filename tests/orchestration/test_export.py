"""The command that exports a row tells every mistake before it writes anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.export import main
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.flux_sweeps import flux_sweep, make_flux_files


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    return flux_sweep(folder, make_flux_files(folder / "files"))


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


def test_a_row_that_is_not_there_is_told(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = told(capsys, sweep, "dfn", tmp_path / "new")
    assert "'dfn' is no row of the sweep" in message
    assert "main / dfm" in message
    assert not (tmp_path / "new").exists()


def test_a_row_that_is_not_trained_is_told(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = told(capsys, sweep, "ft", tmp_path / "new")
    assert "its snapshot of step 5 cannot be read" in message
    assert "run the sweep first" in message


def test_a_folder_with_something_in_it_stays_as_it_is(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert "give a folder that is new or empty" in told(capsys, sweep, "ft", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_diffusers_cannot_sample_is_told(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = told(capsys, sweep, "ft", tmp_path / "new", "sampling.solver=heun")
    assert "ft: sampling.solver: heun: an exported pipeline samples with euler" in message
    message = told(capsys, QUICKSTART, "DFM", tmp_path / "new")
    assert "dit is no pipeline of diffusers, only flux is" in message


def test_another_seed_than_the_sweeps_is_told(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "7 is no seed of the sweep; it has 0" in told(capsys, sweep, "ft", tmp_path / "new", "--seed", "7")


def test_help_is_instant_and_loads_no_torch() -> None:
    script = "import sys; from orchestration.export import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    script += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "new or empty" in done.stdout
