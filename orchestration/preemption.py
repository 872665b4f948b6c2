"""The notice that a training's node is about to be taken away, as Ray Train tells its workers."""

from __future__ import annotations

from ray.train.v2._internal.execution.context import get_train_context


class PreemptedError(Exception):
    """Ends this attempt at a checkpoint, so that the next begins at once, elsewhere."""


def is_noticed() -> bool:
    """Whether a node of this worker's training is to be taken away.

    Ray's public `ray.train.get_preemption_info` asks through an actor, together with all workers, which is too slow for
    every point of a curve; this is what it asks for, in this process.
    """
    return get_train_context().preemption_context.preemption_info is not None
