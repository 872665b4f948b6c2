"""The solver steps that several sampling settings share (numerics 4.4).

Needs no torch: planning counts network evaluations with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.flow.schedules import StageSchedule, guided_calls, sampling_legs


@dataclass(frozen=True)
class Step:
    """All that a solver step reads beside the state before it: equal steps after equal states end in equal states."""

    leg: int
    """The leg of `sampling_legs`; its network and the work between legs follow from it."""
    before: tuple[float, ...]
    """Timestep of every scale where the step starts, [S]."""
    after: tuple[float, ...]
    """Timestep of every scale where it ends, [S]."""
    moving: range
    """The scales that move; the network sees those up to the last of them."""
    guided: tuple[tuple[int, ...], ...]
    """The scales that are guided at each call of the velocity; one call makes Euler's step, two make Heun's."""
    guidance: float
    """The guidance weight; 1 where no scale is guided, since it is not read there."""
    condition_noise: float | None
    """Noise that a cascade adds to its condition before the leg. The condition's timestep alone would not do: 1 - noise
    is rounded."""

    @property
    def num_evaluations(self) -> int:
        """Network evaluations per image; guidance counts twice."""
        return sum(2 if scales else 1 for scales in self.guided)


@dataclass(frozen=True)
class StepTree:
    """The unique steps of several samplings of one config, and every sampling's path over them.

    A unique step is one with all that came before it, so it stands for the state it ends in, too. A point is one of
    the samplings; equal ones are points of their own with the same path.
    """

    samplings: tuple[SamplingConfig, ...]
    """Sampling settings of each point, [P]."""
    steps: tuple[Step, ...]
    """The unique steps, each after the one that it follows."""
    paths: tuple[tuple[tuple[int, ...], ...], ...]
    """Index in `steps` of every step that a point takes, [P][leg][step of the leg]."""
    order: tuple[int, ...]
    """The points in the order to sample them in, [P]: depth first, and the branch with the fewest points first."""
    num_shared: tuple[tuple[int, ...], ...]
    """First steps of each leg that points before it in `order` have made, [P][leg]: it branches off there."""

    @classmethod
    def of(cls, config: ExperimentConfig, samplings: Sequence[SamplingConfig]) -> StepTree:
        """Return the tree of samplings of one snapshot with the same seed, labels and sample indices.

        Args: config: of the snapshot; its own sampling is not read. samplings: valid ones for it.
        """
        numbers: dict[tuple[int | None, Step], int] = {}
        paths = []
        for sampling in samplings:
            last: int | None = None
            path = []
            for leg in _steps(config, sampling):
                nodes = []
                for step in leg:
                    last = numbers.setdefault((last, step), len(numbers))
                    nodes.append(last)
                path.append(tuple(nodes))
            paths.append(tuple(path))
        order = _depth_first(paths)
        steps = tuple(step for _, step in numbers)
        return cls(tuple(samplings), steps, tuple(paths), order, _num_shared(paths, order))

    @property
    def num_calls(self) -> int:
        """Calls of the network that all points together need; guidance asks twice in one call."""
        return sum(len(step.guided) for step in self.steps)

    @property
    def num_evaluations(self) -> int:
        """Network evaluations per image of each point that all points together need; guidance counts twice."""
        return sum(step.num_evaluations for step in self.steps)


def _steps(config: ExperimentConfig, sampling: SamplingConfig) -> Iterator[Iterator[Step]]:
    """Yield the steps of every leg."""
    for leg, schedule in enumerate(sampling_legs(config, sampling)):
        noise = sampling.condition_noise if config.paradigm == "cascaded" and leg > 0 else None
        yield _steps_of_leg(leg, schedule, sampling, noise)


def _steps_of_leg(
    leg: int, schedule: StageSchedule, sampling: SamplingConfig, condition_noise: float | None
) -> Iterator[Step]:
    for n in range(schedule.num_steps):
        guided = guided_calls(schedule, n, sampling)
        weight = sampling.guidance if any(guided) else 1.0
        before, after = schedule.times[n], schedule.times[n + 1]
        yield Step(leg, before, after, schedule.moving(n), guided, weight, condition_noise)


def _depth_first(paths: Sequence[Sequence[Sequence[int]]]) -> tuple[int, ...]:
    """Return the points branch after branch.

    A state waits where paths part until the last branch starts from it. The branch with the most points comes last:
    all others have at most half of the points, so no more than log2 P such states ever wait at once.
    """
    flat = [list(chain.from_iterable(path)) for path in paths]
    num_points = Counter(chain.from_iterable(flat))
    return tuple(sorted(range(len(flat)), key=lambda point: [(num_points[node], node) for node in flat[point]]))


def _num_shared(paths: Sequence[Sequence[Sequence[int]]], order: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    made: set[int] = set()
    counts: dict[int, tuple[int, ...]] = {}
    for point in order:
        # Whoever made a step made those before it, so what is made of a leg is its beginning.
        counts[point] = tuple(sum(node in made for node in leg) for leg in paths[point])
        made.update(chain.from_iterable(paths[point]))
    return tuple(counts[point] for point in range(len(paths)))
