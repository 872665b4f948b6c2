"""Autoencoders trained as tasks: published whole, resumed bit for bit, the same on any number of workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from torch import Tensor

from dfm_core.autoencoder_training.config import FinetuningConfig
from dfm_core.autoencoder_training.finetuning import FinetuningLoss, finetune
from dfm_core.autoencoders.architecture import KlArchitecture
from dfm_core.autoencoders.identity import CONFIG, WEIGHTS, identity_of
from dfm_core.autoencoders.initialization import random_autoencoder
from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.config import DataConfig, ExperimentConfig
from dfm_core.data.image_dataset import load_dataset
from dfm_core.training.engine import PlainEngine
from dfm_core.training.steps import LoopPlan
from orchestration.artifacts.autoencoders import read_initial, read_made_autoencoder
from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.common.digests import digest_of
from orchestration.config.storage import StorageConfig
from orchestration.config.workers import WorkersConfig
from orchestration.data.autoencoder_recipe import AutoencoderRecipe, InitialAutoencoder, finetune_payload, made_identity
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import DamagedArtifactError, Store
from orchestration.tasks.task import FinetuneAutoencoderTask
from orchestration.training.train_request import TrainRequest, request_of
from tests.support.finetuning_group import MEASURED, Attempt, run_attempts
from tests.support.tiny_autoencoders import save_kl

pytestmark = pytest.mark.slow  # groups of DeepSpeed workers: most of a minute
CONFIG_OF = FinetuningConfig(steps=4, batch_size=4, learning_rate=3e-2, warmup_steps=2, adam_epsilon=0.1)
"""With a large epsilon: where a true gradient is 0, Adam makes steps out of rounding."""
DATA = DataConfig(dataset="fashion_mnist")
SCRATCH = InitialAutoencoder("kl", architecture=KlArchitecture(widths=(4, 8, 8), norm_groups=4))
WORKERS = WorkersConfig(num_workers=2, checkpoint_every=3, log_every=1, zero_stage=2)
TOLERANCE = 1e-5


def request(store: Store, config: FinetuningConfig, initial: InitialAutoencoder) -> TrainRequest:
    recipe = AutoencoderRecipe("own", AutoencoderCard(4, 4), config, initial, DATA)
    about = {"num_bytes": 0, "until_step": config.steps, "recipe": recipe}
    task = FinetuneAutoencoderTask(recipe.digest, "own", recipe.payload, (), ExperimentConfig(data=DATA), **about)
    return request_of(task, store, WORKERS, "board")


@dataclass(frozen=True)
class Found:
    """A store after its attempts."""

    store: Store
    digest: str
    told: str = ""

    @property
    def result(self) -> TaskRecord:
        result = read_record(self.store, self.digest)
        assert result is not None, self.told
        return result

    @property
    def losses(self) -> list[float]:
        return [row["loss"] for row in self.result.curve]

    @property
    def weights(self) -> dict[str, Tensor]:
        network = read_made_autoencoder(self.store, self.digest, "kl").network
        return dict(network.state_dict())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    folder = tmp_path_factory.mktemp("finetuning")
    stores = {name: Store(str(folder / name)) for name in ("whole", "cut", "zero-3", "files", "back", "anew")}
    own = {name: request(store, CONFIG_OF, SCRATCH) for name, store in stores.items()}
    place = str(save_kl(folder / "vae"))
    files = InitialAutoencoder("kl", identity_of("kl", Path(place)), files=place)
    control = replace(CONFIG_OF, steps=2, scale_equivariance=False)
    own["files"] = request(stores["files"], control, files)
    made = request(stores["whole"], control, InitialAutoencoder.made("kl", own["whole"].task.digest))
    lost = request(stores["files"], control, InitialAutoencoder.made("kl", "0" * 20))
    two = [
        Attempt(own["whole"]),
        Attempt(own["cut"], stops=True),
        Attempt(own["cut"]),
        Attempt(replace(own["zero-3"], workers=replace(WORKERS, zero_stage=3, activation_checkpointing=True))),
        Attempt(replace(own["back"], workers=replace(WORKERS, checkpoint_every=1)), stops=True),
        Attempt(own["back"], damages=2),
        Attempt(own["anew"], stops=True),
        Attempt(replace(own["anew"], workers=replace(WORKERS, zero_stage=3)), damages=2),
        Attempt(own["files"]),
        Attempt(made),
        Attempt(lost),
    ]
    told = run_attempts(2, two, folder / "group")
    results = {name: Found(store, own[name].task.digest, told) for name, store in stores.items()}
    return {
        **results,
        "made": Found(stores["whole"], made.task.digest, told),
        "lost": Found(stores["files"], lost.task.digest, told),
    }


def test_a_task_leaves_an_autoencoder_and_its_record(found: dict[str, Found]) -> None:
    whole = found["whole"]
    result, made = whole.result, read_made_autoencoder(whole.store, whole.digest, "kl")
    assert (result.kind, result.step, len(result.curve)) == ("finetune_autoencoder", 4, 4)
    assert whole.store.names(TaskPaths(whole.digest).autoencoder) == [CONFIG, WEIGHTS, "manifest.json"]
    assert made.identity == made_identity("kl", whole.digest)
    assert (made.card.channels, made.card.spatial_factor) == (4, 4)
    assert result.metrics["latent_std"] < 1.1  # of means, whose draws have the deviation 1
    assert result.metrics["num_samples"] == MEASURED
    assert {"downscaled_x2_psnr", "downscaled_x4_l1", "reconstruction_fd_lite0_block10"} < set(result.metrics)
    assert not any(name.startswith("before_") for name in result.metrics)


def test_a_stopped_task_goes_on_bit_for_bit(found: dict[str, Found]) -> None:
    whole, cut = found["whole"], found["cut"]
    assert cut.told.count("stopped") == 3
    assert cut.losses == whole.losses
    assert_weights(cut.weights, whole.weights, tolerance=0.0)


def test_a_bit_that_flips_in_one_workers_pieces_sends_all_back(found: dict[str, Found]) -> None:
    assert found["back"].losses == found["whole"].losses
    assert_weights(found["back"].weights, found["whole"].weights, tolerance=0.0)


def test_a_training_without_a_sound_checkpoint_begins_anew(found: dict[str, Found]) -> None:
    assert found["anew"].losses == found["zero-3"].losses
    assert_weights(found["anew"].weights, found["zero-3"].weights, tolerance=0.0)


def assert_weights(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tolerance: float) -> None:
    assert found.keys() == wanted.keys()
    for name, own in wanted.items():
        assert float((found[name] - own).abs().max()) <= tolerance, name


def test_zero_stage_and_recomputed_activations_change_no_result(found: dict[str, Found]) -> None:
    assert found["zero-3"].losses == pytest.approx(found["whole"].losses, rel=TOLERANCE)
    assert_weights(found["zero-3"].weights, found["whole"].weights, tolerance=1e-5)


def test_one_worker_and_plain_torch_give_what_two_workers_and_deepspeed_do(found: dict[str, Found]) -> None:
    assert SCRATCH.architecture is not None
    model = FinetuningLoss(random_autoencoder(SCRATCH.architecture, CONFIG_OF.seed), CONFIG_OF)
    plan = LoopPlan(CONFIG_OF.steps, CONFIG_OF.batch_size, 1, frozenset())
    rows = finetune(CONFIG_OF, load_dataset("fashion_mnist", "train"), PlainEngine(model, CONFIG_OF), plan)
    assert [row["loss"] for row in rows] == pytest.approx(found["whole"].losses, rel=TOLERANCE)
    assert_weights(model.network.state_dict(), found["whole"].weights, tolerance=1e-5)


def test_what_is_made_from_another_keeps_its_scale_and_says_what_changed(found: dict[str, Found]) -> None:
    whole, made = found["whole"], found["made"]
    before, after = (read_made_autoencoder(whole.store, one.digest, "kl") for one in (whole, made))
    assert (before.scale, before.shift) == (after.scale, after.shift)
    metrics = made.result.metrics
    names = [name for name in metrics if name.startswith("before_")]
    assert "before_downscaled_x4_psnr" in names
    for name in names:
        assert metrics[name] == pytest.approx(whole.result.metrics[name.removeprefix("before_")], rel=1e-6)
    assert metrics["reconstruction_l1"] != metrics["before_reconstruction_l1"]


def test_the_users_files_are_where_a_training_may_start(found: dict[str, Found]) -> None:
    result = found["files"].result
    assert result.metrics["before_reconstruction_l1"] > 0
    assert "downscaled" not in result.curve[0]


def test_an_autoencoder_that_is_not_there_is_told_and_nothing_is_started(found: dict[str, Found]) -> None:
    assert "failed" in found["lost"].told
    assert "what it needs cannot be read: no artifact at" in found["lost"].told
    assert read_record(found["lost"].store, found["lost"].digest) is None


def test_a_damaged_autoencoder_is_made_anew(found: dict[str, Found], tmp_path: Path) -> None:
    whole = found["made"]
    path = TaskPaths(whole.digest).autoencoder
    content = bytearray(whole.store.read(f"{path}/{WEIGHTS}"))
    content[-1] ^= 1
    store = Store(str(tmp_path))
    for name in (CONFIG, "manifest.json"):
        store.write(f"{path}/{name}", whole.store.read(f"{path}/{name}"))
    store.write(f"{path}/{WEIGHTS}", bytes(content))
    store.write(TaskPaths(whole.digest).result, b"{}")
    with pytest.raises(DamagedArtifactError, match="is not what its manifest says; submit again to make it anew"):
        read_made_autoencoder(store, whole.digest, "kl")
    assert not store.exists(TaskPaths(whole.digest).result)


def test_files_that_changed_since_they_were_planned_are_refused(store: Store, tmp_path: Path) -> None:
    place = str(save_kl(tmp_path / "vae"))
    initial = InitialAutoencoder("kl", "kl:other", files=place)
    with pytest.raises(ValueError, match="its files have changed since the sweep was planned"):
        read_initial(initial, 0, store, StorageConfig(store.root))


def payload(config: FinetuningConfig = CONFIG_OF, initial: InitialAutoencoder = SCRATCH) -> str:
    return digest_of(finetune_payload(config, initial, DATA))


def test_the_digest_covers_what_decides_the_weights_and_nothing_else() -> None:
    others = [
        payload(replace(CONFIG_OF, scale_equivariance=False)),
        payload(replace(CONFIG_OF, equivariance_weight=0.5)),
        payload(replace(CONFIG_OF, steps=5)),
        payload(initial=InitialAutoencoder("kl", architecture=KlArchitecture())),
        payload(initial=InitialAutoencoder.made("kl", "a" * 20)),
        payload(initial=InitialAutoencoder("kl", "kl:1", files="/here")),
    ]
    assert len({payload(), *others}) == 7
    assert payload(initial=InitialAutoencoder("kl", "kl:1", files="/there")) == others[-1]
    control = replace(CONFIG_OF, scale_equivariance=False, scale_factors=(4,), equivariance_weight=1.0)
    assert payload(control) == others[0]  # a control reads no setting of what it leaves out
