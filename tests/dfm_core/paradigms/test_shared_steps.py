"""Sampling sweeps that make their common steps once: no bit changes, and no step is made twice (numerics 4.4)."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from math import log2

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dfm_core.compute import model_cost, shared_sampling_flops
from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.flow.step_tree import StepTree
from dfm_core.models.dit import DiT
from dfm_core.paradigms.base import SampleProgress, SampleResult, VelocityPredictor
from dfm_core.paradigms.shared_steps import SavedState, SharedSteps
from tests.dfm_core.flow.test_step_tree import LATER_STEPS, random_samplings
from tests.support.models import (
    SAMPLED,
    SHAPE,
    FormulaModel,
    paradigm_of,
    random_sampler,
    tiny_dfm,
    tiny_flow_matching,
    with_values,
)

LABELS, SEED = torch.tensor([0, 2, 1]), 5


@pytest.fixture(params=SAMPLED)
def config(request: pytest.FixtureRequest) -> ExperimentConfig:
    return SAMPLED[request.param]


def sweep(config: ExperimentConfig) -> list[SamplingConfig]:
    """Points that part early, late and never; the first is the config's own, in which some stages have 3 steps."""
    base, pyramid = config.sampling, config.paradigm == "pyramidal_flow"
    longer = replace(base, steps=(*base.steps[:-1], base.steps[-1] + 3))
    late = [] if pyramid else [replace(base, guidance=w, guidance_interval=(0.5, 0.9)) for w in (2.0, 3.0)]
    shifted = [] if pyramid else [replace(base, time_shift=2.0)]
    euler = [base, longer, replace(base, guidance=2.0), *late, *shifted, replace(base, condition_noise=0.25), base]
    return [*euler, *(replace(sampling, solver="heun") for sampling in euler)]


def formula(config: ExperimentConfig) -> FormulaModel:
    """A velocity that reads all it is given, and costs nothing."""

    def velocity(scales: Sequence[Tensor], t: Tensor, mask: Tensor, labels: Tensor) -> list[Tensor]:
        known = (t * mask).sum(dim=1) + 0.1 * labels
        means = sum(x.flatten(1).mean(dim=1) * mask[:, s] for s, x in enumerate(scales))
        return [torch.sin(x * (1 + s) + (known + means)[:, None, None, None]) - x for s, x in enumerate(scales)]

    return FormulaModel(velocity, random_sampler(config).scale_shapes)


def alone(config: ExperimentConfig, model: VelocityPredictor, sampling: SamplingConfig) -> SampleResult:
    return paradigm_of(config).sample(model, LABELS, range(3), SEED, sampling)


def together(config: ExperimentConfig, model: VelocityPredictor, shared: SharedSteps) -> dict[int, SampleResult]:
    return dict(paradigm_of(config).sample_points(model, LABELS, range(3), SEED, shared))


def test_a_sweep_over_the_second_stage_calls_the_network_105_times_and_not_225() -> None:
    config = tiny_dfm()
    model, shared = formula(config), SharedSteps(StepTree.of(config, LATER_STEPS))
    results = together(config, model, shared)
    assert len(model.calls) == shared.num_calls == shared.num_evaluations == shared.tree.num_calls == 105
    model.calls.clear()
    for point, sampling in enumerate(LATER_STEPS):
        assert torch.equal(alone(config, model, sampling).images, results[point].images)
    assert len(model.calls) == 225


def test_sharing_changes_no_bit_of_any_point_and_makes_every_unique_step_once(config: ExperimentConfig) -> None:
    model, samplings, rows = random_sampler(config), sweep(config), []
    expected = [alone(config, model, sampling) for sampling in samplings]
    for network in (module for module in model.modules() if isinstance(module, DiT)):
        network.register_forward_hook(lambda _m, args, _o: rows.append(args[1].shape[0]))
    shared = SharedSteps(StepTree.of(config, samplings))
    results = together(config, model, shared)
    for point, result in enumerate(expected):
        assert torch.equal(results[point].images, result.images)
        assert results[point].num_evaluations == result.num_evaluations
    assert len(rows) == shared.num_calls == shared.tree.num_calls
    assert sum(rows) / 3 == shared.num_evaluations == shared.tree.num_evaluations
    assert shared.num_evaluations < sum(result.num_evaluations for result in expected)
    assert len(shared._states) == 0


@pytest.mark.parametrize("seed", range(8))
def test_any_list_of_points_makes_the_union_of_its_steps(config: ExperimentConfig, seed: int) -> None:
    model, samplings = formula(config), random_samplings(config, seed)
    expected = [alone(config, model, sampling) for sampling in samplings]
    model.calls.clear()
    shared = SharedSteps(StepTree.of(config, samplings))
    results = together(config, model, shared)
    for point, result in enumerate(expected):
        assert torch.equal(results[point].images, result.images)
        assert results[point].num_evaluations == result.num_evaluations
    assert len(model.calls) == shared.num_calls == shared.tree.num_calls
    rows = sum(labels.shape[0] for _, _, _, labels in model.calls)
    assert rows / 3 == shared.num_evaluations == shared.tree.num_evaluations


@pytest.mark.parametrize("seed", range(8))
def test_few_states_are_alive_and_none_at_the_end(config: ExperimentConfig, seed: int) -> None:
    samplings, kept, counts = random_samplings(config, seed, count=16), [], []

    class Observed(SharedSteps):
        def offer(self, node: int, state: SavedState) -> None:
            super().offer(node, state)
            kept.append(weakref.ref(state))
            counts.append(len(self._states))

    tree = StepTree.of(config, samplings)
    shared = Observed(tree)
    for _ in paradigm_of(config).sample_points(formula(config), LABELS, range(3), SEED, shared):
        pass
    gc.collect()
    assert len(shared._states) == 0
    assert all(state() is None for state in kept)
    # The states of open branches, and the end of each leg that later points go through.
    assert 0 < max(counts) <= log2(len(samplings)) + len(tree.paths[0])


def test_points_that_leave_a_path_one_by_one_need_one_state() -> None:
    config = tiny_flow_matching()
    samplings = [
        SamplingConfig((10,), (), guidance=2.0, guidance_interval=(begin / 10, 1.0)) for begin in (9, 3, 1, 7, 5)
    ]
    shared, model, counts = SharedSteps(StepTree.of(config, samplings)), formula(config), []
    observed = FormulaModel(lambda *given: counts.append(len(shared._states)) or model(*given), model.scale_shapes)
    together(config, observed, shared)
    assert max(counts) == 1


def test_a_point_is_sampled_when_it_is_asked_for() -> None:
    config = tiny_dfm()
    model, shared = formula(config), SharedSteps(StepTree.of(config, LATER_STEPS))
    points = paradigm_of(config).sample_points(model, LABELS, range(3), SEED, shared)
    assert len(model.calls) == 0
    assert next(points)[0] == 0
    assert (len(model.calls), len(shared._states)) == (35, 1)
    assert next(points)[0] == 1
    assert len(model.calls) == 45


def test_batches_with_shared_steps_of_their_own_are_those_of_sampling_alone(config: ExperimentConfig) -> None:
    model, samplings = random_sampler(config), sweep(config)[:4]
    tree, paradigm = StepTree.of(config, samplings), paradigm_of(config)
    for rows in (slice(0, 2), slice(2, 3)):
        for point, result in paradigm.sample_points(model, LABELS[rows], range(3)[rows], SEED, SharedSteps(tree)):
            expected = paradigm.sample(model, LABELS[rows], range(3)[rows], SEED, samplings[point])
            assert torch.equal(result.images, expected.images)


def test_a_watcher_sees_the_steps_that_are_made_and_their_own_numbers(config: ExperimentConfig) -> None:
    base = config.sampling
    samplings = [base, replace(base, steps=(*base.steps[:-1], base.steps[-1] + 3))]
    model, paradigm = formula(config), paradigm_of(config)
    tree = StepTree.of(config, samplings)
    for point in SharedSteps(tree).points():
        whole: list[SampleProgress] = []
        seen: list[SampleProgress] = []
        paradigm.sample(model, LABELS, range(3), SEED, point.sampling, whole.append)
        paradigm.sample(model, LABELS, range(3), SEED, point.sampling, seen.append, shared=point)
        missed, total = sum(tree.num_shared[point.index]), sum(point.sampling.steps)
        assert [(p.step, p.num_steps) for p in seen] == [(n + 1, total) for n in range(missed, total)]
        for made, expected in zip(seen, whole[missed:], strict=True):
            assert torch.equal(made.preview(), expected.preview())


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("paradigm", ["S2", "cascade", "pyramid"])
def test_the_planned_flops_are_those_of_the_steps_that_are_made(paradigm: str, guidance: float) -> None:
    config = with_values(SAMPLED[paradigm], {"sampling.guidance": guidance})
    samplings = sweep(config)
    model, shared = random_sampler(config), SharedSteps(StepTree.of(config, samplings))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        together(config, model, shared)
    planned = shared_sampling_flops(config, model_cost(config, SHAPE), samplings, 3)
    assert counter.get_total_flops() == pytest.approx(planned, rel=0.01)


def test_shared_steps_serve_one_batch() -> None:
    config = tiny_dfm()
    model, shared = formula(config), SharedSteps(StepTree.of(config, LATER_STEPS[:2]))
    together(config, model, shared)
    with pytest.raises(AssertionError, match="a SharedSteps of its own"):
        together(config, model, shared)


def test_points_out_of_order_are_refused() -> None:
    config = tiny_dfm()
    _, second = SharedSteps(StepTree.of(config, LATER_STEPS[:2])).points()
    with pytest.raises(AssertionError, match="in the order of `points`"):
        paradigm_of(config).sample(formula(config), LABELS, range(3), SEED, second.sampling, shared=second)


def test_the_shared_steps_of_another_sampling_or_config_are_refused() -> None:
    config, tied = tiny_dfm(), SAMPLED["tied"]
    for tree, sampling in (
        (StepTree.of(config, LATER_STEPS[:1]), LATER_STEPS[1]),
        (StepTree.of(tied, LATER_STEPS[:1]), LATER_STEPS[0]),
    ):
        (point,) = SharedSteps(tree).points()
        with pytest.raises(AssertionError, match="shared steps of another sampling"):
            paradigm_of(config).sample(formula(config), LABELS, range(3), SEED, sampling, shared=point)
