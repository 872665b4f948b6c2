"""A trained FLUX as a pipeline of diffusers: a folder that loads without this project."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.models.flux.adapters import DOWN, UP
from dfm_core.models.flux.velocity import PREFIX
from dfm_core.training.engine import StateSource
from dfm_core.training.state import empty_model
from orchestration.data.describe_text_encoders import PARTS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SHARD_BYTES = 5_000_000_000
_WEIGHTS = "diffusion_pytorch_model"
_SCALES, _PIPELINE = "flux_scales", "pipeline"
_SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "use_dynamic_shifting": False,
}
_TOKENIZERS = {"tokenizer": "CLIPTokenizer", "tokenizer_2": "T5Tokenizer"}


@dataclass(frozen=True)
class PipelineParts:
    """Everything that becomes a pipeline."""

    config: ExperimentConfig
    state: StateSource
    """The averaged weights of a snapshot."""
    autoencoder: Path
    """Folder of the autoencoder, as diffusers saves it."""
    text_encoders: Path
    """Folder with the encoders of captions and their tokenizers."""


def export_problems(config: ExperimentConfig) -> Iterator[tuple[str, str]]:
    """Yield (key, message) of what keeps a row from being a pipeline of diffusers."""
    if config.model.backbone != "flux":
        yield (
            "model.backbone",
            f"{config.model.backbone} is no pipeline of diffusers, only flux is; sample with DFMPipeline",
        )
    if config.data.standardize:
        yield "data.standardize", "true: diffusers' pipelines know no divisors of scales"
    sampling = config.sampling
    for name, value in {"solver": "euler", "time_shift": 1.0, "guidance_interval": (0.0, 1.0)}.items():
        if (given := getattr(sampling, name)) != value:
            yield f"sampling.{name}", f"{given}: an exported pipeline samples with {value}"


def write_pipeline(parts: PipelineParts, folder: Path, dtype: torch.dtype) -> None:
    """Write all files of a pipeline: `FluxPipeline` of one stage, `FluxDFMPipeline`, which comes along, of two.

    Args: folder: new or empty. dtype: of the network's weights; the others are copied as they are.
    """
    two = parts.config.num_stages == 2
    transformer = folder / "transformer"
    transformer.mkdir(parents=True)
    _write_weights(parts, transformer, dtype)
    _write_json(transformer / "config.json", _transformer_config(parts.config))
    _write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    shutil.copytree(parts.autoencoder, folder / "vae")
    for part in PARTS:
        shutil.copytree(parts.text_encoders / part, folder / part)
    if two:
        sources = files("dfm_core.models.flux")
        (folder / f"{_PIPELINE}.py").write_text(sources.joinpath("pipeline.py").read_text("utf-8"), "utf-8")
        (transformer / f"{_SCALES}.py").write_text(sources.joinpath("scales.py").read_text("utf-8"), "utf-8")
    _write_json(folder / "model_index.json", _model_index(parts.config, folder))
    (folder / "README.md").write_text(_readme(parts.config), encoding="utf-8")


def _transformer_config(config: ExperimentConfig) -> dict[str, Any]:
    described = config.model.described
    assert described is not None, "a backbone is described when its sweep is read"
    settings = {"patch_size": 1, "out_channels": None, **described.flux.settings}
    if config.num_stages == 1:
        return {"_class_name": "FluxTransformer2DModel", **settings}
    return {"_class_name": "FluxScales", **settings, "num_scales": config.num_stages}


def _model_index(config: ExperimentConfig, folder: Path) -> dict[str, Any]:
    index: dict[str, Any] = {
        "_class_name": "FluxPipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "image_encoder": [None, None],
        "feature_extractor": [None, None],
    }
    for part, usual in _TOKENIZERS.items():
        path = folder / part / "tokenizer_config.json"
        given = json.loads(path.read_bytes()).get("tokenizer_class") if path.is_file() else None
        index[part] = ["transformers", given or usual]
    if config.num_stages == 1:
        return index
    coarse, fine = config.decomposition.resolutions
    return {
        **index,
        "_class_name": [_PIPELINE, "FluxDFMPipeline"],
        "transformer": [_SCALES, "FluxScales"],
        "ratio": fine // coarse,
        "steps": list(config.sampling.steps),
        "tau": list(config.sampling.tau),
        "true_cfg_scale": config.sampling.guidance,
        "guidance_input": config.model.guidance_input,
        "text_length": config.data.text_length,
    }


def _write_weights(parts: PipelineParts, folder: Path, dtype: torch.dtype) -> None:
    """Write the network's weights in shards, tensor by tensor; adapters become part of the maps that they add to."""
    ones = (1.0,) * parts.config.num_stages
    from dfm_core.config.dataset_card import card_of

    network = empty_model(parts.config, card_of(parts.config.data).shape, ones)
    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters()}
    wanted = [name for name in shapes if not name.endswith((DOWN, UP))]
    shards = _shards({name: network.get_parameter(name).numel() * dtype.itemsize for name in wanted})
    names = [f"{_WEIGHTS}-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = [f"{_WEIGHTS}.safetensors"]
    for file, shard in zip(names, shards, strict=True):
        tensors = {name.removeprefix(PREFIX): _merged(parts.state, name, shapes).to(dtype) for name in shard}
        save_file(tensors, folder / file, {"format": "pt"})
    if len(shards) > 1:
        places = {name.removeprefix(PREFIX): file for file, shard in zip(names, shards, strict=True) for name in shard}
        total = sum(network.get_parameter(name).numel() for name in wanted) * dtype.itemsize
        _write_json(
            folder / f"{_WEIGHTS}.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places}
        )


def _merged(state: StateSource, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
    """Return a weight, float32, with the low-rank addition to it."""
    weight, base = _whole(state, name, shapes), name.rpartition(".")[0]
    if not name.endswith(".weight") or f"{base}.{DOWN}" not in shapes:
        return weight
    return weight + _whole(state, f"{base}.{UP}", shapes) @ _whole(state, f"{base}.{DOWN}", shapes)


def _whole(state: StateSource, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
    tensor = torch.empty(shapes[name])
    state.fill(tensor.view(-1), "ema", name, 0)
    return tensor


def _shards(sizes: Mapping[str, int]) -> Sequence[list[str]]:
    """Return names of tensors in groups of at most 5 GB, in their order."""
    shards: list[list[str]] = [[]]
    held = 0
    for name, size in sizes.items():
        if shards[-1] and held + size > _SHARD_BYTES:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += size
    return shards


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _readme(config: ExperimentConfig) -> str:
    weight, steps = config.sampling.guidance, sum(config.sampling.steps)
    if config.num_stages == 1:
        call = (
            'pipe = FluxPipeline.from_pretrained("this folder")\n'
            f'image = pipe("a rose", negative_prompt="", true_cfg_scale={weight:g}, '
            f"guidance_scale={config.model.guidance_input:g},\n"
            f"    num_inference_steps={steps}, sigmas=[1 - n / {steps} for n in range({steps})]).images[0]\n"
        )
        load = "from diffusers import FluxPipeline\n\n"
    else:
        call = (
            'pipe = DiffusionPipeline.from_pretrained("this folder", trust_remote_code=True)\n'
            'image = pipe("a rose", height=1024, width=1024).images[0]\n'
        )
        load = "from diffusers import DiffusionPipeline\n\n"
    what = "flow matching" if config.num_stages == 1 else "Decomposable Flow Matching"
    return (
        f"# FLUX, fine-tuned with {what}\n\nThe licence is that of the weights that the training started from.\n\n"
        f"```python\n{load}{call}```\n"
    )
