"""The diffusion transformer with one patchify, timestep embedder and head per scale (DFM, section 3.4; numerics 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from torch.utils.checkpoint import checkpoint

from dfm_core.catalog.datasets import DataShape
from dfm_core.compute import patch_values
from dfm_core.config import ExperimentConfig
from dfm_core.config.model import ModelSizeSpec
from dfm_core.models.blocks import Block, Head
from dfm_core.models.embeddings import TimestepEmbedder, sincos_positions
from dfm_core.models.initialization import Whole, as_they_are, initialize
from dfm_core.models.linear import Groups, LinearFactory
from dfm_core.models.patches import gather_tokens, patchify, spread_tokens, unpatchify
from dfm_core.models.rope import grid_rotation
from dfm_core.wiring import StageWiring, network


class DiT(nn.Module):
    """Diffusion transformer over S scales (numerics 5.3).

    h = sum_s Patchify_s(X^s),  c = sum_s TEmb_s(t_s) + YEmb(y) + StageEmb(stage),  out_s = Head_s(blocks(h, c), c)

    `dfm_core.wiring` says which scales a stage reads and predicts, and on whose token grid it runs: coarser scales are
    spread over it, their heads read the mean over the cells they cover (numerics 5.6).
    """

    def __init__(self, config: ExperimentConfig, shape: DataShape, size: ModelSizeSpec) -> None:
        super().__init__()
        model, own = config.model, network(config)
        width, stages = size.width, config.num_stages
        linears = LinearFactory(stages, model.specialization, model.lora_rank, model.lora_alpha)
        self.wiring = own
        self.by_stage = linears.needs_groups or (model.backbone == "tokenformer" and stages > 1)
        self.channels, self.frames = config.decomposition.channels(shape.channels), shape.frames
        self.patch_sizes, self.token_sides = model.patch_sizes, config.token_sides
        self.timestep_scale = model.timestep_scale
        self.activation_checkpointing = False
        self.is_compiled = False
        values = patch_values(config, shape)
        self.patch_embedders = _by_number(own.inputs, lambda s: linears("projection", values[s], width))
        self.timestep_embedders = _by_number(own.embedders, lambda _: TimestepEmbedder(width, linears))
        self.label_table = linears.embedding(shape.num_classes + 1, width)  # the last row is the null class
        self.stage_table = linears.embedding(stages, width) if own.has_stage_table else None
        self.blocks = nn.ModuleList(Block(width, size.heads, linears, model.backbone) for _ in range(size.depth))
        self.heads = _by_number(own.outputs, lambda s: Head(width, values[s], linears))
        assert self.frames is None or model.positions == "rope", "DiT's table knows no frames: videos need rope"
        finest = None if config.paradigm == "pyramidal_flow" else self.token_sides[-1]  # whose coordinates count
        for scale, side in enumerate(self.token_sides):
            rotation = None
            if model.positions == "rope" and scale in own.grids:
                rotation = grid_rotation(side, width // size.heads, frames=self.frames, finest=finest)
            self.register_buffer(f"rotation_{scale}", rotation, persistent=False)
        table = sincos_positions(width, self.token_sides[-1]) if model.positions == "sincos" else None
        self.register_buffer("position_table", table, persistent=False)
        self.position_table: Tensor | None

    def reset_parameters(self, generator: torch.Generator, whole: Whole = as_they_are) -> None:
        """DiT's initialisation (numerics 5.2)."""
        initialize(self, generator, whole)

    def forward(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        labels: Tensor,
        stage: Tensor,
        stage_counts: tuple[int, ...] | None = None,
    ) -> list[Tensor]:
        """Return one output per scale.

        Args: scales: scale s is [B, C_s, r_s, r_s], or [B, C_s, T, r_s, r_s]. t: timesteps in [0, 1], [B, S]. labels:
            class indices, [B] int64; num_classes is the null class. stage: active stage, [B] int64. stage_counts:
            samples of each active stage, [S]; None: they are read back from `stage`.
        Returns: as scales; zeros for what a sample's stage does not predict.
        """
        if self.wiring.alike and not self.by_stage:
            return self._run(scales, t, labels, stage, None, self._any_stage)
        counts = stage_counts or _read_counts(stage, len(scales))
        if max(counts) == len(stage):  # nothing to sort
            return self._run_sorted(scales, t, labels, stage, counts)
        order = torch.argsort(stage, stable=True)
        ordered = [scale[order] for scale in scales], t[order], labels[order], stage[order]
        back = torch.argsort(order)
        return [output[back] for output in self._run_sorted(*ordered, counts)]

    def _run_sorted(
        self, scales: Sequence[Tensor], t: Tensor, labels: Tensor, stage: Tensor, counts: Groups
    ) -> list[Tensor]:
        """Run a batch that is sorted by stage."""
        if self.wiring.alike:
            return self._run(scales, t, labels, stage, counts, self._any_stage)
        return self._run_stages(scales, t, labels, stage, counts)

    @property
    def _any_stage(self) -> StageWiring:
        return next(iter(self.wiring.stages.values()))

    def _run_stages(
        self, scales: Sequence[Tensor], t: Tensor, labels: Tensor, stage: Tensor, counts: Groups
    ) -> list[Tensor]:
        """Run stage after stage, each as it is wired; a stage that no sample has runs on none, for ZeRO's sake."""
        parts = zip(*(torch.split(x, list(counts)) for x in (*scales, t, labels, stage)), strict=True)
        outputs: list[list[Tensor]] = []
        for active, (*own, times, classes, stages) in enumerate(parts):
            groups = tuple(count if q == active else 0 for q, count in enumerate(counts)) if self.by_stage else None
            outputs.append(self._run(own, times, classes, stages, groups, self.wiring.stages[active]))
        return [torch.cat(list(per_scale)) for per_scale in zip(*outputs, strict=True)]

    def _run(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        labels: Tensor,
        stage: Tensor,
        groups: Groups | None,
        wired: StageWiring,
    ) -> list[Tensor]:
        """Return the transformer as a stage is wired."""
        grid = self.token_sides[wired.grid]
        x, rotation = self._tokens(scales, wired, groups)
        condition = self.label_table(labels, stage)
        for embedder, scale in wired.timesteps:
            condition = condition + self.timestep_embedders[str(embedder)](t[:, scale] * self.timestep_scale, groups)
        if self.stage_table is not None:
            condition = condition + self.stage_table(stage, stage)
        condition = silu(condition)
        if self.is_compiled and not torch.is_grad_enabled():
            for tensor in (x, condition):  # in sampling guidance doubles batches and the last is smaller
                torch._dynamo.maybe_mark_dynamic(tensor, 0)  # noqa: SLF001  the documented name
        own_tokens = (self.frames or 1) * grid**2
        for block in self.blocks:
            if self.activation_checkpointing and self.training:
                x = checkpoint(block, x, condition, rotation, groups, use_reentrant=False)
            else:
                x = block(x, condition, rotation, groups)
        x = x[:, -own_tokens:]  # without what was joined as a condition
        return [
            self._head(x, condition, s, grid, groups) if s in wired.outputs else torch.zeros_like(scale)
            for s, scale in enumerate(scales)
        ]

    def _tokens(
        self, scales: Sequence[Tensor], wired: StageWiring, groups: Groups | None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens of the scales that a stage reads, [B, N, D], and the rotations of their positions."""
        added = [s for s in wired.inputs if s not in wired.joined]
        x = self._embed(scales[added[0]], added[0], self.token_sides[wired.grid], groups)
        for s in added[1:]:
            x = x + self._embed(scales[s], s, self.token_sides[wired.grid], groups)
        parts = [*(self._embed(scales[s], s, self.token_sides[s], groups) for s in wired.joined), x]
        # Under autocast: blocks add to an fp32 stream, not to a bf16 one.
        parts = [part.to(scales[0].dtype) for part in parts]
        if self.position_table is not None:
            parts = [part + self.position_table for part in parts]
        if not wired.joined:
            return parts[0], getattr(self, f"rotation_{wired.grid}")
        rotations = [getattr(self, f"rotation_{s}") for s in (*wired.joined, wired.grid)]
        rotation = None if self.position_table is not None else torch.cat(rotations)
        return torch.cat(parts, dim=1), rotation

    def _embed(self, scale: Tensor, s: int, side: int, groups: Groups | None) -> Tensor:
        tokens = self.patch_embedders[str(s)](patchify(scale, self.patch_sizes[s]), groups)
        return spread_tokens(tokens, self.token_sides[s], side)

    def _head(self, x: Tensor, condition: Tensor, s: int, side: int, groups: Groups | None) -> Tensor:
        tokens = gather_tokens(x, side, self.token_sides[s])
        patches = self.heads[str(s)](tokens, condition, groups)
        return unpatchify(patches, self.patch_sizes[s], self.channels[s], self.frames)


def _by_number(numbers: Sequence[int], make: Callable[[int], nn.Module]) -> nn.ModuleDict:
    """Modules under their scale's number, which their weights keep in networks that lack some of them."""
    return nn.ModuleDict({str(number): make(number) for number in numbers})


def _read_counts(stage: Tensor, num_stages: int) -> Groups:
    """Return samples of each stage, which an accelerator is waited for."""
    counted = stage[:, None] == torch.arange(num_stages, device=stage.device)
    return tuple(counted.sum(dim=0).tolist())
