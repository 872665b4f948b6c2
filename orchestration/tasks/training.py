"""Builders of the tasks that train: payloads, digests and sizes."""

from __future__ import annotations

from typing import Any

from dfm_core.compute import model_cost, training_flops
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.config.experiment import NUMERICS_CHANGED_IN
from dfm_core.config.model import DECOMPOSITION_SETTINGS, MODEL_SIZES
from dfm_core.config.plain import as_plain
from orchestration.common.digests import digest_of, without_neutral
from orchestration.config.datasets import TextEncodersConfig
from orchestration.data.identity import latents_digest, stored_texts_digest, training_identity
from orchestration.storage.layout import SnapshotRef
from orchestration.tasks.task import PyramidTask, TrainTask

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


def decomposition_payload(config: ExperimentConfig) -> dict[str, Any]:
    """Return the decomposition's name, resolutions and the settings that it reads."""
    plain = as_plain(config.decomposition)
    read = ("name", "resolutions", *DECOMPOSITION_SETTINGS[config.decomposition.name])
    return without_neutral("decomposition", {key: plain[key] for key in read})


def _model_payload(config: ExperimentConfig) -> dict[str, Any]:
    plain: dict[str, Any] = as_plain(config.model)
    if not config.model.lora_rank:
        del plain["lora_alpha"]
    del plain["start"]  # a name: what it stands for is described
    if config.model.described is None:
        plain["dimensions"] = as_plain(MODEL_SIZES[config.model.size])
    else:
        del plain["size"]  # the backbone's own dimensions are described
    return without_neutral("model", plain)


def pyramid_task(config: ExperimentConfig) -> PyramidTask:
    """Return the task that fits the learned decomposition to the training images."""
    fit = config.decomposition.fit
    payload = {
        "kind": "pyramid",
        "data": training_identity(config.data),
        "decomposition": decomposition_payload(config),
        "seed": config.seed,
        "numerics": NUMERICS_CHANGED_IN["pyramid"],
    }
    title = f"learned pyramid on {config.data.title}, {fit.steps} steps, seed={config.seed}"
    return PyramidTask(digest_of(payload), title, payload, (), config, num_bytes=1_000_000)


def draw_settings(config: ExperimentConfig) -> tuple[str, ...]:
    """Return the names of the settings of stages and timesteps that a training reads."""
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


def train_payload(
    config: ExperimentConfig, initial: SnapshotRef | None = None, continued: SnapshotRef | None = None
) -> dict[str, Any]:
    """Return all that decides a training's trajectory.

    `steps` is left out: the learning rate is constant after the warm-up, so a longer run extends a shorter one. So are
    the settings of draws that the paradigm does not make.

    Args: initial: snapshot whose weights it starts from. continued: training, and step, whose state it takes over.
    """
    training = as_plain(config.training)
    del training["steps"], training["first_stage_probability"]
    training["stage_probabilities"] = [round(share, 12) for share in config.stage_probabilities]
    read = draw_settings(config)
    training = {key: value for key, value in training.items() if key not in DRAW_SETTINGS or key in read}
    inputs: dict[str, Any] = {}
    if config.paradigm == "cascaded" and config.own_stages != (0,):
        inputs["cascade"] = without_neutral("cascade", as_plain(config.cascade))
    if config.paradigm == "pyramidal_flow":
        inputs["pyramidal_flow"] = without_neutral("pyramidal_flow", as_plain(config.pyramidal_flow))
    if config.decomposition.name == "learned":
        inputs["pyramid"] = pyramid_task(config).digest
    if initial is not None and config.model.described is None:  # else its identity says so
        inputs["initial"] = {"train": initial[0], "step": initial[1]}
    if continued is not None:
        inputs["continued"] = {"train": continued[0], "step": continued[1]}
    return {
        "kind": "train",
        **inputs,
        "paradigm": config.paradigm,
        "seed": config.seed,
        "data": {**training_identity(config.data), "standardize": config.data.standardize},
        "decomposition": decomposition_payload(config),
        "model": _model_payload(config),
        "training": without_neutral("training", training),
        "numerics": NUMERICS_CHANGED_IN["train"],
    }


def train_task(
    config: ExperimentConfig,
    title: str,
    until_step: int,
    snapshot_steps: tuple[int, ...],
    initial: SnapshotRef | None = None,
    raw_steps: tuple[int, ...] = (),
    start_files: str = "",
    continued: SnapshotRef | None = None,
    encoders: TextEncodersConfig | None = None,
) -> TrainTask:
    """Return the task of one trajectory, at least up to `until_step`.

    Args: start_files: place of the user's files that it starts from. continued: training, and its last step, whose
        whole state it takes over. encoders: of captions, where they run in its workers.
    """
    payload = train_payload(config, initial, continued)
    read = latents_digest(config.data), stored_texts_digest(config.data)
    inputs = (*read, payload.get("pyramid"), *(ref[0] for ref in (initial, continued) if ref is not None))
    card = card_of(config.data)
    cost = model_cost(config, card.shape)
    states = _STATES_PER_PARAMETER if config.training.ema_decay else _STATES_PER_PARAMETER - 1
    checkpoint, starts = states * cost.num_trained, initial is not None or bool(start_files)
    # What did not move stays where the training started.
    snapshot = cost.num_trained if starts and config.model.described is not None else cost.num_parameters
    snapshot = 0 if starts and not until_step else snapshot
    return TrainTask(
        digest_of(payload),
        title,
        payload,
        tuple(digest for digest in inputs if digest),
        config,
        num_bytes=_BYTES_PER_VALUE * (2 * checkpoint + snapshot * (len(snapshot_steps) + len(raw_steps))),
        until_step=until_step,
        flops=training_flops(config, cost, until_step - (continued[1] if continued else 0)),
        snapshot_steps=snapshot_steps,
        initial=initial,
        raw_steps=raw_steps,
        start_files=start_files,
        continued=continued,
        encoders=encoders,
    )
