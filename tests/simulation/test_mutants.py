"""Simulation notices a product that is broken on purpose."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.worlds import caught_at

IN_CI = ("manifest first", "file forgotten", "missing retried", "always from zero")
"""Mutants that a few worlds notice."""


@pytest.mark.parametrize("name", IN_CI)
def test_a_broken_product_is_noticed_at_once(world_process: ProcessPoolExecutor, name: str) -> None:
    assert world_process.submit(caught_at, name, 50).result(300) is not None


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_noticed_within_two_thousand_worlds(world_process: ProcessPoolExecutor, name: str) -> None:
    assert world_process.submit(caught_at, name, 2000).result(1700) is not None, MUTANTS[name].what


def test_there_are_at_least_twenty_mutants() -> None:
    assert len(MUTANTS) >= 20
