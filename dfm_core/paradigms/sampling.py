"""Sampling of all paradigms: noise, the guided velocity, the solver, the watcher, shared steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.flow.schedules import StageSchedule, sampling_legs
from dfm_core.flow.solvers import SolverStep, Times, solve
from dfm_core.paradigms.base import Batch, LossResult, SampleProgress, SampleResult, SampleWatcher, VelocityPredictor
from dfm_core.paradigms.draws import Draws
from dfm_core.paradigms.guided_field import GuidedField
from dfm_core.paradigms.shared_steps import PointSteps, SharedSteps
from dfm_core.seeding import normal

Preview = Callable[[SolverStep], Tensor]
"""The images that a paradigm would show after a solver step, at the side of the scale that moves."""


class Sampler:
    """One call of `Paradigm.sample` on its way from noise to images, leg by leg; float64 throughout.

    Args: those of `Paradigm.sample`. legs: the schedules to come, for the watcher's count of steps.
    """

    def __init__(
        self,
        model: VelocityPredictor,
        labels: Tensor,
        indices: Sequence[int],
        seed: int,
        sampling: SamplingConfig,
        legs: Sequence[StageSchedule],
        watcher: SampleWatcher | None,
        shared: PointSteps | None = None,
    ) -> None:
        self.legs, self.sampling = tuple(legs), sampling
        assert shared is None or shared.follows(sampling, legs), "these are the shared steps of another sampling"
        self._field = GuidedField(model, labels, sampling)
        self._shapes, self._indices, self._seed = model.scale_shapes, indices, seed
        self._device, self._solver, self._watcher, self._shared = labels.device, sampling.solver, watcher, shared
        self._num_saved = 0

    def start(self) -> list[Tensor]:
        """Return independent noise for every scale."""
        return [self.noise(f"sample_noise/{s}", s) for s in range(len(self._shapes))]

    def noise(self, stream: str, scale: int) -> Tensor:
        """Return standard normal noise of a scale's shape, [B, *scale_shapes[scale]] float64."""
        return normal(self._seed, stream, self._indices, self._shapes[scale]).to(self._device).double()

    @torch.no_grad()
    def follow(
        self,
        state: Sequence[Tensor],
        leg: int,
        preview: Preview,
        network_times: Callable[[Times], Times] | None = None,
    ) -> list[Tensor]:
        """Return the state after a leg, in a list that the caller may change.

        Args: preview: for the watcher. network_times: from the schedule's timesteps to those that the network is
            given; None: they are the same.
        """
        counts = [schedule.num_steps for schedule in self.legs]
        before, total = sum(counts[:leg]), sum(counts)
        first_step, state = self._resume(leg, state)

        def field(scales: Sequence[Tensor], times: Times, moving: range) -> list[Tensor]:
            return self._field(scales, times if network_times is None else network_times(times), moving)

        def report(step: SolverStep) -> None:
            if self._shared is not None:
                self._shared.passed(leg, step.n, step.state, self._num_evaluations)
            if self._watcher is not None:
                progress = (before + step.n, total, step.ends_stage, step.state)
                self._watcher(SampleProgress(*progress, lambda: preview(step).float()))

        end = solve(field, state, self.legs[leg], self._solver, report, first_step)
        return list(end)  # the watcher keeps its own

    def result(self, images: Tensor) -> SampleResult:
        """Return images in the data's range, [B, C, (T,) H, W]."""
        if self._shared is not None:
            self._shared.finish(self._field.num_calls, self._field.num_evaluations)
        return SampleResult(images.float(), self._num_evaluations)

    @property
    def _num_evaluations(self) -> int:
        """Evaluations per image so far, as if all steps had been made here."""
        return self._num_saved + self._field.num_evaluations

    def _resume(self, leg: int, start: Sequence[Tensor]) -> tuple[int, Sequence[Tensor]]:
        """(steps of a leg that are already made, the state after them)."""
        saved = None if self._shared is None else self._shared.resume(leg)
        if saved is None:
            return 0, start
        self._num_saved = saved.num_evaluations  # of all legs up to here: nothing is made before the last state is met
        return saved.num_steps, saved.scales


class Paradigm(ABC):
    """A way to train and sample a velocity model: a subclass adds the loss and follows its own schedules."""

    config: ExperimentConfig

    @abstractmethod
    def draw(self, indices: Sequence[int], sample_shape: tuple[int, ...]) -> Draws:
        """Return the random draws of a batch's loss, on the host; may be called by several threads.

        Args: indices: global sample indices, [B]. sample_shape: of one image or video, (C, (T,) H, W).
        """

    @abstractmethod
    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        """Return the training loss; its random draws depend on (seed, global sample index) alone."""

    def draws_of(self, batch: Batch) -> Draws:
        """Return the draws of a batch on its device: those made ahead, else new ones."""
        return batch.draws or self.draw(batch.indices, tuple(batch.images.shape[1:])).to(batch.images.device)

    @abstractmethod
    def generate(self, sampler: Sampler) -> Tensor:
        """Return images, [B, C, (T,) H, W], from the sampler's noise along all its legs."""

    def legs(self, sampling: SamplingConfig) -> tuple[StageSchedule, ...]:
        """Return the schedules that `generate` follows one after the other."""
        return sampling_legs(self.config, sampling)

    def sample(
        self,
        model: VelocityPredictor,
        labels: Tensor,
        indices: Sequence[int],
        seed: int,
        sampling: SamplingConfig,
        watcher: SampleWatcher | None = None,
        shared: PointSteps | None = None,
    ) -> SampleResult:
        """Return images of the given classes.

        Args: labels: [B] int64. indices: global sample index of each image, which keys its noise. seed: of the noise.
            watcher: called after every solver step. shared: the steps that this sampling has in common with others of
            the same batch (`sample_points`); it changes no bit of the result, and a watcher sees only the steps that
            are made here, numbered as if it had seen all.
        """
        sampler = Sampler(model, labels, indices, seed, sampling, self.legs(sampling), watcher, shared)
        return sampler.result(self.generate(sampler))

    def sample_points(
        self, model: VelocityPredictor, labels: Tensor, indices: Sequence[int], seed: int, shared: SharedSteps
    ) -> Iterator[tuple[int, SampleResult]]:
        """Yield images of one batch at every sampling of a tree, bit for bit those of `sample` at each alone
        (numerics 4.4).

            tree = StepTree.of(config, samplings)  # once; every batch has a SharedSteps of its own
            shared = SharedSteps(tree)
            for point, result in paradigm.sample_points(model, labels, indices, seed, shared):
                ...  # of samplings[point]
            shared.num_calls, shared.num_evaluations  # what was really made

        Args: labels, indices, seed: as `sample`. shared: new, of the tree of the paradigm's config and the samplings.
        Yields: (index of the sampling, its images), in the order of the tree. A point is sampled only when it is asked
            for, so the images of the one before may be dropped by then.
        Raises: AssertionError if `shared` has served another batch.
        """
        for point in shared.points():
            yield point.index, self.sample(model, labels, indices, seed, point.sampling, shared=point)
