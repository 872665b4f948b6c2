"""Removal of the placement group that a killed Ray Train run leaves: it would hold CPUs and GPUs until the driver ends.

Ray Train has a process that removes it, which can be killed as well, and does not know the group of a run that was just
starting. The next training would wait for its resources in vain.
"""

from __future__ import annotations

import logging

import ray
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util.placement_group import PlacementGroup

from orchestration.cluster.address import through_client

_LOG = logging.getLogger(__name__)


def free_placement_groups() -> int:
    """Remove the placement groups of this job whose makers are dead, and nobody else's. Return how many; none through
    a Ray Client, which cannot see them."""
    if through_client():
        return 0
    # Ray's public table says neither whose a group is nor what became of its maker.
    accessor = ray._private.state.state._connect_and_get_accessor()  # noqa: SLF001
    job, num_freed = ray.get_runtime_context().get_job_id(), 0
    for serialized in accessor.get_placement_group_table():
        group = PlacementGroupTableData.FromString(serialized)
        is_ours = group.creator_job_id.hex() == job and not group.is_detached
        if is_ours and group.creator_actor_dead and group.state != PlacementGroupTableData.REMOVED:
            _LOG.info("placement group %s outlived its maker", group.placement_group_id.hex())
            ray.util.remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
            num_freed += 1
    return num_freed
