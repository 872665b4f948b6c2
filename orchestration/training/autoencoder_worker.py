"""A `finetune_autoencoder` task on one worker of Ray Train: DeepSpeed shards the state, dfm_core does the work."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dfm_core.autoencoder_training.finetuning import FinetuningLoss, finetune, in_colour
from dfm_core.autoencoder_training.measures import measure_autoencoder
from dfm_core.autoencoders.diffusers_vae import DiffusersAutoencoder
from dfm_core.data.latents.manifest import DamagedLatentsError
from dfm_core.data.training_data import TrainingData
from dfm_core.metrics.features.lite0 import load_lite0_network
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import StateKind
from dfm_core.training.pieces import TensorState
from dfm_core.training.steps import LoopPlan, Observer
from orchestration.artifacts.autoencoders import (
    WEIGHT_PREFIX,
    publish_made_autoencoder,
    read_initial,
    read_made_autoencoder,
)
from orchestration.artifacts.samples.latents import latent_cache
from orchestration.artifacts.samples.real_images import RealSamples, open_real
from orchestration.artifacts.task_record import COST_METRIC, TaskRecord, write_record
from orchestration.artifacts.training_artifacts import StateArtifact, TrainingArtifacts
from orchestration.storage.store import DamagedArtifactError
from orchestration.tasks.task import FinetuneAutoencoderTask
from orchestration.training.checkpointed_run import CheckpointedRun
from orchestration.training.deepspeed_engine import DeepSpeedEngine
from orchestration.training.train_request import TrainRequest
from orchestration.training.worker_setup import agreed_reason, open_training_data, use_kernels, worker_device


def finetune_autoencoder(request: TrainRequest, task: FinetuneAutoencoderTask) -> None:
    """Train, and publish the autoencoder and the task's record, on every worker of a group. Collective.

    Inputs that cannot be read are reported to the progress board: a restart would read the same. The process group
    must exist.
    """
    _Finetuning(request, task).run()


class _Finetuning:
    """One worker of one fine-tuning."""

    def __init__(self, request: TrainRequest, task: FinetuneAutoencoderTask) -> None:
        self.request, self.task, self.started = request, task, time.monotonic()
        self.store = request.open_store()
        self.config, self.initial, self.data = task.recipe.training, task.recipe.initial, task.recipe.data

    def run(self) -> None:
        workers, config = self.request.workers, self.config
        inputs, reason = self._read_inputs()
        if agreed_reason(self.request, reason) or inputs is None:
            return
        dataset, real, autoencoder = inputs
        model = FinetuningLoss(autoencoder, config)
        if workers.activation_checkpointing:
            model.use_activation_checkpointing()
        device = worker_device()
        use_kernels(deterministic=False)
        engine = DeepSpeedEngine(model, config, workers, device)
        artifacts = TrainingArtifacts(self.store, self.task.digest)

        def initialize() -> bool:
            self._set_initial(engine)
            return True

        run = CheckpointedRun(self.request, artifacts, engine, _NoSnapshots(), self.started, initialize)

        def loop(plan: LoopPlan, observer: Observer, start: int, curve: list[CurveRow]) -> list[CurveRow]:
            return finetune(config, dataset, engine, plan, observer, start_step=start, curve=curve)

        rows = run.run(loop, config.batch_size)
        if rows is not None and engine.rank == 0:
            if self.store.manifest(artifacts.paths.autoencoder) is None:
                scaled, device = self.initial.architecture is not None, engine.device
                trained = self.read_initial()
                kind: StateKind = "ema" if config.ema_decay else "weight"
                publish_made_autoencoder(artifacts, config.steps, kind, trained, dataset, device, scaled=scaled)
            self._write_result(run, rows, real)
        engine.close()

    def _set_initial(self, engine: DeepSpeedEngine[FinetuningLoss]) -> None:
        """Set the initial weights, which a checkpoint that turned out to be damaged may have overwritten."""
        network = self.read_initial().network
        weights = {WEIGHT_PREFIX + name: weight.detach() for name, weight in network.named_parameters()}
        engine.set_weights(TensorState({"weight": weights}), "weight", {name: name for name in weights})
        engine.restart()

    def _read_inputs(self) -> tuple[tuple[TrainingData, RealSamples, DiffusersAutoencoder] | None, str]:
        """Return the inputs, or None and why they cannot be read."""
        dataset, reason = open_training_data(self.data, self.task.latents, self.store, self.request.workers)
        if dataset is None:
            return None, reason
        try:
            real = open_real(self.data, "reference", self.store, latent_cache(self.request.workers))
            return (dataset, real, self.read_initial()), ""
        except (FileNotFoundError, DamagedLatentsError) as error:
            return None, f"what it needs cannot be read: {error}"
        except (DamagedArtifactError, ValueError) as error:
            return None, f"the autoencoder it starts from cannot be used: {error}"

    def read_initial(self) -> DiffusersAutoencoder:
        return read_initial(self.initial, self.config.seed, self.store, self.request.storage)

    def _write_result(self, run: CheckpointedRun, rows: list[CurveRow], real: RealSamples) -> None:
        device, digest = run.engine.device, self.task.digest
        trained = read_made_autoencoder(self.store, digest, self.initial.kind)
        metrics = measured_effect(trained, real, device)
        if self.initial.architecture is None:
            metrics |= {
                f"before_{name}": own for name, own in measured_effect(self.read_initial(), real, device).items()
            }
        cost = run.cost()
        metrics |= {
            COST_METRIC: cost.accelerator_seconds,
            "training_images": float(self.config.steps * self.config.batch_size),
            "num_parameters": float(sum(p.numel() for p in trained.network.parameters())),
        }
        about = {"kind": self.initial.kind, "scale": trained.scale, "shift": trained.shift, **run.about()}
        write_record(
            self.store,
            TaskRecord(
                digest=digest,
                kind="finetune_autoencoder",
                metrics=metrics,
                seconds=cost.seconds,
                step=self.config.steps,
                curve=tuple(rows),
                about=about,
            ),
        )


class _NoSnapshots:
    """The `Publisher` of a training that publishes its checkpoints alone."""

    steps: frozenset[int] = frozenset()

    def missing(self) -> Sequence[int]:
        return []

    def artifacts(self, step: int) -> list[StateArtifact]:  # noqa: ARG002
        return []


MEASURED_FACTORS = (2, 3, 4)
"""Factors by which latents are made smaller when the effect is measured; those that divide their side are used."""
MEASURED_SAMPLES = 2000
"""Held-out real samples, or all of fewer."""
_BATCH_PIXELS, _MOST_BATCH = 2**21, 50
"""Limits of a batch that is measured at once: 32 images of side 256, one clip of 17 frames of side 512."""


def measured_effect(autoencoder: DiffusersAutoencoder, real: RealSamples, device: torch.device) -> dict[str, float]:
    """Return `measure_autoencoder` of held-out samples; the autoencoder is moved to the device."""
    autoencoder.network.to(device).eval()
    side = autoencoder.card.latent_side(real.read(range(1))[0].shape[-1])
    factors = [factor for factor in MEASURED_FACTORS if side % factor == 0]
    network = load_lite0_network({}).to(device)
    return measure_autoencoder(autoencoder, _pixels(real), factors, "mean", network, device)


def _pixels(real: RealSamples) -> Iterator[Tensor]:
    count = min(real.count, MEASURED_SAMPLES)
    sample_pixels = real.read(range(1))[0][0, 0].numel()
    size = max(1, min(_MOST_BATCH, _BATCH_PIXELS // sample_pixels))
    for begin in range(0, count, size):
        pixels, _ = real.read(range(begin, min(begin + size, count)))
        yield in_colour(pixels.float() / 127.5 - 1.0)
