"""Node types come from the file of `ray up`; nodes that live are taken off what can still come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.cluster.capacity import NodeSize
from orchestration.cluster.node_types import NodeType, NodeTypes
from orchestration.config.workers import WorkersConfig

SMALL, LARGE = NodeSize(8, 1), NodeSize(96, 8)
TYPES = NodeTypes((NodeType("small", SMALL, 3), NodeType("large", LARGE, 2)), 4)
GPUS = WorkersConfig(use_gpu=True)


def file(**more: Any) -> dict[str, Any]:
    head = {"resources": {"CPU": 4}, "node_config": {}}
    return {"max_workers": 4, "head_node_type": "head", "available_node_types": {"head": head, **more}}


def test_the_shipped_file_has_the_nodes_that_it_says() -> None:
    path = Path(__file__).parents[3] / "ray_cluster.yaml"
    assert NodeTypes.of(yaml.safe_load(path.read_text())) == NodeTypes((NodeType("gpu_worker", LARGE, 4),), 4)


def test_a_type_without_a_limit_of_its_own_has_the_clusters() -> None:
    (kind,) = NodeTypes.of(file(gpu={"resources": {"CPU": 8, "GPU": 1}})).types
    assert kind == NodeType("gpu", SMALL, 4)


def test_a_head_counts_only_if_more_of_its_kind_can_come() -> None:
    assert NodeTypes.of(file()).types == ()
    config = file()
    config["available_node_types"]["head"]["max_workers"] = 2
    assert NodeTypes.of(config).types == (NodeType("head", NodeSize(4), 2),)


def test_a_type_of_which_nothing_is_known_is_not_counted_on() -> None:
    assert NodeTypes.of(file(unknown={"node_config": {}}, none={"resources": {"memory": 1}})).types == ()


@pytest.mark.parametrize("config", [{}, {"head_node_type": "head"}, file(gpu=None), file(gpu={"max_workers": "many"})])
def test_another_kind_of_file_raises_what_its_reader_expects(config: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        NodeTypes.of(config)


def test_nodes_that_hold_most_workers_come_first_within_both_limits() -> None:
    assert TYPES.can_come([], GPUS) == (LARGE, LARGE, SMALL, SMALL)


def test_nodes_with_gpus_are_left_alone_by_work_that_uses_none() -> None:
    types = NodeTypes((*TYPES.types, NodeType("cpus", NodeSize(16), 1)), 4)
    assert types.can_come([], WorkersConfig()) == (NodeSize(16),)
    assert types.can_come([], WorkersConfig(gpus_per_evaluator=0.5))[0] == LARGE


def test_nodes_that_live_are_taken_off_their_type_and_the_whole() -> None:
    assert TYPES.can_come([LARGE], GPUS) == (LARGE, SMALL, SMALL)
    assert TYPES.can_come([SMALL, SMALL, SMALL], GPUS) == (LARGE,)
    assert TYPES.can_come([NodeSize(2)] * 3, GPUS) == (LARGE,)  # of no known type: only one more in all
    assert TYPES.can_come([LARGE, LARGE, SMALL, SMALL, SMALL], GPUS) == ()
