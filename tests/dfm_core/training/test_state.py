"""What training leaves on disk: shards of any number of workers, and snapshots that sample the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dfm_core.config import ExperimentConfig
from dfm_core.config.plain import as_plain
from dfm_core.models.experts import StageExperts
from dfm_core.paradigms import build_paradigm
from dfm_core.training.engine import STATE_KINDS, PlainEngine
from dfm_core.training.state import (
    SNAPSHOT_CARD,
    SnapshotCard,
    load_snapshot,
    read_state,
    shard_name,
    write_snapshot,
)
from tests.support.models import (
    SHAPE,
    paradigm_of,
    random_batch,
    random_model,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
    with_values,
)
from tests.support.state_shards import write_state_shard

STD = (0.5, 0.25)


class WorkerOf(PlainEngine):
    """One worker of several that all hold the same weights."""

    def __init__(self, config: ExperimentConfig, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(random_model(config, scale_std=STD[-config.num_stages :]), config.training)
        self.rank, self.world_size = rank, world_size
        for step in range(2):
            batch = random_batch(4, first_index=4 * step)
            self.backward(paradigm_of(config, STD[-config.num_stages :]).loss(self.model, batch).loss)
            self.step(1e-2)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_state_survives_the_disk_whatever_the_number_of_writers(world_size: int, tmp_path: Path) -> None:
    paths = [write_state_shard(WorkerOf(tiny_dfm(), rank, world_size), tmp_path) for rank in range(world_size)]
    assert [path.name for path in paths] == [shard_name(rank, world_size) for rank in range(world_size)]
    state, engine = read_state(paths), WorkerOf(tiny_dfm())
    for kind in STATE_KINDS:
        expected = dict(engine.tensors(kind))
        assert set(state[kind]) == set(expected)
        for name, tensor in expected.items():
            assert torch.equal(state[kind][name], tensor), f"{kind} {name}"
            assert state[kind][name].dtype == torch.float32


def test_workers_share_the_parameters_without_overlap(tmp_path: Path) -> None:
    keys = [set(load_file(write_state_shard(WorkerOf(tiny_dfm(), rank, 2), tmp_path))) for rank in range(2)]
    assert not keys[0] & keys[1]
    assert abs(len(keys[0]) - len(keys[1])) <= len(STATE_KINDS)


def test_the_order_of_the_shards_does_not_matter(tmp_path: Path) -> None:
    paths = [write_state_shard(WorkerOf(tiny_dfm(), rank, 2), tmp_path) for rank in range(2)]
    forwards, backwards = read_state(paths), read_state(paths[::-1])
    assert {kind: list(part) for kind, part in forwards.items()} == {
        kind: list(part) for kind, part in backwards.items()
    }


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize(
    "config",
    [tiny_dfm(), tiny_flow_matching(), tiny_pyramidal_flow({"pyramidal_flow.gamma": 0.2})],
    ids=["dfm", "flow_matching", "pyramid"],
)
def test_a_snapshot_samples_what_the_averaged_weights_sample(
    config: ExperimentConfig, standardize: bool, tmp_path: Path
) -> None:
    config = with_values(config, {"data.standardize": standardize})
    engine, std = WorkerOf(config), STD[-config.num_stages :]
    card = SnapshotCard(step=2, shape=SHAPE, scale_std=std)
    write_snapshot(engine, config, card, tmp_path)
    restored = load_snapshot(tmp_path)
    assert restored.config == config
    assert restored.card == card
    assert not restored.model.training

    labels = torch.tensor([0, 1, 2])
    paradigm = build_paradigm(restored.config, restored.decomposition, restored.card.scale_std)
    with_weights = paradigm.sample(engine.model, labels, range(3), 0, config.sampling).images
    averages = dict(engine.tensors("ema"))
    with torch.no_grad():
        for name, parameter in engine.model.named_parameters():
            parameter.copy_(averages[name])
    with_averages = paradigm.sample(engine.model, labels, range(3), 0, config.sampling).images
    sampled = paradigm.sample(restored.model, labels, range(3), 0, config.sampling).images
    assert torch.equal(sampled, with_averages)
    assert not torch.equal(sampled, with_weights)


@pytest.mark.parametrize("standardize", [False, True])
def test_snapshots_of_both_networks_of_a_cascade_sample_together(standardize: bool, tmp_path: Path) -> None:
    values = {"data.standardize": standardize, "cascade.condition_tokens": "joined"}
    restored, averaged = [], []
    for stage in (0, 1):
        config = tiny_cascade(stage, values)
        engine = WorkerOf(config)
        write_snapshot(engine, config, SnapshotCard(step=2, shape=SHAPE, scale_std=STD), tmp_path / str(stage))
        restored.append(load_snapshot(tmp_path / str(stage)))
        assert restored[-1].config == config
        averages = dict(engine.tensors("ema"))
        with torch.no_grad():
            for name, parameter in engine.model.named_parameters():
                parameter.copy_(averages[name])
        averaged.append(engine.model)
    labels, first = torch.tensor([0, 1, 2]), restored[0]
    paradigm = build_paradigm(first.config, first.decomposition, first.card.scale_std)
    images = [
        paradigm.sample(StageExperts(models), labels, range(3), 0, first.config.sampling).images
        for models in (averaged, [snapshot.model for snapshot in restored])
    ]
    assert torch.equal(*images)


def test_only_the_first_worker_writes_the_snapshot(tmp_path: Path) -> None:
    card = SnapshotCard(2, SHAPE, STD)
    assert write_snapshot(WorkerOf(tiny_dfm(), 1, 2), tiny_dfm(), card, tmp_path) == []
    assert not list(tmp_path.iterdir())
    written = write_snapshot(WorkerOf(tiny_dfm(), 0, 2), tiny_dfm(), card, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())


def test_a_snapshot_says_from_which_config_it_comes(tmp_path: Path) -> None:
    write_snapshot(WorkerOf(tiny_dfm()), tiny_dfm(), SnapshotCard(2, SHAPE, STD), tmp_path)
    (content,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert content["config"] == json.loads(json.dumps(as_plain(tiny_dfm())))


def test_a_snapshot_of_another_architecture_is_refused(tmp_path: Path) -> None:
    other = with_values(tiny_dfm(), {"model.stage_embedding": False})
    write_snapshot(WorkerOf(tiny_dfm()), other, SnapshotCard(2, SHAPE, STD), tmp_path)
    with pytest.raises(ValueError, match=r"Unexpected key.*stage_table"):
        load_snapshot(tmp_path)


def test_a_snapshot_with_settings_that_this_version_lacks_is_refused(tmp_path: Path) -> None:
    write_snapshot(WorkerOf(tiny_dfm()), tiny_dfm(), SnapshotCard(2, SHAPE, STD), tmp_path)
    content = json.loads((tmp_path / SNAPSHOT_CARD).read_text())
    content["config"]["model"]["colour"] = "red"
    (tmp_path / SNAPSHOT_CARD).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="ModelConfig has no colour; it was written by another version"):
        load_snapshot(tmp_path)
