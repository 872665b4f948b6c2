"""Faults of trainings on a real Ray: frozen, hung, terminated; the table at the end is the undisturbed one.

The limits are wide: on a machine with ten times as much to do as it has cores a step of milliseconds can take seconds.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import FinishedSweep
from tests.support.sweeps import (
    ONLY_DFM,
    Where,
    descendants,
    goes_on_to_the_table_of,
    has_checkpoints,
    has_ended,
    numbers,
    published_steps,
    run,
    slow_steps,
    started,
    wait_until,
)

SLOWLY = Where(environment=slow_steps(12, 40))
IN_ITS_OWN_SESSION = Where(lambda *arguments: ["setsid", *arguments], SLOWLY.environment)


@pytest.mark.proves(5)
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_sweep_told_to_end_stops_at_a_checkpoint_and_resumes_to_the_same_table(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    log, often = tmp_path / "log", ("workers.checkpoint_every=1", "workers.keep_checkpoints=99")
    with started(with_reference, log, ONLY_DFM, *often, where=IN_ITS_OWN_SESSION) as driver:
        has_checkpoints(with_reference)
        children = descendants(driver.pid)
        if number == signal.SIGHUP:
            os.killpg(driver.pid, number)  # as a terminal does: Ray's processes are in the group, too
        else:
            driver.send_signal(number)
        has_ended(driver, code, log, seconds=300)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "its processes to end", 120)
    assert "Traceback" not in log.read_text()
    reached = max(published_steps(with_reference))
    assert f"train dfm, seed=0: stopped at step {reached}" in log.read_text()
    goes_on_to_the_table_of(undisturbed.root, with_reference)


@pytest.mark.proves(22)
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("removed", ["leases", ""])
def test_a_driver_whose_lease_or_root_is_removed_says_so_and_ends(
    with_reference: Path, tmp_path: Path, removed: str
) -> None:
    log = tmp_path / "log"
    with started(with_reference, log, ONLY_DFM, where=SLOWLY) as driver:
        has_checkpoints(with_reference)
        (with_reference / removed).rename(tmp_path / "removed")
        has_ended(driver, 1, log, seconds=120)
    assert "its lease is gone: somebody has removed" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (with_reference / "reports").exists()
    assert not list(with_reference.glob("results/*/result.json")) or removed


@pytest.mark.proves(7, 8)
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", ["1:17:hang", "1:17:freeze", "0:17:kill", "1:17:slow", "1:17:error"])
def test_a_fault_of_a_worker_changes_no_number(
    undisturbed: FinishedSweep,
    with_reference: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    monkeypatch.setenv("DFM_FAULT", fault)
    log = tmp_path / "log"
    with started(with_reference, log, ONLY_DFM, "workers.hung_after_seconds=20") as driver:
        has_ended(driver, 0, log)
    assert [path.name for path in with_reference.glob("faults/*.json")] == [f"{fault.replace(':', '-')}.json"]
    assert ("starting again" in log.read_text()) != fault.endswith("slow")
    if fault.endswith(("hang", "freeze")):  # those that could say where they were
        where = "".join(path.read_text() for path in with_reference.glob("faults/*/*.txt"))
        assert "in train\n" in where
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")


@pytest.mark.proves(17)
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_batches_that_are_never_a_number_fail_their_trial_and_leave_its_checkpoints(
    with_reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFM_FAULT", "1:23:nans")
    done = run(with_reference, ONLY_DFM)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED: nan: NotFiniteError: gradients are not finite at step 32, the 10. in a row" in done.stdout
    assert "evaluate DFM @ 20: done" in done.stdout  # its snapshot was made before
    (manifest,) = list(with_reference.glob("checkpoints/*/step-000000030/manifest.json"))
    assert json.loads(manifest.read_text())["about"]["num_steps"] == 22
    monkeypatch.delenv("DFM_FAULT")
    assert run(with_reference, ONLY_DFM).returncode == 0
