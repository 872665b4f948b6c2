"""Models with initial weights, and snapshots that sample the same, whole and in pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dfm_core.config import ExperimentConfig
from dfm_core.config.plain import as_plain
from dfm_core.models.empty_weights import give_weights
from dfm_core.models.experts import StageExperts
from dfm_core.paradigms import build_paradigm
from dfm_core.training.engine import PlainEngine
from dfm_core.training.piece_index import MANIFEST
from dfm_core.training.pieces import write_pieces
from dfm_core.training.state import (
    SNAPSHOT_CARD,
    SnapshotCard,
    build_model,
    empty_model,
    initialize_model,
    load_snapshot,
    write_card,
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


def test_a_snapshot_in_pieces_is_the_one_that_is_whole(tmp_path: Path) -> None:
    engine, config = WorkerOf(tiny_dfm()), tiny_dfm()
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    written = write_snapshot(engine, config, SnapshotCard(2, SHAPE, STD), whole)
    assert sorted(written) == sorted(whole.iterdir())
    pieces.mkdir()
    write_card(config, SnapshotCard(2, SHAPE, STD), pieces, None)
    index = write_pieces({"ema": list(engine.pieces("ema"))}, pieces / "ema-00000-of-00001.attempt.safetensors")
    (pieces / MANIFEST).write_text(json.dumps({"files": [], "about": {"pieces": index}}))
    one, other = load_snapshot(whole), load_snapshot(pieces)
    assert (one.config, one.card) == (other.config, other.card)
    for (name, weight), (_, same) in zip(one.model.state_dict().items(), other.model.state_dict().items(), strict=True):
        assert torch.equal(weight, same), name
    for name, buffer in one.model.named_buffers():
        assert torch.equal(buffer, dict(other.model.named_buffers())[name]), name


def test_a_damaged_snapshot_in_pieces_is_refused(tmp_path: Path) -> None:
    engine, config = WorkerOf(tiny_dfm()), tiny_dfm()
    write_card(config, SnapshotCard(2, SHAPE, STD), tmp_path, None)
    path = tmp_path / "ema-00000-of-00001.attempt.safetensors"
    index = write_pieces({"ema": list(engine.pieces("ema"))}, path)
    (tmp_path / MANIFEST).write_text(json.dumps({"files": [], "about": {"pieces": index}}))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged, .*: ema-00000-of-00001.* are not what its index says"):
        load_snapshot(tmp_path)


def test_a_model_that_gets_its_weights_later_begins_with_the_same() -> None:
    one, other = build_model(tiny_dfm(), SHAPE, STD), empty_model(tiny_dfm(), SHAPE, STD)
    assert all(weight.is_meta for weight in other.parameters())
    assert not any(buffer.is_meta for buffer in other.buffers())
    give_weights(other, torch.device("cpu"))
    initialize_model(other, tiny_dfm())
    assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


@pytest.mark.parametrize("values", [{}, {"model.backbone": "tokenformer"}, {"model.lora_rank": 2}], ids=str)
def test_weights_on_another_device_are_drawn_from_the_same_bits(values: dict[str, Any]) -> None:
    config, states = tiny_dfm(values), []
    for model in (build_model(config, SHAPE, STD), empty_model(config, SHAPE, STD)):
        generator = torch.Generator().manual_seed(0)
        model.network.reset_parameters(generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


def test_a_snapshot_says_from_which_config_it_comes(tmp_path: Path) -> None:
    write_snapshot(WorkerOf(tiny_dfm()), tiny_dfm(), SnapshotCard(2, SHAPE, STD), tmp_path)
    (content,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert content["config"] == json.loads(json.dumps(as_plain(tiny_dfm())))


def test_a_snapshot_of_another_architecture_is_refused(tmp_path: Path) -> None:
    other = with_values(tiny_dfm(), {"model.stage_embedding": False})
    write_snapshot(WorkerOf(tiny_dfm()), other, SnapshotCard(2, SHAPE, STD), tmp_path)
    with pytest.raises(ValueError, match=r"Unexpected key.*stage_table"):
        load_snapshot(tmp_path)


@pytest.mark.proves(32)
def test_a_snapshot_with_settings_that_this_version_lacks_is_refused(tmp_path: Path) -> None:
    write_snapshot(WorkerOf(tiny_dfm()), tiny_dfm(), SnapshotCard(2, SHAPE, STD), tmp_path)
    content = json.loads((tmp_path / SNAPSHOT_CARD).read_text())
    content["config"]["model"]["colour"] = "red"
    (tmp_path / SNAPSHOT_CARD).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="ModelConfig has no colour; it was written by another version"):
        load_snapshot(tmp_path)
