"""FLUX as a velocity network over one or two scales of a latent (DFM, 4.5 and appendix E.1; numerics 5.7)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.models.flux.adapters import add_adapters
from dfm_core.models.flux.weights import initialize_flux, is_trained, starting_names
from dfm_core.models.initialization import Whole, as_they_are
from dfm_core.models.network import Attend, SizedNetwork, VelocityNetwork, mixed_precision, scale_shapes
from dfm_core.models.text_tables import NULL_CAPTION, TextTable

if TYPE_CHECKING:
    from dfm_core.models.flux.scales import FluxScales

PREFIX = "network."
"""Begin of the names of weights here; after it they are diffusers' own, and the second scale's."""


class FluxVelocity(VelocityNetwork):
    """FLUX and, for a second scale, a few layers more; made for latents of any even size."""

    reads_text = True

    def __init__(self, config: ExperimentConfig, shape: DataShape, *, data_std: Sequence[float]) -> None:
        """data_std: standard deviation of each clean scale, [S], which nothing here reads."""
        from dfm_core.models.flux.scales import FluxScales

        super().__init__()
        assert len(data_std) == config.num_stages, f"{len(data_std)} data_std for {config.num_stages} scales"
        described = config.model.described
        assert described is not None, "a backbone is described when its sweep is read"
        self.null_class = NULL_CAPTION
        self.precision, self.guidance_input = config.training.precision, config.model.guidance_input
        self.scale_shapes = scale_shapes(config, shape)
        self._shapes: Callable[[tuple[int, int]], tuple[tuple[int, ...], ...]]
        self._shapes = lambda size: scale_shapes(config, shape, size)
        self.network: FluxScales = FluxScales(**described.flux.settings, num_scales=config.num_stages)
        self._text: TextTable | None = None
        if (adapter := config.training.adapter) is not None:
            add_adapters(self.blocks, adapter.rank, adapter.targets)
        for name, weight in self.network.named_parameters():
            weight.requires_grad_(is_trained(name, config.training))

    def use_text(self, table: TextTable) -> None:
        self._text = table

    def forward(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        mask: Tensor,
        labels: Tensor,
        stage_counts: tuple[int, ...] | None = None,  # noqa: ARG002  all stages run as one batch
    ) -> list[Tensor]:
        assert self._text is not None, "captions have no encodings: call use_text first"
        text = self._text.rows(labels)
        tokens, pooled = text.tokens.to(scales[0].dtype), text.pooled.to(scales[0].dtype)
        with mixed_precision(labels.device, self.precision):
            outputs = self.network(scales, t, mask, tokens, pooled, self.guidance_input)
        return [output.float() for output in outputs]

    def use_activation_checkpointing(self) -> None:
        self.network.enable_gradient_checkpointing()

    @property
    def has_one_graph(self) -> bool:
        return True

    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        for block in self.blocks:
            block.compile(backend=backend)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return [*self.network.transformer_blocks, *self.network.single_transformer_blocks]

    def use_attention(self, attend: Attend) -> None:
        from dfm_core.models.flux.attention import AttentionBy

        self.network.set_attn_processor(AttentionBy(attend))

    def reset_parameters(
        self, generator: torch.Generator, whole: Whole = as_they_are, given: Collection[str] = ()
    ) -> None:
        initialize_flux(self.network, generator, whole, {name.removeprefix(PREFIX) for name in given})

    def sized(self, height: int, width: int) -> SizedNetwork:
        if height % 2 or width % 2:
            raise ValueError(f"FLUX takes latents of even sizes, got {[height, width]}")
        return SizedNetwork(self, self._shapes((height, width)))

    def starting_names(self, available: Iterable[str]) -> Mapping[str, str]:
        own = [name.removeprefix(PREFIX) for name, _ in self.named_parameters()]
        given = {name.removeprefix(PREFIX): name for name in available}  # diffusers' names, or those of a snapshot
        return {PREFIX + name: given[origin] for name, origin in starting_names(own, given).items()}


def starting_weights(
    shapes: Mapping[str, tuple[int, ...]], source: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights with which a network over scales starts from a pretrained one, tensor by tensor.

    Args: shapes: of the network's weights, by diffusers' names and those of the second scale. source: the pretrained
        tensors by diffusers' names; may read each as it is asked for.
    Raises: ValueError if a tensor is missing.
    """
    origins = starting_names(shapes, source)
    for name, shape in shapes.items():
        yield name, source[origins[name]] if name in origins else torch.zeros(shape)
