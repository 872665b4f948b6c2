"""`python -m orchestration.export`: a trained row of FLUX as a folder that stock diffusers loads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dfm_core.config import ExperimentConfig
from orchestration.artifacts.exported_pipeline import DTYPES, PipelineParts, export_problems, write_pipeline
from orchestration.artifacts.snapshot_loader import opened_snapshot
from orchestration.commands.trained_row import find_row
from orchestration.common.errors import Problem, UserError
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.autoencoder_recipe import recipe_digest
from orchestration.data.describe_text_encoders import encoder_folder
from orchestration.data.user_files import autoencoder_folder, open_place
from orchestration.plan.preflight import open_store, resolve_paths
from orchestration.spec.layers import Layers
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import DamagedArtifactError, Store


def export(
    sweep: Path, row: str, folder: Path, dtype: str, overrides: Sequence[str], layers: Layers, seed: int | None = None
) -> str:
    """Write a row's last snapshot as a pipeline. Return what was written, in words.

    Args: row: its label, or "part / label". dtype: of the network's weights, in `DTYPES`. seed: one of the sweep's;
        None: the first.
    Raises: UserError with every mistake.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError.of(str(folder), "is there already; give a folder that is new or empty")
    spec = resolve_paths(load_sweep(sweep, overrides, layers), os.environ, Path.cwd())
    found = find_row(spec, row, seed)
    config = found.config
    if problems := [Problem(f"{spec.path}: {row}: {key}", message) for key, message in export_problems(config)]:
        raise UserError(problems)
    store, step = open_store(spec.runtime.storage, writable=False), found.step
    snapshot = found.snapshots(spec)[0]
    try:
        with (
            opened_snapshot(store, snapshot) as state,
            _autoencoder(config, spec.runtime, store) as autoencoder,
            encoder_folder(open_place(_encoders(config, spec.runtime), spec.runtime.storage), weights=True) as encoders,
        ):
            write_pipeline(PipelineParts(config, state, autoencoder, encoders), folder, DTYPES[dtype])
    except FileNotFoundError as error:
        raise UserError.of(row, f"its snapshot of step {step} cannot be read ({error}); run the sweep first") from None
    except DamagedArtifactError as error:
        raise UserError.of(row, f"{error}; run the sweep again to make it anew") from None
    return f"{found.part} / {found.label}, seed {config.seed}, step {step}: written to {folder} in {dtype}"


@contextmanager
def _autoencoder(config: ExperimentConfig, runtime: RuntimeConfig, store: Store) -> Iterator[Path]:
    """Give the folder of a row's autoencoder for a `with` block."""
    described = config.data.described
    assert described is not None, "captioned images are described when their sweep is read"
    own = runtime.autoencoders[config.data.autoencoder]
    if own.files is not None:
        with autoencoder_folder(open_place(own.files, runtime.storage)) as folder:
            yield folder
        return
    with store.fetched(TaskPaths(recipe_digest(described.encoder)).autoencoder) as paths:
        yield paths[0].parent


def _encoders(config: ExperimentConfig, runtime: RuntimeConfig) -> str:
    return runtime.text_encoders[config.data.text].files
