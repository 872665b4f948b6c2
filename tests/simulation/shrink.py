"""Failing worlds made small by Hypothesis: fewer faults, earlier, and on a simpler cluster, that still fail."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st

from tests.simulation.outside import replaced
from tests.simulation.run import simulate
from tests.simulation.scenario import BY_CALL, KINDS, MOST_CALLS, MOST_SECONDS, SWEEPS, Fault, Scenario

_MOST_EXAMPLES = 400


def faults() -> st.SearchStrategy[Fault]:
    """Return the strategy of single faults."""
    by_call = st.sampled_from(BY_CALL).flatmap(
        lambda kind: st.builds(
            Fault, st.just(kind), st.integers(1, MOST_CALLS[kind]), st.integers(0, 3), st.integers(10, 300)
        )
    )
    by_time = st.builds(
        Fault,
        st.sampled_from([kind for kind in KINDS if kind not in BY_CALL]),
        st.integers(0, int(10 * MOST_SECONDS)),
        st.integers(0, 9),
        st.integers(5, 250),
    )
    return by_call | by_time


def scenarios() -> st.SearchStrategy[Scenario]:
    """Return the strategy of worlds."""
    return st.builds(
        Scenario,
        seed=st.integers(0, 2**32),
        sweeps=st.lists(st.sampled_from(sorted(SWEEPS)), min_size=1, max_size=3).map(tuple),
        faults=st.lists(faults(), max_size=12).map(tuple),
        conditional=st.booleans(),
        num_cpus=st.sampled_from(((2, 2), (4,), (1, 1), (2,))),
    )


def shrunk(scenario: Scenario) -> Scenario:
    """Return the smallest world, of the same seed, in which a part of the faults breaks an invariant as well."""
    count = len(scenario.faults)
    kept = st.lists(st.booleans(), min_size=count, max_size=count)

    def without(keep: list[bool]) -> Scenario:
        left = tuple(fault for fault, stays in zip(scenario.faults, keep, strict=True) if stays)
        return replace(scenario, faults=left)

    def fails(keep: list[bool]) -> bool:
        return bool(simulate(without(keep)).violation)

    options = settings(
        max_examples=_MOST_EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    with replaced():
        assert fails([True] * count), "the world fails with all of its faults"
        try:
            return without(find(kept, fails, settings=options))
        except Exception:  # noqa: BLE001  Hypothesis found no smaller one
            return scenario
