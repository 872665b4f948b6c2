"""Exported pipelines load with stock diffusers in a process without network, and sample as this project does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfm_core.autoencoders.identity import identity_of
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.config import SamplingConfig
from dfm_core.config.data import CaptionsDescription, DataDescription
from dfm_core.config.model import BackboneDescription
from dfm_core.config.training import AdapterConfig
from dfm_core.data.captions.caption import caption_number
from dfm_core.decompositions import build_decomposition
from dfm_core.models.flux.text_encoders import load_text_encoders
from dfm_core.models.flux.velocity import FluxVelocity
from dfm_core.models.text_tables import NULL_CAPTION, MemoryTextTable
from dfm_core.paradigms import build_paradigm
from dfm_core.pipeline import DFMPipeline
from dfm_core.seeding import normal
from dfm_core.training.engine import OwnedPiece
from dfm_core.training.pieces import PieceState, read_local, write_pieces
from dfm_core.training.state import Snapshot, SnapshotCard
from orchestration.artifacts import exported_pipeline
from orchestration.artifacts.exported_pipeline import PipelineParts, export_problems, write_pipeline
from tests.support.flux import FLUX_SHAPE, flux_network, tiny_flux
from tests.support.flux_sweeps import FLUX_OF_FILES
from tests.support.models import tiny_dfm, with_values
from tests.support.tiny_autoencoders import save_kl
from tests.support.tiny_text_encoders import make_text_encoders

PROMPTS = ["rose on a blue background", "tree on a red background"]
TEXT_LENGTH, SEED, GUIDANCE = 16, 5, 3.0
HEIGHT, WIDTH = 6, 10
LOADED = """
import socket, sys
def refuse(*_, **__): raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
sys.modules["dfm_core"] = sys.modules["orchestration"] = None
import json, torch
torch.set_num_threads(1)
from diffusers import DiffusionPipeline, FluxPipeline
folder, given = sys.argv[1], torch.load(sys.argv[1] + "/../inputs.pt")
if given["stages"] == 1:
    pipe = FluxPipeline.from_pretrained(folder)
    noise = FluxPipeline._pack_latents(given["noise"][0], 2, 4, given["height"], given["width"])
    n = given["steps"][0]
    out = pipe(given["prompts"], negative_prompt=[""] * 2, true_cfg_scale=given["guidance"], guidance_scale=1.0,
               height=4 * given["height"], width=4 * given["width"], max_sequence_length=given["length"],
               num_inference_steps=n, sigmas=[1 - k / n for k in range(n)], latents=noise, output_type="latent").images
    out = FluxPipeline._unpack_latents(out, 4 * given["height"], 4 * given["width"], 4)
    pictures = pipe(given["prompts"][0], height=32, width=48, num_inference_steps=2, max_sequence_length=16).images
else:
    pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    sizes = {"height": 4 * given["height"], "width": 4 * given["width"]}
    out = pipe(given["prompts"], **sizes, latents=given["noise"], output_type="latent").images
    pictures = pipe(given["prompts"][0], height=32, width=48, steps=[1, 1]).images
torch.save({"latents": out, "class": type(pipe).__name__, "size": pictures[0].size}, folder + "/../outputs.pt")
"""


def config_of(stages: int, values: dict[str, Any] | None = None) -> Any:
    steps = (4, 2) if stages == 2 else (5,)
    described = DataDescription("x", "kl:x", (), 10, 5, "y", 8, 4, captions=CaptionsDescription(8, "x", 16, 12))
    own = {
        "model.described": BackboneDescription("flux:x", FLUX_OF_FILES),
        "data.described": described,
        "data.text_length": TEXT_LENGTH,
        "sampling": SamplingConfig(steps, (0.8,) if stages == 2 else (), GUIDANCE),
    }
    return tiny_flux(stages, {**own, **(values or {})})


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    save_kl(folder / "vae")
    make_text_encoders(folder / "encoders")
    return folder


def network_of(config: Any, parts: Path) -> FluxVelocity:
    """A random network of a config, with the encodings of the prompts."""
    network = flux_network(config.num_stages, {"model": config.model, "data": config.data, "training": config.training})
    with torch.no_grad():
        for weight in network.parameters():  # 0.3 would carry a rounded time far
            weight.mul_(0.5)
    encoders = load_text_encoders(parts / "encoders", TEXT_LENGTH, torch.device("cpu"), torch.float32)
    encoded = encoders.encode(["", *PROMPTS])
    numbers = [NULL_CAPTION, *map(caption_number, PROMPTS)]
    rows = zip(encoded.tokens, encoded.pooled, strict=True)
    network.use_text(MemoryTextTable(dict(zip(numbers, rows, strict=True))))
    return network.eval()


def exported(config: Any, network: FluxVelocity, parts: Path, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    pieces = [OwnedPiece(name, 0, weight.detach().reshape(-1)) for name, weight in network.named_parameters()]
    folder.mkdir(exist_ok=True)
    state = PieceState(write_pieces({"ema": pieces}, folder / "state.safetensors"), read_local(folder))
    write_pipeline(PipelineParts(config, state, parts / "vae", parts / "encoders"), folder / "pipeline", dtype)
    return folder / "pipeline"


def ours(config: Any, network: FluxVelocity) -> Tensor:
    """The latents of this project's sampler."""
    paradigm = build_paradigm(config, build_decomposition(config.decomposition), (1.0,) * config.num_stages)
    numbers = torch.tensor([caption_number(prompt) for prompt in PROMPTS])
    with torch.no_grad():
        return paradigm.sample(network.sized(HEIGHT, WIDTH), numbers, range(2), SEED, config.sampling).images


def theirs(config: Any, folder: Path) -> dict[str, Any]:
    """Return the samples that a fresh process makes of the same noise."""
    shapes = [(4, HEIGHT, WIDTH)] * config.num_stages
    inputs = {
        "stages": config.num_stages,
        "noise": [normal(SEED, f"sample_noise/{s}", range(2), shape) for s, shape in enumerate(shapes)],
        "prompts": PROMPTS,
        "steps": config.sampling.steps,
        "guidance": GUIDANCE,
        "length": TEXT_LENGTH,
        "height": HEIGHT,
        "width": WIDTH,
    }
    torch.save(inputs, folder / ".." / "inputs.pt")
    command = [sys.executable, "-c", LOADED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = torch.load(folder / ".." / "outputs.pt", weights_only=False)
    return found


CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "ft": (1, {}),
    "dfm": (2, {}),
    "dfm-adapter": (2, {"training.adapter": AdapterConfig(rank=2, targets=("attn.to_q", "proj_mlp", "ff.net.2"))}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fresh_process_without_network_samples_as_we_do(
    case: str, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_pipeline, "_SHARD_BYTES", 60_000)
    stages, values = CASES[case]
    config = config_of(stages, values)
    network = network_of(config, parts)
    folder = exported(config, network, parts, tmp_path)
    assert len(list((folder / "transformer").glob("*.safetensors"))) > 1
    found, expected = theirs(config, folder), ours(config, network)
    assert found["class"] == ("FluxPipeline" if stages == 1 else "FluxDFMPipeline")
    assert found["size"] == (48, 32)
    assert expected.abs().max() > 0.5
    torch.testing.assert_close(found["latents"].float(), expected, rtol=1e-5, atol=1e-5)


def test_in_bf16_the_networks_weights_take_half_and_are_near(parts: Path, tmp_path: Path) -> None:
    config = config_of(2)
    network = network_of(config, parts)
    folder = exported(config, network, parts, tmp_path, torch.bfloat16)
    from safetensors.torch import load_file

    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    own = {name.removeprefix("network."): weight for name, weight in network.named_parameters()}
    assert set(weights) == set(own)
    for name, weight in weights.items():
        assert weight.dtype == torch.bfloat16
        torch.testing.assert_close(weight.float(), own[name].detach(), rtol=1e-2, atol=1e-3)


def test_the_readme_says_how_to_sample_as_the_table_was(parts: Path, tmp_path: Path) -> None:
    config = config_of(1)
    folder = exported(config, network_of(config, parts), parts, tmp_path)
    assert "true_cfg_scale=3, guidance_scale=1" in (folder / "README.md").read_text()
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert (scheduler["shift"], scheduler["use_dynamic_shifting"]) == (1.0, False)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"sampling.solver": "heun"}, "sampling.solver"),
        ({"sampling.time_shift": 2.0}, "sampling.time_shift"),
        ({"sampling.guidance_interval": (0.1, 1.0)}, "sampling.guidance_interval"),
        ({"data.standardize": True}, "data.standardize"),
    ],
)
def test_what_diffusers_cannot_do_is_told(values: dict[str, Any], key: str) -> None:
    assert [found for found, _ in export_problems(with_values(config_of(2), values))] == [key]
    assert not list(export_problems(config_of(2)))
    assert dict(export_problems(tiny_dfm()))["model.backbone"].startswith("dit is no pipeline of diffusers")


def test_the_schedule_is_that_of_our_sampler() -> None:
    from dfm_core.flow.schedules import stage_schedule
    from dfm_core.models.flux.pipeline import timesteps

    schedule = stage_schedule((3, 2), (0.7,), 1.0)
    mine = [(before, after) for (before, after), _ in timesteps((3, 2), (0.7,))]
    assert len(mine) == schedule.num_steps
    expected = [0.0, 0.7 / 3, 1.4 / 3, 0.7, 0.85]
    assert [before[0] for before, _ in mine] == pytest.approx(expected)
    assert [before[1] for before, _ in mine] == pytest.approx([0, 0, 0, 0, 0.5])
    assert mine[-1][1] == (1.0, 1.0)
    assert [moving for _, moving in timesteps((3, 2), (0.7,))] == [1, 1, 1, 2, 2]


def test_our_own_pipeline_takes_prompts_and_sizes(parts: Path) -> None:
    config = config_of(2)
    network, identity = network_of(config, parts), identity_of("kl", parts / "vae")
    described = replace(config.data.described, encoder=identity)
    config = with_values(config, {"data.described": described})
    snapshot = Snapshot(
        config, SnapshotCard(1, FLUX_SHAPE, (1.0, 1.0)), network, build_decomposition(config.decomposition)
    )
    encoders = load_text_encoders(parts / "encoders", TEXT_LENGTH, torch.device("cpu"), torch.float32)
    pipe = DFMPipeline(snapshot, load_autoencoder("kl", parts / "vae"), encoders)
    pipe.set_progress_bar_config(disable=True)

    def run(prompts: str | list[str]) -> Any:
        seed = torch.Generator().manual_seed(3)
        return pipe(prompts, height=24, width=40, generator=seed, output_type="pt").images

    both = run(PROMPTS)
    assert both.shape == (2, 3, 24, 40)
    torch.testing.assert_close(run(f"  {PROMPTS[0]} "), both[:1], rtol=1e-4, atol=1e-4)
    assert (run([PROMPTS[1], PROMPTS[1]])[0] - both[0]).abs().max() > 1e-3
    for prompts, size, message in [
        (3, 24, "this model reads captions: give a prompt"),
        ("rose", 25, "25: give multiples of 8"),
    ]:
        with pytest.raises(ValueError, match=message):
            pipe(prompts, height=size, width=40)
    with pytest.raises(ValueError, match="this model reads captions: give text_encoders"):
        DFMPipeline(snapshot)


def test_sizes_that_do_not_divide_are_refused(parts: Path, tmp_path: Path) -> None:
    from diffusers import DiffusionPipeline

    config = replace(config_of(2))
    folder = exported(config, network_of(config, parts), parts, tmp_path)
    pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    with pytest.raises(ValueError, match="height 30 and width 32 must be multiples of 8"):
        pipe("rose", height=30, width=32)
