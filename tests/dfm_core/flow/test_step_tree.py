"""Which solver steps samplings share, against prefixes that are compared one by one (numerics 4.4)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import log2

import pytest

from dfm_core.compute import model_cost, num_evaluations, sampling_flops, shared_sampling_flops
from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.flow.schedules import guided_scales, sampling_legs
from dfm_core.flow.step_tree import StepTree
from tests.support.models import (
    SHAPE,
    THREE_SCALES,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
    with_values,
)

CONFIGS = {
    "flow_matching": tiny_flow_matching(),
    "S2": tiny_dfm(),
    "S3": tiny_dfm(THREE_SCALES),
    "tied": tiny_dfm({"training.timesteps": "tied"}),
    "cascade": tiny_cascade(None),
    "pyramid": tiny_pyramidal_flow(),
}
LATER_STEPS = [SamplingConfig((30, count), (0.7,)) for count in (5, 10, 15, 20, 25)]
Prefix = tuple[object, ...]


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> ExperimentConfig:
    return CONFIGS[request.param]


def random_samplings(config: ExperimentConfig, seed: int, count: int = 14) -> list[SamplingConfig]:
    """Settings that a config allows, from so few values that they share much and some are equal."""
    draw, pyramid = random.Random(seed), config.paradigm == "pyramidal_flow"
    stages = config.num_stages
    return [
        SamplingConfig(
            steps=tuple(draw.choice((1, 3)) for _ in range(stages)),
            tau=tuple(draw.choice((0.6, 1.0)) for _ in range(stages - 1)) if config.paradigm == "dfm" else (),
            guidance=draw.choice((1.0, 2.0, 3.0)),
            guidance_interval=(0.0, 1.0) if pyramid else draw.choice(((0.0, 1.0), (0.5, 0.9), (0.95, 0.96))),
            solver=draw.choice(("euler", "heun")),
            time_shift=1.0 if pyramid else draw.choice((1.0, 1.0, 2.0)),
            condition_noise=draw.choice((0.0, 0.025)),
        )
        for _ in range(count)
    ]


def prefixes(config: ExperimentConfig, sampling: SamplingConfig) -> list[Prefix]:
    """What every state of a sampling depends on, written down in full: all that happened before it."""
    found, history = [], ()
    for leg, schedule in enumerate(sampling_legs(config, sampling)):
        history = (*history, ("leg", sampling.condition_noise if leg and config.paradigm == "cascaded" else None))
        for n in range(schedule.num_steps):
            moving, ends = schedule.moving(n), schedule.times[n : n + 2]
            is_heun = sampling.solver == "heun" and ends[1][moving.stop - 1] != 1.0
            calls = [
                (times, [(scale, sampling.guidance) for scale in guided_scales(times, moving, sampling)])
                for times in ends[: 1 + is_heun]
            ]
            history = (*history, (repr(calls), ends, moving.start, moving.stop, sum(1 + bool(g) for _, g in calls)))
            found.append(history)
    return found


def shared_beginning(path: Sequence[Prefix], others: Sequence[Sequence[Prefix]]) -> int:
    made = {prefix for other in others for prefix in other}
    return sum(prefix in made for prefix in path)


def test_a_sweep_over_the_second_stage_makes_the_first_one_once() -> None:
    tree = StepTree.of(tiny_dfm(), LATER_STEPS)
    assert tree.num_calls == tree.num_evaluations == len(tree.steps) == 30 + 75
    assert sum(sum(sampling.steps) for sampling in LATER_STEPS) == 225
    assert list(tree.num_shared) == [(0,), (30,), (30,), (30,), (30,)]


@pytest.mark.parametrize("seed", range(12))
def test_the_tree_holds_the_union_of_all_prefixes(config: ExperimentConfig, seed: int) -> None:
    samplings = random_samplings(config, seed)
    tree, paths = StepTree.of(config, samplings), [prefixes(config, sampling) for sampling in samplings]
    union = {prefix for path in paths for prefix in path}
    assert len(tree.steps) == len(union) < sum(map(len, paths))
    assert tree.num_evaluations == sum(prefix[-1][-1] for prefix in union)
    # Two steps are one in the tree exactly if all that came before them is equal.
    names = {
        (node, prefix)
        for legs, path in zip(tree.paths, paths, strict=True)
        for node, prefix in zip([node for leg in legs for node in leg], path, strict=True)
    }
    assert len(names) == len({node for node, _ in names}) == len({prefix for _, prefix in names}) == len(union)


@pytest.mark.parametrize("seed", range(12))
def test_a_point_branches_off_where_its_prefix_is_new(config: ExperimentConfig, seed: int) -> None:
    samplings = random_samplings(config, seed)
    tree, paths = StepTree.of(config, samplings), [prefixes(config, sampling) for sampling in samplings]
    assert sorted(tree.order) == list(range(len(samplings)))
    for place, point in enumerate(tree.order):
        shared = shared_beginning(paths[point], [paths[other] for other in tree.order[:place]])
        assert sum(tree.num_shared[point]) == shared
        for counts, leg in zip(tree.num_shared[point], tree.paths[point], strict=True):
            assert counts == min(len(leg), shared)
            shared -= counts


@pytest.mark.parametrize("seed", range(12))
def test_points_of_one_branch_follow_each_other_and_few_branches_are_open(config: ExperimentConfig, seed: int) -> None:
    samplings = random_samplings(config, seed, count=16)
    tree = StepTree.of(config, samplings)
    flat = [[node for leg in tree.paths[point] for node in leg] for point in tree.order]
    places = {node: [place for place, path in enumerate(flat) if node in path] for path in flat for node in path}
    assert all(found == list(range(found[0], found[-1] + 1)) for found in places.values())
    for place, path in enumerate(flat):
        # A later point stays on the path for a while; where it leaves, a branch is open.
        last_visits = {places[node][-1] for node in path}
        assert len(last_visits - {place}) <= log2(len(samplings))


def test_one_sampling_shares_nothing_and_its_equals_share_everything(config: ExperimentConfig) -> None:
    alone, thrice = (StepTree.of(config, [config.sampling] * count) for count in (1, 3))
    assert alone.num_evaluations == thrice.num_evaluations == num_evaluations(config)
    assert alone.num_shared == (tuple(0 for _ in alone.paths[0]),)
    whole = tuple(map(len, alone.paths[0]))
    assert thrice.num_shared == (alone.num_shared[0], whole, whole)
    assert StepTree.of(config, []).num_calls == 0


def num_common(config: ExperimentConfig, first: SamplingConfig, second: SamplingConfig) -> list[int]:
    """Steps of each leg that two samplings share."""
    tree = StepTree.of(config, [first, second])
    return list(tree.num_shared[tree.order[1]])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # steps (4, 4) at tau 0.8: the first scale is at 0, 0.2, 0.4, 0.6, then with the second at 0.8, 0.85, 0.9, 0.95
        ({"tau": (0.8,)}, {"tau": (0.6,)}, 0),
        ({"time_shift": 1.0}, {"time_shift": 2.0}, 0),
        ({"solver": "euler"}, {"solver": "heun"}, 0),
        ({"guidance": 1.0}, {"guidance": 2.0}, 0),
        ({"guidance": 1.0}, {"guidance": 2.0, "guidance_interval": (0.5, 1.0)}, 3),
        ({"guidance": 3.0}, {"guidance": 2.0}, 0),
        (
            {"guidance": 3.0, "guidance_interval": (0.5, 1.0)},
            {"guidance": 2.0, "guidance_interval": (0.5, 1.0)},
            3,
        ),
        (  # Heun's third step ends at 0.6, where it is guided already
            {"guidance": 3.0, "guidance_interval": (0.5, 1.0), "solver": "heun"},
            {"guidance": 2.0, "guidance_interval": (0.5, 1.0), "solver": "heun"},
            2,
        ),
        ({"guidance": 2.0}, {"guidance": 2.0, "guidance_interval": (0.0, 0.5)}, 3),
        ({"guidance": 1.0}, {"guidance": 2.0, "guidance_interval": (0.97, 0.99)}, 8),
        ({"condition_noise": 0.0}, {"condition_noise": 0.5}, 8),
    ],
)
def test_a_setting_parts_two_samplings_at_the_first_step_that_reads_it(
    first: dict[str, object], second: dict[str, object], expected: int
) -> None:
    base = SamplingConfig((4, 4), (0.8,))
    assert num_common(tiny_dfm(), replace(base, **first), replace(base, **second)) == [expected]


def test_scales_on_one_grid_share_whatever_the_split_of_the_steps() -> None:
    # tied timesteps read the sum of the steps alone
    first, second = SamplingConfig((3, 2), (0.7,)), SamplingConfig((2, 3), (0.6,))
    assert num_common(CONFIGS["tied"], first, second) == [5]
    assert num_common(tiny_dfm(), first, second) == [0]


# 1 - 1e-17 is 1 in float64: the timestep of the condition is that of no noise.
@pytest.mark.parametrize("noise", [0.5, 1e-17])
def test_cascades_with_other_noise_on_the_condition_share_the_first_network_only(noise: float) -> None:
    first, second = (SamplingConfig((4, 3), (), condition_noise=value) for value in (0.0, noise))
    assert num_common(tiny_cascade(None), first, second) == [4, 0]


def test_stages_one_after_the_other_share_all_before_the_first_that_differs() -> None:
    config = with_values(tiny_pyramidal_flow(), THREE_SCALES)
    first, second = SamplingConfig((2, 3, 2), ()), SamplingConfig((2, 3, 4), ())
    assert num_common(config, first, second) == [2, 3, 0]  # step 1 of 2 ends at 0.999, of 4 at 0.333
    assert num_common(config, first, SamplingConfig((2, 4, 2), ())) == [2, 0, 0]


def test_the_branch_with_most_points_comes_last() -> None:
    # Intervals that begin later and later leave the unguided path one by one.
    begins = (0.9, 0.7, 0.5, 0.3)
    samplings = [SamplingConfig((10,), (), guidance=2.0, guidance_interval=(begin, 1.0)) for begin in begins]
    assert StepTree.of(tiny_flow_matching(), samplings).order == (3, 2, 0, 1)


def test_the_flops_of_one_point_are_those_of_sampling_and_equal_points_cost_no_more(config: ExperimentConfig) -> None:
    cost, alone = model_cost(config, SHAPE), [config.sampling]
    for count in (1, 2):
        assert shared_sampling_flops(config, cost, alone * count, 7) == sampling_flops(config, cost, 7)


def test_the_flops_of_a_sweep_are_those_of_its_unique_steps() -> None:
    per_stage = {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)}
    config = tiny_dfm({**per_stage, "training.timesteps": "independent"})
    cost = model_cost(config, SHAPE)
    coarse, fine = cost.stage_macs
    assert coarse < fine
    assert shared_sampling_flops(config, cost, LATER_STEPS, 3) == 3 * 2 * (30 * coarse + 75 * fine)
    guided = [replace(sampling, guidance=2.0) for sampling in LATER_STEPS]
    assert shared_sampling_flops(config, cost, guided, 3) == 3 * 2 * 2 * (30 * coarse + 75 * fine)
