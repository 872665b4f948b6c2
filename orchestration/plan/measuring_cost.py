"""FLOPs of looking at images: feature networks, and autoencoders that encode and decode. For estimates alone."""

from __future__ import annotations

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.config.data import DataConfig
from orchestration.plan.executed_flops import caption_flops, encoding_flops
from orchestration.tasks.task import EncodeTask, EvaluateTask, MeasuringTask, Task

NETWORK_FLOPS: dict[FeatureNetworkName, float] = {
    "lite0": 2.1e8,
    "inception": 1.14e10,
    "dinov2": 1.62e11,
    "i3d": 2.16e11,
    "clip": 8.8e9,
}
"""FLOPs an image, or a clip: counted by torch's flop counter; Inception-v3 and I3D as their papers say."""
_ENCODER_FLOPS, _DECODER_FLOPS = 4.3e6, 9.6e6
"""FLOPs a pixel of FLUX's autoencoder, by torch's flop counter at 512 px; others are taken to cost the same."""


def looking_flops(task: Task) -> float:
    """Return the FLOPs of feature networks and autoencoders that a task runs; 0 for what has none."""
    match task:
        case MeasuringTask():
            flops = sum(
                source.num_samples * sum(NETWORK_FLOPS[network] for network in source.networks)
                for source in task.sources
            )
            if isinstance(task, EvaluateTask) and task.config.data.autoencoder:
                num_images = sum(source.num_samples for source in task.sources)
                flops += num_images * _num_pixels(task.config.data) * _DECODER_FLOPS
                flops += encoding_flops(task.config, num_images)
            return flops
        case EncodeTask() if task.payload["kind"] == "encode_text":
            return 0.0 if task.payload.get("kept") else task.num_samples * caption_flops(task.config)
        case EncodeTask() if task.payload.get("encoder", "pixels") != "pixels":
            flips = 2 if task.config.data.mirrored else 1
            return flips * task.num_samples * _num_encoded_pixels(task.config.data) * _ENCODER_FLOPS
        case _:
            return 0.0


def _num_pixels(data: DataConfig) -> int:
    """Return the pixels of a sample, all frames of a clip; 0 if the section does not say."""
    return max(data.side, 0, *data.sides) ** 2 * max(1, data.frames)


def _num_encoded_pixels(data: DataConfig) -> int:
    """Return the pixels that are encoded of a sample, which is used at several sides where it has a caption."""
    return sum(side**2 for side in data.sides) or _num_pixels(data)
