"""Ray on machines where packages come by PYTHONPATH, and where its workers cannot start."""

from __future__ import annotations

import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from tests.support.sweeps import ONLY_DFM, Where, run, started, wait_until

_SMALL = (ONLY_DFM, "training.steps=6", "evaluation={at_steps: [6], num_samples: 20}")
_BROKEN = (
    'import sys\nif any("default_worker" in part for part in sys.orig_argv):\n    sys.exit("no module system here")\n'
)


def interpreter(folder: Path) -> Where:
    """Place with an interpreter that has no packages but those of PYTHONPATH, as modules of a cluster give them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = sysconfig.get_path("purelib")
    return Where(lambda *words: [str(folder / "bin" / "python"), *words[1:]], {"PYTHONPATH": packages})


@pytest.fixture
def broken(tmp_path: Path) -> Where:
    """Place where Python ends at once in a worker of Ray."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_BROKEN)
    return Where(environment={"PYTHONPATH": str(tmp_path / "site")})


@pytest.mark.slow
def test_packages_that_come_by_python_path_reach_the_workers(tmp_path: Path) -> None:
    done = run(tmp_path / "runs", *_SMALL, where=interpreter(tmp_path / "bare"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_workers_that_do_not_start_end_a_sweep_with_their_last_words(tmp_path: Path, broken: Where) -> None:
    done = run(tmp_path / "runs", *_SMALL, "workers.wait_for_workers_seconds=10", where=broken)
    assert done.returncode == 8, done.stdout + done.stderr
    assert "none of its workers has answered in 10 s" in done.stderr
    assert "no module system here" in done.stderr
    assert "orchestration/" not in done.stderr  # no traceback of ours


@pytest.mark.slow
def test_a_sweep_that_waits_for_workers_hears_sigterm(tmp_path: Path, broken: Where) -> None:
    log = tmp_path / "log"
    with started(tmp_path / "runs", log, *_SMALL, where=broken) as driver:
        wait_until(lambda: "Waiting for Ray's workers" in log.read_text() or driver.poll() is not None, "the wait")
        begin = time.monotonic()
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(90) == 143, log.read_text()
    assert time.monotonic() - begin < 90
    assert "orchestration/" not in log.read_text()


def test_an_interpreter_below_a_path_with_a_space_is_refused_before_ray_starts(tmp_path: Path) -> None:
    where = interpreter(tmp_path / "my environment")
    done = run(tmp_path / "runs", *_SMALL, where=where)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "my environment/bin/python: Ray hands this path to a shell as it is" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
