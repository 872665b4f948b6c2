"""Samples of captions measured: by their own captions, which CLIP may cut, wherever these are encoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.config import SamplingConfig
from dfm_core.config.model import BackboneDescription
from dfm_core.metrics.features.loaders import LOADERS
from orchestration.config.runtime import RuntimeConfig
from orchestration.storage.store import Store
from orchestration.tasks.encoding import latents_task, pixels_task, texts_task
from tests.support.captioned_files import captioned_config, captioned_runtime, make_captioned
from tests.support.feature_standins import tiny_clip
from tests.support.flux_sweeps import FLUX_OF_FILES
from tests.support.measuring import Bench, evaluation_of, metric, publish_snapshot


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = make_captioned(tmp_path / "captioned")
    (folder / "reference/3.txt").write_text("low " * 90, encoding="utf-8")
    return folder


def live(runtime: RuntimeConfig) -> RuntimeConfig:
    return replace(runtime, text_encoders={"tiny": replace(runtime.text_encoders["tiny"], store_gb=0.0)})


def test_samples_are_measured_by_their_captions_and_cut_ones_are_counted(
    files: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tiny_clip()
    packaged = {"files": (), "packaged": FEATURE_NETWORKS["lite0"].packaged}
    card = replace(FEATURE_NETWORKS["clip"], outputs=clip.card.outputs, **packaged)
    monkeypatch.setitem(FEATURE_NETWORKS, "clip", card)
    monkeypatch.setitem(LOADERS, "clip", lambda _: clip)
    found = {}
    for name, runtime in {"stored": captioned_runtime(files), "live": live(captioned_runtime(files))}.items():
        config = captioned_config(
            runtime,
            decomposition__name="identity",
            decomposition__resolutions=(8,),
            paradigm="flow_matching",
            model__backbone="flux",
            model__start="tiny",
            model__described=BackboneDescription("flux:tiny", FLUX_OF_FILES),
            model__preconditioning="none",
            model__patch_sizes=(2,),
            sampling=SamplingConfig(steps=(2,), tau=(), guidance=2.0),
            evaluation__metrics=("clip_similarity",),
            evaluation__bootstrap_replicates=0,
        )
        own, bench = Store(f"{store.root}/{name}"), Bench(Store(f"{store.root}/{name}"), runtime=runtime)
        for task in (latents_task(config), pixels_task(config), texts_task(config)):
            assert task is not None
            bench.run(task)
        publish_snapshot(own, config)
        task = evaluation_of(config)
        (found[name],) = bench.run(task)
        assert not bench.failed
        assert task.protocols["clip_similarity"].settings == "captions cut at CLIP's 77 tokens"
        assert task.protocols["clip_similarity"].label_sampling == "captions of the test images"
    assert found["stored"].digest == found["live"].digest
    assert metric(found["stored"], "clip_similarity") == metric(found["live"], "clip_similarity")
    assert found["stored"].about["notes"] == {"clip_similarity": ["1 of 5 captions were cut at CLIP's 77 tokens"]}
    assert torch.isfinite(torch.tensor(metric(found["live"], "clip_similarity")))
