"""Files of a tiny FLUX with everything around it, and a sweep that fine-tunes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support.captioned_files import make_captioned
from tests.support.flux import TINY_FLUX, pretrained

FLUX_OF_FILES = replace(TINY_FLUX, joint_attention_dim=16, pooled_projection_dim=12)
"""Reads the encodings of `make_text_encoders` and the latents of the autoencoder beside them."""
SWEEP = """
name: flux
seeds: [0]
storage: {{root: {root}}}
datasets: {{flowers: {{files: {files}/train, layout: captioned_folder, reference: {files}/reference}}}}
autoencoders: {{tiny: {{kind: kl, files: {files}/vae}}}}
text_encoders: {{tiny: {{files: {files}/encoders, precision: fp32}}}}
backbones:
  dev: {{kind: flux, files: {files}/transformer}}
  projections: {{kind: flux, made: {{start: dev, settings: {{training.steps: 2, training.trainable: projections}}}}}}
  adapted: {{kind: flux, made: {{start: projections, settings: {{training.steps: 3}}}}}}
  base:
    kind: flux
    made:
      architecture:
        in_channels: 16
        num_layers: 1
        num_single_layers: 1
        attention_head_dim: 16
        num_attention_heads: 2
        joint_attention_dim: 16
        pooled_projection_dim: 12
        axes_dims_rope: [4, 6, 6]
      settings: {{training.steps: 4}}
paradigm: flow_matching
data: {{dataset: flowers, sides: [32], autoencoder: tiny, text: tiny, text_length: 16}}
decomposition: {{name: identity, resolutions: [8]}}
model: {{backbone: flux, start: adapted, preconditioning: none, patch_sizes: [2]}}
training: {{steps: 5, batch_size: 4, warmup_steps: 1, ema_decay: 0, learning_rate: 1.0e-3}}
sampling: {{steps: [2], tau: []}}
evaluation: {{num_samples: 5, metrics: [fd_lite0_block10], bootstrap_replicates: 0}}
workers: {{num_workers: 1, use_gpu: false, num_evaluators: 1, gpus_per_evaluator: 0}}
parts:
  main:
    rows:
      flux: {{model.start: dev, training.steps: 0}}
      ft: {{}}
      dfm:
        paradigm: dfm
        decomposition: {{name: laplacian, resolutions: [4, 8], held_at: full}}
        model.patch_sizes: [2, 2]
        sampling: {{steps: [2, 1], tau: [0.9]}}
compute: {{allow_unequal: true}}
"""


def make_flux_files(folder: Path) -> Path:
    """Write captioned images, an autoencoder, text encoders and a FLUX. Returns: the folder."""
    make_captioned(folder)
    pretrained(architecture=FLUX_OF_FILES).save_pretrained(folder / "transformer", max_shard_size="30KB")
    return folder


def flux_sweep(folder: Path, files: Path, text: str = SWEEP) -> Path:
    """Write the sweep. Args: files: of `make_flux_files`."""
    path = folder / "flux.yaml"
    path.write_text(text.format(root=folder / "store", files=files), encoding="utf-8")
    return path
