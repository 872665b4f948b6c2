"""A trained row of a sweep: found by its label, and its parts for `DFMPipeline.from_sweep`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dfm_core.config import ExperimentConfig
from dfm_core.models.flux.text_encoders import TextEncoders
from dfm_core.sweep_rows import RowParts
from orchestration.artifacts.autoencoders import load_of_data
from orchestration.artifacts.samples.planned_text_encoders import load_planned_encoders
from orchestration.artifacts.snapshot_loader import read_snapshot
from orchestration.common.errors import UserError, known_names
from orchestration.config.runtime import RuntimeConfig
from orchestration.plan.plan import make_plan
from orchestration.plan.preflight import open_store, resolve_paths
from orchestration.spec.layers import find_layers
from orchestration.spec.load import SweepSpec, load_sweep
from orchestration.storage.layout import SnapshotRef
from orchestration.storage.store import DamagedArtifactError


@dataclass(frozen=True)
class FoundRow:
    """One row of a sweep at one seed."""

    part: str
    label: str
    config: ExperimentConfig

    @property
    def step(self) -> int:
        """Training step at which it was measured last."""
        return self.config.evaluation_steps[-1]

    def snapshots(self, spec: SweepSpec) -> tuple[SnapshotRef, ...]:
        """Return the snapshots that it was measured with last: one, or one for each expert."""
        plan, wanted = make_plan(spec), (self.part, self.label, self.config.seed)
        trial = next(t for t in plan.trials if (t.part, t.row, t.seed) == wanted)
        return plan.evaluation(trial.evaluations[-1][1]).snapshots


def find_row(spec: SweepSpec, given: str, seed: int | None) -> FoundRow:
    """Return a row by its label, or "part / label". Args: seed: one of the sweep's; None: the first.

    Raises: UserError if there is none, or several parts have one.
    """
    found = [
        (part.name, own)
        for part in spec.parts
        for own in part.rows
        if given in (own.label, f"{part.name} / {own.label}")
    ]
    if len(found) != 1:
        labels = [f"{part.name} / {row.label}" for part in spec.parts for row in part.rows]
        why = "is the label of several rows" if found else "is no row of the sweep"
        raise UserError.of(spec.path, f"{given!r} {why}{known_names(given, labels)}")
    ((part_name, row),) = found
    config = next((one for one in row.configs if seed in (None, one.seed)), None)
    if config is None:
        raise UserError.of(spec.path, f"{seed} is no seed of the sweep; it has {', '.join(map(str, spec.seeds))}")
    return FoundRow(part_name, row.label, config)


def load_row(sweep: Path, row: str, seed: int | None, overrides: Sequence[str], device: str) -> RowParts:
    """Return the parts of a row as it was measured last, `dfm_core.sweep_rows.SweepRowLoader`.

    Raises: ValueError that lists every mistake, or says that the row is not trained yet.
    """
    try:
        return _row_parts(sweep, row, seed, overrides, torch.device(device))
    except UserError as error:
        raise ValueError(str(error)) from None


def _row_parts(sweep: Path, row: str, seed: int | None, overrides: Sequence[str], device: torch.device) -> RowParts:
    spec = resolve_paths(load_sweep(sweep, overrides, find_layers(sweep, os.environ)), os.environ, Path.cwd())
    found = find_row(spec, row, seed)
    config, snapshots = found.config, found.snapshots(spec)
    if len(snapshots) > 1:
        several = f"{found.part} / {found.label} samples with {len(snapshots)} networks, one after the other"
        raise UserError.of(spec.path, f"{several}: a pipeline has one; see dfm_core.models.experts.StageExperts")
    store = open_store(spec.runtime.storage, writable=False)
    try:
        snapshot = read_snapshot(store, snapshots[0], config.sampling.weights)
        autoencoder = load_of_data(config.data, spec.runtime, store, device) if config.data.autoencoder else None
    except FileNotFoundError as error:
        raise UserError.of(
            row, f"its snapshot of step {found.step} cannot be read ({error}); run the sweep first"
        ) from None
    except DamagedArtifactError as error:
        raise UserError.of(row, f"{error}; run the sweep again to make it anew") from None
    return RowParts(replace(snapshot, config=config), autoencoder, _text_encoders(config, spec.runtime, device))


def _text_encoders(config: ExperimentConfig, runtime: RuntimeConfig, device: torch.device) -> TextEncoders | None:
    captions = config.data.described and config.data.described.captions
    if not captions or not config.data.text:
        return None
    name, own = config.data.text, runtime.text_encoders[config.data.text]
    return load_planned_encoders(name, own, runtime.storage, captions.encoders, config.data.text_length, device)
