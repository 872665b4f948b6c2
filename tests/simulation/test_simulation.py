"""Worlds of simulated time, many from seeds and some from Hypothesis; those that once went wrong are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings

from tests.simulation.run import Verdict
from tests.simulation.scenario import KINDS, Fault, Scenario, draw
from tests.simulation.shrink import scenarios
from tests.simulation.worlds import Report, run_all, verdict_of
from tests.support.sweeps import ROOT

_MOST_SECONDS = 120
NUM_SEEDS = 700
"""As many as take less than a minute of one core; `make simulate` runs more."""


Simulate = Callable[[Scenario], Verdict]


@pytest.fixture(scope="module")
def simulate(world_process: ProcessPoolExecutor) -> Simulate:
    return lambda scenario: world_process.submit(verdict_of, scenario).result(_MOST_SECONDS)


@pytest.mark.timeout(600)
def test_worlds_from_seeds_keep_every_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    report = run_all(0, NUM_SEEDS, min(2, os.cpu_count() or 1))
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.violations, str(report)
    assert report.struck.total() >= 5 * report.num_worlds
    assert min(report.struck[kind] for kind in KINDS) >= 40


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_whatever_world_hypothesis_draws_keeps_every_invariant(simulate: Simulate, scenario: Scenario) -> None:
    assert simulate(scenario).violation == ""


def test_an_undisturbed_world_takes_one_submission_and_makes_every_step_once(simulate: Simulate) -> None:
    verdict = simulate(Scenario(0, ("two rows",), ()))
    assert (verdict.violation, verdict.exit_codes, verdict.steps) == ("", [0], 24)


def test_a_world_is_the_same_again(simulate: Simulate) -> None:
    first, second = simulate(draw(7)), simulate(draw(7))
    assert first == second
    assert first.turns > 100


def test_the_command_runs_worlds_in_processes_of_their_own() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_MOST_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert "\n2 worlds, " in done.stdout


FOUND: dict[str, Scenario] = {
    "a work queue is lost, and its workers train on beside those of the next attempt": Scenario(
        563,
        ("one checkpoint", "edited"),
        (Fault("queue lost", 154, 9, 183), Fault("storage partial", 141, 7, 172), Fault("tracker away", 150, 6, 57)),
        num_cpus=(3, 1),
    ),
    "two drivers open one search in the same moment": Scenario(
        13, ("search, asha",), (Fault("second driver", 2),), num_cpus=(2,)
    ),
    "two requests to stop at once": Scenario(
        352, ("own runs",), (Fault("worker hangs", 30), Fault("stop", 40), Fault("stop", 41))
    ),
    "a driver reads what is done, then waits for another that goes on": Scenario(
        887,
        ("features removed",),
        (Fault("bit flipped", 182, 8, 71), Fault("driver frozen", 93, 0, 297), Fault("second driver", 51, 0, 10)),
        num_cpus=(4,),
    ),
    "a member of a population goes on from a state that was damaged, until a person removes what the message names": (
        Scenario(
            2225282735,
            ("search, median", "search, pbt"),
            (Fault("evaluator killed", 1), Fault("bit flipped", 125, 0, 5), Fault("stop", 3, 0, 5)),
            conditional=False,
        )
    ),
    "the board is lost while trainings stop": Scenario(
        850, ("budget", "longer"), (Fault("board lost", 153, 5, 23),), num_cpus=(1, 1)
    ),
    "an attempt lives on beside the one in its place": Scenario(
        129,
        ("one checkpoint",),
        (
            Fault("storage 503", 3, 1, 186),
            Fault("queue lost", 35, 7, 191),
            Fault("tracker slow", 34, 1, 71),
            Fault("second driver", 0),
        ),
        num_cpus=(3, 1),
    ),
}
"""Worlds that went wrong before the product, or the operator, was mended, as they were shrunk."""


@pytest.mark.parametrize("name", FOUND)
def test_a_world_that_went_wrong_once_keeps_every_invariant(simulate: Simulate, name: str) -> None:
    assert simulate(FOUND[name]).violation == ""


def test_reports_add_up() -> None:
    one, other = Report(num_worlds=2, violations={1: "a"}), Report(num_worlds=3, violations={5: "b"})
    one.add(other)
    assert (one.num_worlds, one.violations) == (5, {1: "a", 5: "b"})
