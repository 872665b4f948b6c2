"""Removal of the placement group that a killed Ray Train run leaves: it would hold CPUs and GPUs until the driver ends.

Ray Train has a process that removes it, which can be killed as well, and does not know the group of a run that was just
starting. The next training would wait for its resources in vain.
"""

from __future__ import annotations

import logging

import ray
from ray.util.placement_group import PlacementGroup

from orchestration.cluster.address import through_client
from orchestration.private.ray import placement_groups_of_dead_actors

_LOG = logging.getLogger(__name__)


def free_placement_groups() -> int:
    """Remove the placement groups of this job whose makers are dead, and nobody else's. Return how many; none through
    a Ray Client, which cannot see them."""
    if through_client():
        return 0
    ids = placement_groups_of_dead_actors(ray.get_runtime_context().get_job_id())
    for identity in ids:
        _LOG.info("placement group %s outlived its maker", identity.hex())
        ray.util.remove_placement_group(PlacementGroup(ray.PlacementGroupID(identity)))
    return len(ids)
