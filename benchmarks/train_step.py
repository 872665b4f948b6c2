"""Time, FLOPs and memory of a training step, beside a plain loop around diffusers' DiT of the same size.

    python benchmarks/train_step.py --size S --tokens 256 --batch 8 --threads 2

All rows run in turn in one process (A, B, C, A, B, C, ...), so that a slow moment of the machine hits all of them; the
matrix products run in the same turns. A step is everything: images and noise, decomposition, loss, backward pass,
clipping, AdamW, average of the weights. Needs the extra `benchmark`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from diffusers import DiTTransformer2DModel
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from dfm_core.catalog.datasets import DataShape
from dfm_core.compute import model_cost
from dfm_core.config import DataConfig, DecompositionConfig, ExperimentConfig, ModelConfig, SamplingConfig
from dfm_core.config.model import MODEL_SIZES
from dfm_core.config.rules import broken_rules
from dfm_core.data.image_dataset import ImageDataset
from dfm_core.decompositions import build_decomposition
from dfm_core.flow.timesteps import draw_timesteps, logit_normal
from dfm_core.paradigms import Batch, LossResult, Paradigm, build_paradigm
from dfm_core.paradigms.base import VelocityPredictor
from dfm_core.training.engine import PlainEngine, build_optimizer
from dfm_core.training.loop import train
from dfm_core.training.state import build_model
from dfm_core.training.steps import LoopPlan, Observer

CHANNELS = 16  # of the FLUX autoencoder's latents (paper, 4.1)
NUM_CLASSES = 1000
NUM_IMAGES = 64
TRAIN_PASSES = 3  # forward, gradient of activations, gradient of weights
WARMUP_STEPS = 2  # the first makes the optimiser's state
PLAIN = "plain DiT (diffusers)"
MATMUL = "matrix products"


@dataclass(frozen=True)
class Options:
    """The command line."""

    size: str
    tokens: int
    batch: int
    threads: int
    rounds: int
    device: str
    precision: str
    compile: bool
    clock: str
    rows: tuple[str, ...]


Step = Callable[[int], float]
"""Function that runs step k and returns its FLOPs."""


def flow_matching(options: Options) -> ExperimentConfig:
    """Configure flow matching on latents with patches of 2."""
    side = 2 * round(options.tokens**0.5)
    config = ExperimentConfig(
        paradigm="flow_matching",
        data=DataConfig(dataset="random"),
        decomposition=DecompositionConfig(name="identity", resolutions=(side,)),
        model=ModelConfig(size=options.size, patch_sizes=(2,)),
        sampling=SamplingConfig(steps=(40,), tau=()),
    )
    training = replace(config.training, batch_size=options.batch, precision=options.precision, warmup_steps=0)
    return replace(config, training=training)


def two_stages(options: Options, **model: object) -> ExperimentConfig:
    """Configure DFM with as many tokens in both stages; half of the samples are in the first, to mix batches."""
    config = flow_matching(options)
    side = config.decomposition.resolutions[0]
    return replace(
        config,
        paradigm="dfm",
        decomposition=DecompositionConfig(name="laplacian", resolutions=(side // 2, side)),
        model=replace(config.model, **{"patch_sizes": (1, 2), **model}),
        training=replace(config.training, first_stage_probability=0.5),
        sampling=SamplingConfig(),
    )


def one_stage_a_batch(config: ExperimentConfig) -> ExperimentConfig:
    return replace(config, training=replace(config.training, stage_draw="batch"))


OURS: dict[str, Callable[[Options], ExperimentConfig]] = {
    "flow matching": flow_matching,
    "DFM, two stages": two_stages,
    "DFM, specialised, one stage a batch": lambda o: one_stage_a_batch(two_stages(o, specialization="full")),
    "DFM, specialised, mixed batch": lambda o: two_stages(o, specialization="full"),
    "DFM, LoRA of rank 16": lambda o: two_stages(o, lora_rank=16),
    "DFM, a token grid per stage": lambda o: two_stages(o, patch_sizes=(2, 2), patch_grid="per_stage"),
}
ROWS = (PLAIN, *OURS)


def random_dataset(side: int) -> ImageDataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (NUM_IMAGES, CHANNELS, side, side), generator=generator, dtype=torch.uint8)
    return ImageDataset(pixels, torch.randint(0, NUM_CLASSES, (NUM_IMAGES,), generator=generator))


def our_step(options: Options, config: ExperimentConfig) -> Step:
    """Make a step of `dfm_core.train`, logging included."""
    assert not broken_rules(config), broken_rules(config)
    shape, scale_std = DataShape(CHANNELS, NUM_CLASSES), (0.5,) * config.num_stages
    model = build_model(config, shape, scale_std).to(options.device)
    if options.compile:
        model.compile_blocks()
    paradigm = build_paradigm(config, build_decomposition(config.decomposition), scale_std)
    engine, dataset = PlainEngine(model, config.training), random_dataset(config.decomposition.resolutions[-1])
    macs = model_cost(config, shape).stage_macs
    turns = Turns(paradigm)
    plan = LoopPlan(WARMUP_STEPS + options.rounds, options.batch, log_every=100, save_at=frozenset())
    training = partial(train, config, turns, dataset, engine, plan, turns)
    threading.Thread(target=turns.run, args=(training,), daemon=True).start()

    def step(k: int) -> float:
        turns.take()
        stages = draw_timesteps(config, range(k * options.batch, (k + 1) * options.batch)).stage
        return 2.0 * TRAIN_PASSES * sum(macs[stage] for stage in stages.tolist())

    return OurStep(step, turns.waits)


@dataclass(frozen=True)
class OurStep:
    """A step of ours."""

    step: Step
    waited: list[float]
    """Seconds of each step until its inputs were there."""

    def __call__(self, k: int) -> float:
        return self.step(k)


class Turns(Observer):
    """A paradigm, and an observer, of a training in a thread that does one step at a time."""

    def __init__(self, paradigm: Paradigm) -> None:
        self.draw, self._paradigm = paradigm.draw, paradigm
        self._begin, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self.waits: list[float] = []
        """Seconds of each step until its inputs were there."""
        self._began = 0.0
        self._failed: list[BaseException] = []

    def run(self, training: Callable[[], object]) -> None:
        """Run a training that takes its turns; its error is raised by `take`."""
        try:
            training()
        except BaseException as error:  # noqa: BLE001
            self._failed.append(error)
            self._done.release()

    def take(self) -> None:
        """Let the training do a step and wait for its end."""
        self._began = time.perf_counter()
        self._begin.release()
        self._done.acquire()
        if self._failed:
            raise self._failed[0]

    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        if not self.waits:
            self._begin.acquire()  # the first step's inputs are prepared before its turn
        self.waits.append(time.perf_counter() - self._began)
        return self._paradigm.loss(model, batch)

    def progress(self, step: int) -> None:  # noqa: ARG002
        self._done.release()
        self._begin.acquire()


def plain_step(options: Options) -> Step:
    """Make a step of a plain loop around diffusers' model: flow matching, torch's AdamW, clipping and averaging."""
    config, size = flow_matching(options), MODEL_SIZES[options.size]
    training, side = config.training, config.decomposition.resolutions[-1]
    model = DiTTransformer2DModel(
        num_attention_heads=size.heads,
        attention_head_dim=size.width // size.heads,
        in_channels=CHANNELS,
        num_layers=size.depth,
        sample_size=side,
        patch_size=2,
        num_embeds_ada_norm=NUM_CLASSES,
    ).to(options.device)
    model.train()
    if options.compile:
        for block in model.transformer_blocks:
            block.compile()
    optimizer = build_optimizer(model, training)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(training.ema_decay))
    dataset, device = random_dataset(side), options.device

    def forward(images: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=training.precision == "bf16"):
            return model(images, timestep=1000 * t, class_labels=labels).sample

    def step(_: int) -> float:
        rows = torch.randint(NUM_IMAGES, (options.batch,))
        data, labels = dataset.images(rows.numpy()).to(device), dataset.labels[rows].to(device)
        noise = torch.randn(data.shape, device=device)
        t = logit_normal(torch.randn(options.batch, device=device), 0.0, 1.0)
        weight = t[:, None, None, None]
        predicted = forward(weight * data + (1 - weight) * noise, t, labels)
        loss = (predicted.float() - (data - noise)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(model)
        return flops

    images = torch.zeros(options.batch, CHANNELS, side, side, device=device)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        forward(images, images[:, 0, 0, 0], torch.zeros(options.batch, dtype=torch.int64, device=device))
    flops = float(TRAIN_PASSES * counter.get_total_flops())
    return step


def matmul_step(options: Options) -> Step:
    """Make the products of a block's linear maps, forward and both gradients: the machine's best speed."""
    width, rows = MODEL_SIZES[options.size].width, options.batch * options.tokens
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    maps = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    cases = [
        tuple(torch.randn(shape, device=options.device, dtype=dtype) for shape in ((rows, k), (n, k), (rows, n)))
        for k, n in maps
    ]

    def step(_: int) -> float:
        for x, weight, gradient in cases:
            x @ weight.T
            gradient @ weight
            gradient.T @ x
        return 2.0 * TRAIN_PASSES * sum(rows * k * n for k, n in maps)

    return step


def build(name: str, options: Options) -> Step:
    torch.manual_seed(0)
    if name == MATMUL:
        return matmul_step(options)
    return plain_step(options) if name == PLAIN else our_step(options, OURS[name](options))


def timed(step: Step, k: int, options: Options) -> tuple[float, float]:
    """Return the seconds and FLOPs of step k."""
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    begin = clock()
    flops = step(k)
    if options.device == "cuda":
        torch.cuda.synchronize()
    return clock() - begin, flops


Runs = dict[str, list[tuple[float, float]]]
"""(seconds, FLOPs) of every row in every round."""


def measure(options: Options) -> tuple[Runs, dict[str, float]]:
    """Return the runs, and for our rows the median milliseconds that a step waits for what the host prepares."""
    names = (MATMUL, *options.rows)
    steps = {name: build(name, options) for name in track(names, "building", transient=True)}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for k in track(range(WARMUP_STEPS + options.rounds), "measuring", transient=True):
        for name, step in steps.items():
            taken[name].append(timed(step, k, options))
    waited = {
        name: 1000 * statistics.median(step.waited[WARMUP_STEPS:])
        for name, step in steps.items()
        if isinstance(step, OurStep)
    }
    return {name: runs[WARMUP_STEPS:] for name, runs in taken.items()}, waited


def process_memory(key: str) -> int:
    """Return the bytes that Linux counts for this process: VmRSS now, VmHWM at most."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[key].split()[0]) * 1024


def peak_memory(name: str, options: Options) -> int:
    """Return the most bytes that a row takes, in a process of its own: torch's on a GPU, resident ones on a CPU."""
    torch.set_num_threads(options.threads)
    before = process_memory("VmRSS")
    step = build(name, options)
    for k in range(WARMUP_STEPS):
        step(k)
    if options.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return process_memory("VmHWM") - before


def peak_memories(options: Options) -> dict[str, int]:
    """Return the peak memory of every row; none where there is no /proc."""
    if not Path("/proc/self/status").exists():
        return {}
    peaks = {}
    for name in track(options.rows, "memory", transient=True):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            peaks[name] = process.submit(peak_memory, name, options).result()
    return peaks


def paired_ratio(runs: list[tuple[float, float]], others: list[tuple[float, float]]) -> float:
    """Return the median over the rounds of the ratio of seconds per FLOP."""
    pairs = zip(runs, others, strict=True)
    return statistics.median((seconds / flops) / (other / base) for (seconds, flops), (other, base) in pairs)


def table_rows(
    options: Options, taken: Runs, waited: dict[str, float], peaks: dict[str, int]
) -> Iterator[tuple[str, ...]]:
    for name in options.rows:
        per_flop = [seconds / flops for seconds, flops in taken[name]]
        low, middle, high = statistics.quantiles(per_flop, n=4)
        yield (
            name,
            f"{statistics.mean(flops for _, flops in taken[name]) / 1e9:.1f}",
            f"{1000 * statistics.median(seconds for seconds, _ in taken[name]):.0f}",
            f"{50 * (high - low) / middle:.1f}%",
            f"{paired_ratio(taken[name], taken[PLAIN]):.3f}" if PLAIN in taken else "-",
            f"{min(per_flop) / min(s / f for s, f in taken[PLAIN]):.3f}" if PLAIN in taken else "-",
            f"{1 / paired_ratio(taken[name], taken[MATMUL]):.2f}",
            f"{waited[name]:.2f}" if name in waited else "-",
            f"{peaks[name] / 2**20:.0f}" if name in peaks else "-",
        )


def show(options: Options, taken: Runs, waited: dict[str, float], peaks: dict[str, int]) -> None:
    rate = statistics.median(flops / seconds for seconds, flops in taken[MATMUL]) / 1e9
    mode = "compiled blocks" if options.compile else "eager"
    table = Table(
        title=f"DiT-{options.size}, {options.tokens} tokens, batch {options.batch}, {options.precision}, "
        f"{options.device}, {options.threads} thread(s), {mode}; {options.rounds} rounds in turn, {options.clock} time",
        caption=f"matrix products of the blocks' linear maps: {rate:.0f} GFLOP/s. Time: median; spread: half of the "
        "interquartile range. Host: that a step waits for images, noise, timesteps and classes. Memory: of a "
        "process of its own above what it held before building the model "
        "(CPU: resident; CUDA: allocated).",
    )
    table.add_column("")
    titles = ("GFLOP\n/step", "ms\n/step", "spread", "time per FLOP\n/ plain DiT", "the same,\nfastest round")
    for title in (*titles, "share of\nmatmul rate", "host\nms/step", "peak\nMiB"):
        table.add_column(title, justify="right")
    for row in table_rows(options, taken, waited, peaks):
        table.add_row(*row)
    Console(width=120).print(table)


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=MODEL_SIZES, default="S")
    parser.add_argument("--tokens", type=int, default=256, help="a square number")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true", help="torch.compile on every block, of all rows")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: for one thread on a busy machine"
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=" | ".join(ROWS))
    options = parser.parse_args(arguments)
    if round(options.tokens**0.5) ** 2 != options.tokens:
        parser.error(f"--tokens {options.tokens} is not a square number")
    if options.rounds < 2:
        parser.error(f"--rounds {options.rounds}: a spread needs two")
    if options.clock == "cpu" and (options.threads > 1 or options.device != "cpu"):
        parser.error(
            "--clock cpu counts the time of all threads and none of the GPU: use it with one thread on the CPU"
        )
    return Options(**{**vars(options), "rows": tuple(options.rows)})


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    peaks = peak_memories(options)
    show(options, *measure(options), peaks)


if __name__ == "__main__":
    main()
