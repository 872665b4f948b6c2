"""The diffusion transformer with one patchify, timestep embedder and head per scale (DFM, section 3.4; numerics 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from torch.utils.checkpoint import checkpoint

from dfm_core.compute import patch_values
from dfm_core.config import ExperimentConfig, ModelSizeSpec
from dfm_core.data.catalog import DataShape
from dfm_core.models.blocks import Block, Head
from dfm_core.models.embeddings import TimestepEmbedder, sincos_positions
from dfm_core.models.initialization import initialize
from dfm_core.models.linear import Groups, LinearFactory
from dfm_core.models.patches import gather_tokens, patchify, spread_tokens, unpatchify
from dfm_core.models.rope import grid_rotation


class DiT(nn.Module):
    """Diffusion transformer over S scales (numerics 5.3).

    h = sum_s Patchify_s(X^s),  c = sum_s TEmb_s(t_s) + YEmb(y) + StageEmb(stage),  out_s = Head_s(blocks(h, c), c)

    With `model.patch_grid: per_stage`, stage q runs on the grid of scale q: coarser scales are spread over it, their
    heads read the mean over the cells they cover, finer ones are left out (numerics 5.6).
    """

    def __init__(self, config: ExperimentConfig, shape: DataShape, size: ModelSizeSpec) -> None:
        super().__init__()
        model = config.model
        width, stages = size.width, config.num_stages
        linears = LinearFactory(stages, model.specialization, model.lora_rank, model.lora_alpha)
        self.by_stage = linears.needs_groups or (model.backbone == "tokenformer" and stages > 1)
        self.per_stage_grid = model.patch_grid == "per_stage"
        self.channels, self.frames = config.decomposition.channels(shape.channels), shape.frames
        self.patch_sizes, self.token_sides = model.patch_sizes, config.token_sides
        self.timestep_scale = model.timestep_scale
        self.activation_checkpointing = False
        values = patch_values(config, shape)
        self.patch_embedders = nn.ModuleList(linears("projection", count, width) for count in values)
        self.timestep_embedders = nn.ModuleList(TimestepEmbedder(width, linears) for _ in values)
        self.label_table = linears.embedding(shape.num_classes + 1, width)  # the last row is the null class
        self.stage_table = linears.embedding(stages, width) if model.stage_embedding else None
        self.blocks = nn.ModuleList(Block(width, size.heads, linears, model.backbone) for _ in range(size.depth))
        self.heads = nn.ModuleList(Head(width, count, linears) for count in values)
        assert self.frames is None or model.positions == "rope", "DiT's table knows no frames: videos need rope"
        for stage, side in enumerate(self.token_sides):
            rotation = None
            if model.positions == "rope" and (self.per_stage_grid or stage == stages - 1):  # a shared grid runs as last
                rotation = grid_rotation(side, width // size.heads, frames=self.frames, finest=self.token_sides[-1])
            self.register_buffer(f"rotation_{stage}", rotation, persistent=False)
        table = sincos_positions(width, self.token_sides[-1]) if model.positions == "sincos" else None
        self.register_buffer("position_table", table, persistent=False)
        self.position_table: Tensor | None

    def reset_parameters(self, generator: torch.Generator) -> None:
        """DiT's initialisation (numerics 5.2)."""
        initialize(self, generator)

    def forward(self, scales: Sequence[Tensor], t: Tensor, labels: Tensor, stage: Tensor) -> list[Tensor]:
        """One output per scale.

        Args: scales: scale s is [B, C_s, r_s, r_s], or [B, C_s, T, r_s, r_s]. t: timesteps in [0, 1], [B, S]. labels:
            class indices, [B] int64; num_classes is the null class. stage: active stage, [B] int64.
        Returns: as scales; on grids of their own, zeros for the scales after a sample's stage.
        """
        if not self.by_stage and not self.per_stage_grid:
            return self._run(scales, t, labels, stage, None, len(scales) - 1)
        order = torch.argsort(stage, stable=True)
        counts = _stage_counts(stage, len(scales))
        ordered = [scale[order] for scale in scales], t[order], labels[order], stage[order]
        if self.per_stage_grid:
            outputs = self._run_grids(*ordered, counts)
        else:
            outputs = self._run(*ordered, tuple(counts), len(scales) - 1)
        back = torch.argsort(order)
        return [output[back] for output in outputs]

    def _run_grids(
        self, scales: Sequence[Tensor], t: Tensor, labels: Tensor, stage: Tensor, counts: Sequence[int]
    ) -> list[Tensor]:
        """Stage after stage, each on its own grid; a stage that no sample has runs on none, for ZeRO's sake."""
        parts = zip(*(torch.split(x, list(counts)) for x in (*scales, t, labels, stage)), strict=True)
        outputs: list[list[Tensor]] = []
        for active, (*own, times, classes, stages) in enumerate(parts):
            groups = tuple(count if q == active else 0 for q, count in enumerate(counts)) if self.by_stage else None
            outputs.append(self._run(own, times, classes, stages, groups, active))
        return [torch.cat(list(per_scale)) for per_scale in zip(*outputs, strict=True)]

    def _run(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        labels: Tensor,
        stage: Tensor,
        groups: Groups | None,
        last: int,
    ) -> list[Tensor]:
        """The transformer on the grid of scale `last`, over the scales up to it."""
        used, side = range(last + 1), self.token_sides[last]
        x = self._embed(scales[0], 0, side, groups)
        for s in used[1:]:
            x = x + self._embed(scales[s], s, side, groups)  # [B, N, D]
        x = x.to(scales[0].dtype)  # under autocast: blocks add to an fp32 stream, not to a bf16 one
        if self.position_table is not None:
            x = x + self.position_table
        condition = self.label_table(labels, stage)
        for embed, time in zip(self.timestep_embedders, t.unbind(1), strict=True):
            condition = condition + embed(time * self.timestep_scale, groups)
        if self.stage_table is not None:
            condition = condition + self.stage_table(stage, stage)
        condition = silu(condition)
        rotation = getattr(self, f"rotation_{last}")
        for block in self.blocks:
            if self.activation_checkpointing and self.training:
                x = checkpoint(block, x, condition, rotation, groups, use_reentrant=False)
            else:
                x = block(x, condition, rotation, groups)
        outputs = [self._head(x, condition, s, side, groups) for s in used]
        return [*outputs, *(torch.zeros_like(scale) for scale in scales[last + 1 :])]

    def _embed(self, scale: Tensor, s: int, side: int, groups: Groups | None) -> Tensor:
        tokens = self.patch_embedders[s](patchify(scale, self.patch_sizes[s]), groups)
        return spread_tokens(tokens, self.token_sides[s], side)

    def _head(self, x: Tensor, condition: Tensor, s: int, side: int, groups: Groups | None) -> Tensor:
        tokens = gather_tokens(x, side, self.token_sides[s])
        return unpatchify(self.heads[s](tokens, condition, groups), self.patch_sizes[s], self.channels[s], self.frames)


def _stage_counts(stage: Tensor, num_stages: int) -> list[int]:
    """Samples of each stage. On the meta device, where nothing is known, as if stages were equally common."""
    if stage.is_meta:
        share, rest = divmod(len(stage), num_stages)
        return [share + (active < rest) for active in range(num_stages)]
    counted = stage[:, None] == torch.arange(num_stages, device=stage.device)
    counts: list[int] = counted.sum(dim=0).tolist()
    return counts
