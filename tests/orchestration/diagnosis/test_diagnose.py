"""The doctor names the nodes that an autoscaler can add, and is silent where there is none."""

from __future__ import annotations

import pytest

from orchestration.cluster.capacity import NodeSize
from orchestration.cluster.node_types import NodeType, NodeTypes
from orchestration.diagnosis import diagnose
from orchestration.diagnosis.check_report import CheckResult


def test_nodes_that_can_be_added_are_a_row_each(monkeypatch: pytest.MonkeyPatch) -> None:
    node_types = NodeTypes((NodeType("gpu_worker", NodeSize(96, 8), 4),), 4)
    monkeypatch.setattr(diagnose, "node_types_of_cluster", lambda: node_types)
    expected = CheckResult("node", "autoscaler", "ok", "can add gpu_worker: 4 nodes of 96 CPUs, 8 GPUs")
    assert list(diagnose._growth_rows()) == [expected]
    monkeypatch.setattr(diagnose, "node_types_of_cluster", lambda: None)
    assert list(diagnose._growth_rows()) == []
