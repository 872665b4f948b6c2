"""States that the points of a sampling sweep hand on to each other, for one batch (numerics 4.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from dfm_core.config import SamplingConfig
from dfm_core.flow.schedules import StageSchedule
from dfm_core.flow.step_tree import StepTree


@dataclass(frozen=True)
class SavedState:
    """State from which a later point continues."""

    num_steps: int
    """Steps made of the leg that the state lies in; all of them at its end."""
    scales: tuple[Tensor, ...]
    """State of every scale, [B, *scale_shapes[s]] float64."""
    num_evaluations: int
    """Network evaluations that an image which is sampled alone has cost up to here."""


class SharedSteps:
    """The states of one batch that later points start from, and the count of what was really made.

    A state is kept only if a later point starts from it, and dropped when the last one does. Every batch needs a new
    one, all of whose points are sampled with the same model, labels, sample indices and seed.
    """

    def __init__(self, tree: StepTree) -> None:
        self.tree = tree
        self.num_calls = 0
        """Calls of the network made so far, over all points; `tree.num_calls` in the end."""
        self.num_evaluations = 0
        """Network evaluations per image of each point made so far; `tree.num_evaluations` in the end."""
        self._states: dict[int, SavedState] = {}
        self._uses_to_come = Counter(
            path[num_steps - 1]
            for point, counts in enumerate(tree.num_shared)
            for path, num_steps in zip(tree.paths[point], counts, strict=True)
            if num_steps > 0
        )
        self._is_used = False

    def points(self) -> Iterator[PointSteps]:
        """Yield every point once, in the order in which they must be sampled.

        Raises: AssertionError on a second pass: the states of the first are gone.
        """
        assert not self._is_used, "every batch needs a SharedSteps of its own"
        self._is_used = True
        for point in self.tree.order:
            yield PointSteps(self, point)

    def take(self, node: int) -> SavedState:
        """Return the state after a step of the tree, which an earlier point has made.

        Raises: AssertionError if it is not there.
        """
        assert node in self._states, "points must be sampled one after the other, in the order of `points`"
        self._uses_to_come[node] -= 1
        return self._states[node] if self._uses_to_come[node] > 0 else self._states.pop(node)

    def offer(self, node: int, state: SavedState) -> None:
        """Keeps the state after a step of the tree if a later point starts from it."""
        if self._uses_to_come[node] > 0:
            self._states[node] = state


@dataclass(frozen=True)
class PointSteps:
    """A point's part in `SharedSteps`: what `Paradigm.sample` is given to start from and to leave behind."""

    shared: SharedSteps
    index: int
    """The point's place in the tree's samplings."""

    @property
    def sampling(self) -> SamplingConfig:
        return self.shared.tree.samplings[self.index]

    def follows(self, sampling: SamplingConfig, legs: Sequence[StageSchedule]) -> bool:
        """Return True if the point's path in the tree goes along these legs."""
        tree = self.shared.tree
        path = [[(tree.steps[node].before, tree.steps[node].after) for node in leg] for leg in tree.paths[self.index]]
        return self.sampling == sampling and path == [list(pairwise(leg.times)) for leg in legs]

    def resume(self, leg: int) -> SavedState | None:
        """Return the last state in a leg that an earlier point has made; None: the leg is made from its start."""
        num_steps = self.shared.tree.num_shared[self.index][leg]
        return self.shared.take(self._node(leg, num_steps)) if num_steps > 0 else None

    def passed(self, leg: int, num_steps: int, scales: Sequence[Tensor], num_evaluations: int) -> None:
        """Offers the state after some steps of a leg to later points; arguments as the fields of `SavedState`."""
        self.shared.offer(self._node(leg, num_steps), SavedState(num_steps, tuple(scales), num_evaluations))

    def finish(self, num_calls: int, num_evaluations: int) -> None:
        """Adds what the network was really asked for this point."""
        self.shared.num_calls += num_calls
        self.shared.num_evaluations += num_evaluations

    def _node(self, leg: int, num_steps: int) -> int:
        return self.shared.tree.paths[self.index][leg][num_steps - 1]
