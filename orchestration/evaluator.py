"""The evaluator: a warm actor that samples snapshots and measures images. It keeps model and feature network loaded."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dfm_core.compute import model_cost, sampling_flops
from dfm_core.config import EvaluationConfig, ExperimentConfig
from dfm_core.data.catalog import DATASETS
from dfm_core.data.datasets import load_dataset, to_pixels
from dfm_core.metrics.features.lite0 import Lite0Features, load_lite0
from dfm_core.metrics.frechet import frechet_distance
from dfm_core.metrics.moments import Array, Moments
from dfm_core.metrics.probe import LinearProbe, fit_linear_probe
from dfm_core.paradigms import build_paradigm
from dfm_core.seeding import sample_generator
from orchestration.board import find_board
from orchestration.layout import TaskPaths
from orchestration.pyramids import make_pyramid
from orchestration.results import TaskResult, checksum, read_checked, write_result
from orchestration.snapshots import SnapshotLoader
from orchestration.storage import Store
from orchestration.tasks import SnapshotRef
from orchestration.validation import revive

GRID_ROWS, GRID_COLUMNS = 4, 10
_GRID_ZOOM = 3
_REFERENCE_FILE = "reference.npz"


@dataclass(frozen=True)
class GroupResult:
    """What a group of images contributes; groups are merged in order, so who computed them doesn't matter."""

    block10: Moments
    head: Moments
    num_correct: int
    """Images that the probe puts into the class that was asked for."""
    first_pixels: np.ndarray
    """The first images, for the grid, [n, C, H, W] uint8."""
    num_evaluations: int
    """Network evaluations per image."""
    seconds: float
    """That one evaluator was busy with it."""


@dataclass(frozen=True)
class RealGroup:
    """Features of real images."""

    block10: Array
    head: Array
    labels: np.ndarray
    pixels: np.ndarray
    """The first images, for the grid."""
    seconds: float
    """That one evaluator was busy with it."""


class Evaluator:
    """See the module. All methods depend on their arguments and the store alone."""

    def __init__(
        self,
        store_root: str,
        store_options: dict[str, str],
        board: str,
        num_threads: int,
        batch_size: int,
        use_gpu: bool,
    ) -> None:
        torch.set_num_threads(num_threads)
        # TF32 would give a GPU's evaluators other features than a CPU's, under one digest.
        torch.backends.cudnn.allow_tf32 = False
        self._store = Store(store_root, store_options)
        self._board, self._batch_size = find_board(board), batch_size
        self._device = torch.device("cuda" if use_gpu else "cpu")
        self._features = load_lite0().to(self._device)
        self._snapshots = SnapshotLoader(self._store, self._device)
        self._probes: dict[str, LinearProbe] = {}

    def sample_group(
        self,
        digest: str,
        config_data: dict[str, Any],
        snapshots: Sequence[SnapshotRef],
        reference: str,
        begin: int,
        end: int,
    ) -> GroupResult:
        """Samples the images begin..end - 1 of an evaluation and measures them."""
        started = time.monotonic()
        config = revive(ExperimentConfig, config_data)
        sampler, probe = self._snapshots.load(tuple(snapshots)), self._load_probe(reference)
        paradigm = build_paradigm(config, sampler.decomposition, sampler.scale_std)
        num_classes = DATASETS[config.data.dataset].num_classes
        block10, head = Moments.empty(probe.mean.shape[0]), None
        num_correct, evaluations, first = 0, 0, []
        for start in range(begin, end, self._batch_size):
            indices = range(start, min(start + self._batch_size, end))
            labels = sample_labels(config.evaluation, indices, num_classes)
            sampled = paradigm.sample(
                sampler.model, labels.to(self._device), indices, config.evaluation.seed, config.sampling
            )
            pixels, evaluations = to_pixels(sampled.images).cpu(), sampled.num_evaluations
            features = self._measure(pixels)
            block10 = block10.merge(Moments.of(features.block10))
            head = Moments.of(features.head) if head is None else head.merge(Moments.of(features.head))
            predicted = probe.predict(features.block10.double().cpu().numpy())
            num_correct += int((predicted == labels.numpy()).sum())
            if start < GRID_ROWS * GRID_COLUMNS:
                first.append(pixels.numpy())
            self._board.advanced.remote(digest, len(indices))
        assert head is not None, f"a group has images: {begin}..{end}"
        shown = np.concatenate(first) if first else np.empty(0)
        return GroupResult(block10, head, num_correct, shown, evaluations, time.monotonic() - started)

    def finish_evaluation(
        self, digest: str, config_data: dict[str, Any], step: int, reference: str, seconds: float, *groups: GroupResult
    ) -> None:
        """Merges the groups, computes the metrics and publishes grid and record."""
        config = revive(ExperimentConfig, config_data)
        arrays = self._reference_arrays(reference)
        block10 = Moments.merge_all([group.block10 for group in groups])
        head = Moments.merge_all([group.head for group in groups])
        assert block10.count == config.evaluation.num_samples, f"{block10.count} samples were measured"
        values = {
            "fd_lite0_block10": lambda: frechet_distance(block10, Moments.from_arrays(arrays, "block10")),
            "fd_lite0_head": lambda: frechet_distance(head, Moments.from_arrays(arrays, "head")),
            "label_accuracy": lambda: sum(group.num_correct for group in groups) / block10.count,
        }
        metrics: dict[str, float] = {name: values[name]() for name in config.evaluation.metrics}
        pixels = np.concatenate([group.first_pixels for group in groups if group.first_pixels.size])
        self._write_grid(digest, "samples.png", pixels)
        shape = DATASETS[config.data.dataset].shape
        costs = {
            "images_per_second": block10.count / max(seconds, 1e-9),
            "num_evaluations": groups[0].num_evaluations,
            "num_samples": block10.count,
            "sampling_flops": float(sampling_flops(config, model_cost(config, shape), block10.count)),
            "accelerator_seconds": sum(group.seconds for group in groups),
        }
        write_result(
            self._store,
            TaskResult(digest, "evaluate", {**metrics, **costs}, seconds, step=step, files=("samples.png",)),
        )

    def fit_pyramid(self, digest: str, config_data: dict[str, Any]) -> None:
        """Makes the weights of a learned decomposition."""
        config = revive(ExperimentConfig, config_data)
        make_pyramid(self._store, digest, config, lambda steps: self._board.reached.remote(digest, steps))

    def real_group(self, digest: str, dataset: str, split: str, begin: int, end: int) -> RealGroup:
        """Features of the real images begin..end - 1 of a split."""
        started, images = time.monotonic(), load_dataset(dataset, split)
        block10, head = [], []
        for start in range(begin, end, self._batch_size):
            features = self._measure(images.pixels[start : min(start + self._batch_size, end)])
            block10.append(features.block10.double().cpu().numpy())
            head.append(features.head.double().cpu().numpy())
            self._board.advanced.remote(digest, min(self._batch_size, end - start))
        shown = images.pixels[begin : min(end, GRID_ROWS * GRID_COLUMNS)].numpy()
        return RealGroup(
            np.concatenate(block10),
            np.concatenate(head),
            images.labels[begin:end].numpy(),
            shown,
            time.monotonic() - started,
        )

    def finish_reference(
        self, digest: str, num_classes: int, floor_images: int, seconds: float, num_train: int, *groups: RealGroup
    ) -> None:
        """Moments of the reference images, the real/real floor and the label probe; published with their record.

        Args: num_train: how many of `groups`, from the first, hold training images; the others hold reference images.
        """
        train, reference = groups[:num_train], groups[num_train:]
        block10, head = (np.concatenate([getattr(g, name) for g in train]) for name in ("block10", "head"))
        labels = np.concatenate([group.labels for group in train])
        moments = {
            name: Moments.of(torch.from_numpy(np.concatenate([getattr(g, name) for g in reference])))
            for name in ("block10", "head")
        }
        probe = fit_linear_probe(block10, labels, num_classes)
        held_out = np.concatenate([group.block10 for group in reference])
        truth = np.concatenate([group.labels for group in reference])
        floors = {"block10": block10[:floor_images], "head": head[:floor_images]}
        metrics = {
            f"floor_fd_lite0_{name}": frechet_distance(Moments.of(torch.from_numpy(floors[name])), moments[name])
            for name in moments
        }
        metrics["accelerator_seconds"] = sum(group.seconds for group in groups)
        metrics["floor_label_accuracy"] = float((probe.predict(held_out) == truth).mean())
        buffer = io.BytesIO()
        np.savez(
            buffer,
            **moments["block10"].arrays("block10"),  # type: ignore[arg-type]
            **moments["head"].arrays("head"),  # type: ignore[arg-type]
            **{f"probe_{name}": value for name, value in vars(probe).items()},
        )
        self._store.write(TaskPaths(digest).result_file(_REFERENCE_FILE), buffer.getvalue())
        self._write_grid(digest, "real.png", reference[0].pixels)
        files = ("real.png",)
        about = checksum(_REFERENCE_FILE, buffer.getvalue())
        write_result(self._store, TaskResult(digest, "reference", metrics, seconds, files=files, about=about))

    def _measure(self, pixels: Tensor) -> Lite0Features:
        features: Lite0Features = self._features(pixels.to(self._device))
        return features

    def _load_probe(self, reference: str) -> LinearProbe:
        if reference not in self._probes:
            arrays = self._reference_arrays(reference)
            fields = {name: arrays[f"probe_{name}"] for name in ("mean", "scale", "weight", "bias")}
            self._probes[reference] = LinearProbe(**fields)
        return self._probes[reference]

    def _reference_arrays(self, reference: str) -> dict[str, Array]:
        content = read_checked(self._store, reference, _REFERENCE_FILE)
        with np.load(io.BytesIO(content)) as archive:
            return {name: archive[name] for name in archive.files}

    def _write_grid(self, digest: str, name: str, pixels: np.ndarray) -> None:
        buffer = io.BytesIO()
        image_grid(pixels).save(buffer, format="PNG")
        self._store.write(TaskPaths(digest).result_file(name), buffer.getvalue())


def sample_labels(evaluation: EvaluationConfig, indices: Sequence[int], num_classes: int) -> Tensor:
    """The class of each generated image, a function of its index alone, [B] int64."""
    if evaluation.label_sampling == "balanced":
        return torch.tensor([index % num_classes for index in indices])
    draws = [sample_generator(evaluation.seed, "sample_label", index).integers(num_classes) for index in indices]
    return torch.tensor([int(draw) for draw in draws])


def image_grid(pixels: np.ndarray) -> Image.Image:
    """Images side by side, ten a row, enlarged for the eye.

    Args: pixels: [n, C, H, W] uint8, C 1 or 3; the first 40 are shown.
    """
    shown = pixels[: GRID_ROWS * GRID_COLUMNS]
    count, channels, height, width = shown.shape
    rows = -(-count // GRID_COLUMNS)
    canvas = np.zeros((rows * GRID_COLUMNS, channels, height, width), dtype=np.uint8)
    canvas[:count] = shown
    grid = canvas.reshape(rows, GRID_COLUMNS, channels, height, width).transpose(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * height, GRID_COLUMNS * width, channels)
    image = Image.fromarray(grid[..., 0] if channels == 1 else grid)
    return image.resize((image.width * _GRID_ZOOM, image.height * _GRID_ZOOM), Image.Resampling.NEAREST)
