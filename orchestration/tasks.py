"""The tasks of a plan: what is computed, under which digest, from what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dfm_core.compute import model_cost, sampling_flops, training_flops
from dfm_core.config import MODEL_SIZES, NUMERICS_VERSION, ExperimentConfig, as_plain
from dfm_core.data.catalog import DATASETS
from dfm_core.metrics.features.weights import LITE0_WEIGHTS, file_sha256
from orchestration.digests import digest_of

TaskKind = Literal["reference", "train", "evaluate"]

_STATES_PER_PARAMETER = 4
"""Weight, two moments and the average, each fp32."""
_BYTES_PER_VALUE = 4


@dataclass(frozen=True)
class Task:
    """One digest of work. `payload` holds exactly what can change its result; nothing else may be read from it."""

    kind: TaskKind
    digest: str
    title: str
    payload: dict[str, Any]
    inputs: tuple[str, ...]
    """Digests of the tasks whose results it reads."""
    config: ExperimentConfig
    """A config that resolves to `payload`; the halves that the payload leaves out are arbitrary."""
    flops: int
    num_bytes: int
    """Estimate of what it leaves in the store."""
    until_step: int = 0
    """train: last step wanted. Grows when a sweep asks for more; the trajectory, and so the digest, stays."""
    snapshot_steps: tuple[int, ...] = ()
    """train: steps whose averaged weights are kept."""
    at_step: int = 0
    """evaluate: the snapshot's step."""


@cache
def _fingerprint(path: Path) -> str:
    """A plan asks once per row; the file is read once per process."""
    return file_sha256(path)


def dataset_identity(config: ExperimentConfig) -> dict[str, Any]:
    """Name, content and shape of the training images."""
    card = DATASETS[config.data.dataset]
    return {"dataset": config.data.dataset, "fingerprint": _fingerprint(card.path), "resolution": card.resolution}


def reference_task(config: ExperimentConfig, num_samples: int) -> Task:
    """Features of real images: moments, the real/real floor at this number of samples, the label probe."""
    card = DATASETS[config.data.dataset]
    num_real = min(num_samples, card.num_train_images)
    payload = {
        "kind": "reference",
        "data": dataset_identity(config),
        "features": LITE0_WEIGHTS.sha256,
        "floor_images": num_real,
        "numerics": NUMERICS_VERSION,
    }
    title = f"{config.data.dataset}, floor at {num_real} images"
    return Task("reference", digest_of(payload), title, payload, (), config, flops=0, num_bytes=15_000_000)


def train_payload(config: ExperimentConfig) -> dict[str, Any]:
    """What decides a training's trajectory.

    `steps` is left out: the learning rate is constant after the warm-up, so a longer run extends a shorter one. With a
    single stage, or all tied, the draws over stages are left out too: nothing reads them.
    """
    training = as_plain(config.training)
    del training["steps"]
    unread: tuple[str, ...] = ("first_stage_probability", "previous_location", "previous_scale")
    if config.num_stages == 1:
        unread = (*unread, "timesteps")
    if config.num_stages == 1 or config.training.timesteps == "tied":
        for key in unread:
            del training[key]
    return {
        "kind": "train",
        "paradigm": config.paradigm,
        "seed": config.seed,
        "data": {**dataset_identity(config), "standardize": config.data.standardize},
        "decomposition": as_plain(config.decomposition),
        "model": {**as_plain(config.model), "dimensions": as_plain(MODEL_SIZES[config.model.size])},
        "training": training,
        "numerics": NUMERICS_VERSION,
    }


def train_task(config: ExperimentConfig, title: str, until_step: int, snapshot_steps: tuple[int, ...]) -> Task:
    """One trajectory, at least up to `until_step`."""
    payload = train_payload(config)
    card = DATASETS[config.data.dataset]
    cost = model_cost(config, card.channels, card.num_classes)
    per_state = cost.num_parameters * _BYTES_PER_VALUE
    return Task(
        "train",
        digest_of(payload),
        title,
        payload,
        (),
        config,
        flops=training_flops(config, cost, until_step),
        num_bytes=per_state * (2 * _STATES_PER_PARAMETER + len(snapshot_steps)),
        until_step=until_step,
        snapshot_steps=snapshot_steps,
    )


def evaluate_task(config: ExperimentConfig, title: str, step: int, train: str, reference: str) -> Task:
    """What one sampling setting gives on one snapshot."""
    evaluation = as_plain(config.evaluation)
    del evaluation["at_steps"]
    evaluation["metrics"] = sorted(set(evaluation["metrics"]))
    sampling = as_plain(config.sampling)
    if config.training.timesteps == "tied":  # all scales move together: neither the split nor tau is read
        sampling |= {"steps": [sum(config.sampling.steps)], "tau": []}
    payload = {
        "kind": "evaluate",
        "train": train,
        "step": step,
        "reference": reference,
        "sampling": sampling,
        "evaluation": evaluation,
        "numerics": NUMERICS_VERSION,
    }
    card = DATASETS[config.data.dataset]
    cost = model_cost(config, card.channels, card.num_classes)
    return Task(
        "evaluate",
        digest_of(payload),
        title,
        payload,
        (train, reference),
        config,
        flops=sampling_flops(config, cost, config.evaluation.num_samples),
        num_bytes=300_000,
        at_step=step,
    )
