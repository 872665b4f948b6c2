"""The tasks of a plan: what is computed, under which digest, from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dfm_core.compute import model_cost, training_flops
from dfm_core.config import (
    DECOMPOSITION_SETTINGS,
    MODEL_SIZES,
    NUMERICS_VERSION,
    ExperimentConfig,
    MetricName,
    as_plain,
)
from dfm_core.data.cards import card_of
from dfm_core.metrics.features.cards import FeatureNetworkName
from dfm_core.metrics.protocol import Protocol
from orchestration.data_identity import latents_digest, training_identity
from orchestration.digests import digest_of
from orchestration.makings import Making

TaskKind = Literal[
    "finetune_autoencoder", "encode", "reference", "probe", "floor", "pyramid", "train", "evaluate", "images"
]
TRAININGS: tuple[TaskKind, ...] = ("train", "finetune_autoencoder")
"""Kinds of tasks that run on training workers."""
OUTSIDE = "outside"
"""Split of images that no sweep made and no dataset holds."""
SnapshotRef = tuple[str, int]
"""A training's digest and the step of one of its snapshots."""

_STATES_PER_PARAMETER = 4
"""Weight, two moments and the average, each fp32."""
_BYTES_PER_VALUE = 4
DRAW_SETTINGS = (
    "timesteps",
    "stage_probabilities",
    "stage_draw",
    "loss_masking",
    "location",
    "scale",
    "previous_location",
    "previous_scale",
)


@dataclass(frozen=True)
class Source:
    """Samples that are measured: generated ones, or a split of real images."""

    digest: str
    num_samples: int
    networks: Mapping[FeatureNetworkName, str]
    """Feature networks that look at them, each with the digest of its weights and preprocessing."""
    split: str = ""
    """Of the real images; "": generated; `OUTSIDE`: neither."""
    metrics: tuple[MetricName, ...] = ()
    """What is computed of these samples."""


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
    initial: SnapshotRef | None = None
    """train: the snapshot whose weights it starts from; None: from initial weights."""
    snapshots: tuple[SnapshotRef, ...] = ()
    """evaluate: what it samples from; experts have one for each stage."""
    at_step: int = 0
    """evaluate: training steps that lie behind its snapshots."""
    raw_steps: tuple[int, ...] = ()
    """train: steps whose weights are kept as they are, beside their average."""
    sources: tuple[Source, ...] = ()
    """reference, probe, floor, evaluate: what is measured."""
    references: Mapping[FeatureNetworkName, str] = field(default_factory=dict)
    """floor, evaluate: digests of the reference tasks, by network."""
    probe: str = ""
    """floor, evaluate: digest of the label probe's task; "" if no metric reads it."""
    floor: str = ""
    """evaluate: digest of the task that measures real images the same way; "" if there is none."""
    making: Making | None = None
    """finetune_autoencoder: what is made."""
    num_samples: int = 0
    """encode: of the dataset, flips not counted."""
    protocols: Mapping[MetricName, Protocol] = field(default_factory=dict)
    """floor, evaluate: what travels with each number."""

    @property
    def pyramid(self) -> str:
        """Digest of the task that fits its learned decomposition; "" if it has none."""
        return str(self.payload.get("pyramid", ""))

    @property
    def latents(self) -> str:
        """train: digest of the task that made the latents which it reads; "" if it reads images."""
        reads = self.kind in TRAININGS
        return str(self.payload["data"].get("latents", "")) if reads else ""


def decomposition_payload(config: ExperimentConfig) -> dict[str, Any]:
    """The decomposition's name, resolutions and the settings that it reads."""
    plain = as_plain(config.decomposition)
    read = ("name", "resolutions", *DECOMPOSITION_SETTINGS[config.decomposition.name])
    return {key: plain[key] for key in read}


def _model_payload(config: ExperimentConfig) -> dict[str, Any]:
    plain: dict[str, Any] = as_plain(config.model)
    if not config.model.lora_rank:
        del plain["lora_alpha"]
    return plain


def pyramid_task(config: ExperimentConfig) -> Task:
    """The weights of the learned decomposition, fitted to the training images."""
    fit = config.decomposition.fit
    payload = {
        "kind": "pyramid",
        "data": training_identity(config.data),
        "decomposition": decomposition_payload(config),
        "seed": config.seed,
        "numerics": NUMERICS_VERSION,
    }
    title = f"learned pyramid on {config.data.dataset}, {fit.steps} steps, seed={config.seed}"
    return Task("pyramid", digest_of(payload), title, payload, (), config, flops=0, num_bytes=1_000_000)


def draw_settings(config: ExperimentConfig) -> tuple[str, ...]:
    """The settings of stages and timesteps that a training reads."""
    own, previous = ("location", "scale"), ("previous_location", "previous_scale")
    if config.paradigm == "pyramidal_flow":
        return ("stage_probabilities",)
    if config.paradigm == "cascaded":
        condition = () if config.own_stages == (0,) else previous
        return ("stage_probabilities", *own, *condition)
    if config.num_stages == 1:
        return own
    if config.training.timesteps == "tied":
        return ("timesteps", "loss_masking", *own)
    return DRAW_SETTINGS


def train_payload(config: ExperimentConfig, initial: SnapshotRef | None = None) -> dict[str, Any]:
    """What decides a training's trajectory.

    `steps` is left out: the learning rate is constant after the warm-up, so a longer run extends a shorter one. So are
    the settings of draws that the paradigm does not make.
    """
    training = as_plain(config.training)
    del training["steps"], training["first_stage_probability"]
    training["stage_probabilities"] = [round(share, 12) for share in config.stage_probabilities]
    read = draw_settings(config)
    training = {key: value for key, value in training.items() if key not in DRAW_SETTINGS or key in read}
    inputs: dict[str, Any] = {}
    if config.paradigm == "cascaded" and config.own_stages != (0,):
        inputs["cascade"] = as_plain(config.cascade)
    if config.paradigm == "pyramidal_flow":
        inputs["pyramidal_flow"] = as_plain(config.pyramidal_flow)
    if config.decomposition.name == "learned":
        inputs["pyramid"] = pyramid_task(config).digest
    if initial is not None:
        inputs["initial"] = {"train": initial[0], "step": initial[1]}
    return {
        "kind": "train",
        **inputs,
        "paradigm": config.paradigm,
        "seed": config.seed,
        "data": {**training_identity(config.data), "standardize": config.data.standardize},
        "decomposition": decomposition_payload(config),
        "model": {**_model_payload(config), "dimensions": as_plain(MODEL_SIZES[config.model.size])},
        "training": training,
        "numerics": NUMERICS_VERSION,
    }


def train_task(
    config: ExperimentConfig,
    title: str,
    until_step: int,
    snapshot_steps: tuple[int, ...],
    initial: SnapshotRef | None = None,
    raw_steps: tuple[int, ...] = (),
) -> Task:
    """One trajectory, at least up to `until_step`."""
    payload = train_payload(config, initial)
    inputs = (latents_digest(config.data), payload.get("pyramid"), initial[0] if initial else None)
    card = card_of(config.data)
    cost = model_cost(config, card.shape)
    per_state = cost.num_parameters * _BYTES_PER_VALUE
    return Task(
        "train",
        digest_of(payload),
        title,
        payload,
        tuple(digest for digest in inputs if digest),
        config,
        flops=training_flops(config, cost, until_step),
        num_bytes=per_state * (2 * _STATES_PER_PARAMETER + len(snapshot_steps) + len(raw_steps)),
        until_step=until_step,
        snapshot_steps=snapshot_steps,
        initial=initial,
        raw_steps=raw_steps,
    )
