"""Measure one GPU: rates, parity with the CPU, steps, attention, sampling, autoencoder and feature network.

    python benchmarks/gpu.py --output gpu.jsonl

Writes a line of JSON for each measurement as it comes, at most 8 minutes of them, and skips what no longer fits.
`--device cpu --size nano --side 16` rehearses it. Needs the extras `benchmark` and `features`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from train_step import OURS, PLAIN, Options, build, matmul_step

from dfm_core.catalog.datasets import DataShape
from dfm_core.decompositions import build_decomposition
from dfm_core.paradigms import Batch, build_paradigm
from dfm_core.training.state import build_model
from orchestration.artifacts.provenance import environment

Line = dict[str, Any]
REPEATS, WARMUP = 10, 3
SIZES = {64: 16, 72: 16, 128: 12}
"""Heads that are benchmarked for each width of a head."""


@dataclass(frozen=True)
class Place:
    """The command line."""

    device: str
    size: str
    side: int
    """Side of a latent; patches are 2."""
    batch: int

    @property
    def precision(self) -> str:
        return "bf16" if self.device == "cuda" else "fp32"  # of which most CPUs are far faster

    @property
    def options(self) -> Options:
        rows = (PLAIN, "flow matching", "DFM, two stages")
        return Options(
            self.size, (self.side // 2) ** 2, self.batch, torch.get_num_threads(), REPEATS, self.device, self.precision,
            compile=False, clock="wall", rows=rows,
        )  # fmt: skip


def milliseconds(call: Callable[[], object], place: Place) -> float:
    """Return the time of a call, the mean of some after a few."""
    for _ in range(WARMUP):
        call()
    wait(place)
    began = time.perf_counter()
    for _ in range(REPEATS):
        call()
    wait(place)
    return 1000 * (time.perf_counter() - began) / REPEATS


def wait(place: Place) -> None:
    if place.device == "cuda":
        torch.cuda.synchronize()


def peak_gib(place: Place) -> float:
    """Return the peak of allocated memory since the last call."""
    if place.device != "cuda":
        return 0.0
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return peak


def machine(place: Place) -> Iterator[Line]:
    """Rates of matrix products and of copies."""
    yield {**environment(), "device": place.device}
    step = matmul_step(place.options)
    flops = step(0)
    yield {"matmul_tflops": flops / milliseconds(lambda: step(0), place) / 1e9}
    host = torch.empty(2**28 if place.device == "cuda" else 2**20, dtype=torch.uint8, pin_memory=place.device == "cuda")
    own = host.to(place.device)
    for name, call in {"to_device": lambda: own.copy_(host, non_blocking=True), "on_device": own.clone}.items():
        yield {"copy": name, "gb_per_second": host.numel() / milliseconds(call, place) / 1e6}


def steps(place: Place) -> Iterator[Line]:
    """Whole training steps, eager and compiled, and their share of the rate of matrix products."""
    products = matmul_step(place.options)
    rate = products(0) / milliseconds(lambda: products(0), place)
    for compiles in (False, True):
        for name in place.options.rows:
            torch.compiler.reset()
            options = replace(place.options, compile=compiles, rounds=WARMUP + REPEATS)
            step = build(name, options)
            numbers = iter(range(10**6))
            total = [0.0, 0]

            def call(step: Any = step, numbers: Iterator[int] = numbers, total: list[float] = total) -> None:
                total[0] += step(next(numbers))
                total[1] += 1

            peak_gib(place)
            took = milliseconds(call, place)
            flops = total[0] / total[1]
            waited = getattr(step, "waited", None)
            yield {
                "row": name,
                "compiled": compiles,
                "ms": took,
                "share_of_matmul_rate": flops / took / rate,
                "peak_gib": peak_gib(place),
                "host_wait_ms": None if waited is None else 1000 * sum(waited[WARMUP:]) / len(waited[WARMUP:]),
            }


def attention(place: Place) -> Iterator[Line]:
    """Forward and backward pass of attention's kernels at the widths of a head that models have."""
    kernels = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION)
    for width, heads in SIZES.items():
        shape = (place.batch, heads, (place.side // 2) ** 2, width)
        q, k, v = (torch.randn(shape, device=place.device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
        for kernel in kernels:

            def call(q: Tensor = q, k: Tensor = k, v: Tensor = v, kernel: SDPBackend = kernel) -> None:
                with sdpa_kernel(kernel):
                    scaled_dot_product_attention(q, k, v).sum().backward()

            try:
                yield {"head": width, "kernel": kernel.name, "ms": milliseconds(call, place)}
            except RuntimeError as error:
                yield {"head": width, "kernel": kernel.name, "error": str(error).splitlines()[0]}


def _model(place: Place) -> tuple[Any, Any, Any]:
    config = OURS["DFM, two stages"](place.options)
    model = build_model(config, DataShape(16, 1000), (0.5, 0.5)).to(place.device)
    return config, build_paradigm(config, build_decomposition(config.decomposition), (0.5, 0.5)), model


def parity(place: Place) -> Iterator[Line]:
    """Loss and gradient norm beside the CPU's, in fp32."""
    found = []
    for device in ("cpu", place.device):
        _, paradigm, model = _model(replace(place, device=device, size="nano"))
        model.precision = "fp32"
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(4, 16, place.side, place.side, generator=generator)
        batch = Batch(images, torch.arange(4), range(4), paradigm.draw(range(4), tuple(images.shape[1:])))
        loss = paradigm.loss(model, batch.to(torch.device(device))).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
        found.append((float(loss.detach()), float(norm)))
    (loss, norm), (own_loss, own_norm) = found
    yield {"loss_difference": abs(own_loss / loss - 1), "gradient_norm_difference": abs(own_norm / norm - 1)}


@torch.no_grad()
def sampling(place: Place) -> Iterator[Line]:
    """Sampling beside as many bare calls of the network."""
    for compiles in (False, True):
        config, paradigm, model = _model(place)
        model.eval()
        if compiles:
            model.compile_blocks()
        labels = torch.zeros(place.batch, dtype=torch.int64, device=place.device)
        scales = [torch.randn(place.batch, *shape, device=place.device) for shape in model.scale_shapes]
        ones = torch.ones(place.batch, 2, device=place.device)
        setting = replace(config.sampling, steps=(3, 2))
        whole = milliseconds(partial(paradigm.sample, model, labels, range(place.batch), 0, setting), place)
        call = milliseconds(partial(model, scales, ones / 2, ones, labels, (0, place.batch)), place)
        yield {"compiled": compiles, "ms_per_call": whole / 5, "ms_per_bare_call": call}


@torch.no_grad()
def autoencoder(place: Place) -> Iterator[Line]:
    """FLUX's autoencoder with random weights: images a second both ways, at 8 times the latent's side."""
    from diffusers import AutoencoderKL

    widths = (128, 256, 512, 512) if place.device == "cuda" else (8, 8, 8, 8)
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=8,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).to(place.device)
    count = 8 if place.device == "cuda" else 1
    pixels = torch.randn(count, 3, 8 * place.side, 8 * place.side, device=place.device)
    latents = torch.randn(count, 16, place.side, place.side, device=place.device)
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast(place.device, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            for name, call in {
                "encode": lambda: network.encode(pixels),
                "decode": lambda: network.decode(latents),
            }.items():
                peak_gib(place)
                took = milliseconds(call, place)
                yield {
                    "way": name,
                    "dtype": str(dtype),
                    "images_per_second": 1000 * count / took,
                    "peak_gib": peak_gib(place),
                }


@torch.no_grad()
def dinov2(place: Place) -> Iterator[Line]:
    """DINOv2's network, ViT-L/14, with random weights."""
    from transformers import Dinov2Config, Dinov2Model

    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16} if place.device == "cuda" else {}
    small = {} if large else {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    network = Dinov2Model(Dinov2Config(image_size=224, patch_size=14, **large, **small)).to(place.device).eval()
    count = 64 if large else 2
    images = torch.randn(count, 3, 224, 224, device=place.device)
    yield {"images_per_second": 1000 * count / milliseconds(lambda: network(images), place)}


SECTIONS: dict[str, tuple[Callable[[Place], Iterator[Line]], float]] = {
    "machine": (machine, 15),
    "parity": (parity, 15),
    "steps": (steps, 180),
    "attention": (attention, 30),
    "sampling": (sampling, 90),
    "autoencoder": (autoencoder, 60),
    "dinov2": (dinov2, 30),
}
"""Measurement -> (function, seconds that it may need)."""


def run(place: Place, seconds: float, write: Callable[[Line], None]) -> None:
    """Make the measurements that fit; one that fails is told and the others go on.

    One that takes longer than it may need ends at its next line once the time is over.
    """
    end = time.monotonic() + seconds
    write({"section": "settings", **asdict(place)})
    for name, (section, needs) in SECTIONS.items():
        left = end - time.monotonic()
        if left < needs:
            write({"section": name, "skipped": f"{left:.0f} s are left, it may need {needs:.0f}"})
            continue
        try:
            for line in section(place):
                write({"section": name, **line})
                if time.monotonic() > end:
                    write({"section": name, "skipped": "the rest of it: the time is over"})
                    break
        except Exception as error:  # noqa: BLE001  the rest is worth having
            write({"section": name, "error": f"{type(error).__name__}: {str(error).splitlines()[0]}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--size", default="XL")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    def write(line: Line) -> None:
        text = json.dumps(line)
        print(text, flush=True)
        if options.output is not None:
            with options.output.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    run(Place(options.device, options.size, options.side, options.batch), options.seconds, write)


if __name__ == "__main__":
    main()
