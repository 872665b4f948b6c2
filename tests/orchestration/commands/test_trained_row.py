"""`DFMPipeline.from_sweep`: a row's own weights and sampling from the store, or the reason why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfm_core import sweep_rows
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.catalog.datasets import FASHION_CLASSES
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.pipeline import DFMPipeline
from dfm_core.training.state import SnapshotCard, build_model, write_snapshot_files
from orchestration.plan.plan import make_plan
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import FileEntry, Store
from tests.orchestration.conftest import QUICKSTART, TINY
from tests.support.flux_sweeps import flux_sweep, make_flux_files

PARTS = "parts={p: {rows: {DFM: {}, faster: {sampling.steps: [2, 1]}}}, q: {rows: {DFM: {training.batch_size: 4}}}}"
LAST = 12


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The sweep's, whose store has the snapshots of both seeds of the first part."""
    root = tmp_path_factory.mktemp("store")
    own = [*TINY, PARTS, "seeds=[0, 1]", f"storage.root={root}"]
    store, plan = Store(str(root)), make_plan(load_sweep(QUICKSTART, own))
    for trial in plan.trials:
        if (trial.part, trial.row) == ("p", "DFM"):
            config = plan.evaluation(trial.evaluations[-1][1]).config
            publish(store, config, trial.trains[-1], tmp_path_factory.mktemp("snapshot"))
    return own


def publish(
    store: Store, config: ExperimentConfig, train: str, scratch: Path, step: int = LAST, spread: float = 0.0
) -> None:
    """Weights that tell their seed. Args: spread: standard deviation of what is added to them."""
    shape, std = card_of(config.data).shape, (1.0,) * config.num_stages
    model, generator = build_model(config, shape, std), torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(weight.shape, generator=generator) * spread + (1 + config.seed) / 64
        for name, weight in model.named_parameters()
    }
    directory = TaskPaths(train).snapshot(step)
    files = write_snapshot_files(weights, config, SnapshotCard(step, shape, std), scratch, None)
    for path in files:
        store.put(path, f"{directory}/{path.name}")
    store.publish(directory, [FileEntry.of(path) for path in files])


@pytest.mark.parametrize(("seed", "expected"), [(None, 1 / 64), (0, 1 / 64), (1, 2 / 64)])
def test_a_row_is_loaded_at_its_seed(overrides: list[str], seed: int | None, expected: float) -> None:
    pipe = DFMPipeline.from_sweep(QUICKSTART, "p / DFM", seed, overrides)
    assert all(bool((weight == expected).all()) for weight in pipe.model.parameters())
    assert pipe.config.seed == (seed or 0)
    assert pipe.card.step == LAST
    assert pipe.class_names == FASHION_CLASSES
    pipe.set_progress_bar_config(disable=True)
    assert pipe("coat", output_type="pt").images.shape == (1, 1, 32, 32)


def test_a_row_of_the_same_training_samples_with_its_own_steps(overrides: list[str]) -> None:
    pipe = DFMPipeline.from_sweep(str(QUICKSTART), "faster", 1, overrides)
    assert pipe.config.sampling.steps == (2, 1)
    assert pipe.card.step == LAST


@pytest.mark.parametrize(
    ("row", "seed", "message"),
    [
        ("DFM", None, "'DFM' is the label of several rows"),
        ("p / DFN", None, "'p / DFN' is no row of the sweep.*did you mean 'p / DFM'"),
        ("p / DFM", 7, "7 is no seed of the sweep; it has 0, 1"),
        ("q / DFM", 0, "its snapshot of step 12 cannot be read.*run the sweep first"),
    ],
)
def test_what_cannot_be_loaded_is_told(overrides: list[str], row: str, seed: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DFMPipeline.from_sweep(QUICKSTART, row, seed, overrides)


def test_experts_are_no_pipeline(overrides: list[str]) -> None:
    experts = ["parts={p: {rows: {DFM: {experts.steps: [6, 6]}}}}", "evaluation.at_steps=[]"]
    with pytest.raises(ValueError, match="samples with 2 networks, one after the other: a pipeline has one"):
        DFMPipeline.from_sweep(QUICKSTART, "DFM", 0, [*overrides, *experts])


def test_a_row_of_captions_takes_prompts_and_decodes_its_latents(tmp_path: Path) -> None:
    sweep = flux_sweep(tmp_path, make_flux_files(tmp_path / "files"))
    plan, store = make_plan(load_sweep(sweep)), Store(str(tmp_path / "store"))
    trial = next(trial for trial in plan.trials if trial.row == "dfm")
    evaluation = plan.evaluation(trial.evaluations[-1][1])
    ((train, step),) = evaluation.snapshots
    (tmp_path / "snapshot").mkdir()
    publish(store, evaluation.config, train, tmp_path / "snapshot", step, spread=0.2)
    pipe = DFMPipeline.from_sweep(sweep, "dfm")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.autoencoder is not None
    assert pipe.autoencoder.identity == load_autoencoder("kl", tmp_path / "files" / "vae").identity
    noise = torch.Generator().manual_seed(0)
    images = [
        pipe([prompt, prompt], height=32, width=64, generator=noise.manual_seed(0), output_type="pt").images
        for prompt in ("rose on a blue background", "tree on a red background")
    ]
    assert images[0].shape == (2, 3, 32, 64)
    assert not torch.equal(*images), "prompts are read"


def test_without_a_package_that_knows_sweeps_the_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_rows, "entry_points", lambda **_: ())
    with pytest.raises(ValueError, match=r"one package is needed that reads sweeps.*found: none; install the project"):
        DFMPipeline.from_sweep(QUICKSTART, "DFM")
