"""FLUX fine-tuned with Decomposable Flow Matching, as a pipeline of diffusers: two scales of a latent, coarse to fine.

An exported pipeline takes this file along, so it needs torch and diffusers alone. With the sampler of `dfm_core` it
shares schedule, guidance and recomposition (numerics 2.8, 4.1), and a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import FluxPipeline
from diffusers.pipelines.flux import FluxPipelineOutput
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

Predict = Callable[[list[Tensor], tuple[float, ...], int], list[Tensor]]
"""Velocities of all scales from their states, timesteps, and the number of scales that move."""


class FluxDFMPipeline(FluxPipeline):  # type: ignore[misc]  # diffusers has no types
    """`pipe(prompt)` as of `FluxPipeline`, with classifier-free guidance against the empty prompt."""

    def __init__(
        self,
        scheduler: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        text_encoder_2: Any,
        tokenizer_2: Any,
        transformer: Any,
        image_encoder: Any = None,
        feature_extractor: Any = None,
        ratio: int = 2,
        steps: Sequence[int] = (30, 10),
        tau: Sequence[float] = (0.9,),
        true_cfg_scale: float = 3.0,
        guidance_input: float = 1.0,
        text_length: int = 512,
    ) -> None:
        """The first nine are `FluxPipeline`'s; the others are the defaults of a call, and what the model was trained
        with. ratio: between the sides of the scales. guidance_input: the distilled guidance that the network is told.
        text_length: tokens of a prompt."""
        super().__init__(
            scheduler,
            vae,
            text_encoder,
            tokenizer,
            text_encoder_2,
            tokenizer_2,
            transformer,
            image_encoder,
            feature_extractor,
        )
        self.register_to_config(
            ratio=ratio,
            steps=list(steps),
            tau=list(tau),
            true_cfg_scale=true_cfg_scale,
            guidance_input=guidance_input,
            text_length=text_length,
        )

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        height: int = 1024,
        width: int = 1024,
        steps: Sequence[int] | None = None,
        tau: Sequence[float] | None = None,
        true_cfg_scale: float | None = None,
        generator: torch.Generator | None = None,
        latents: Sequence[Tensor] | None = None,
        output_type: str = "pil",
    ) -> FluxPipelineOutput:
        """Return images of prompts.

        Args: height, width: in pixels; multiples of twice the autoencoder's factor times the ratio of the scales.
            steps: solver steps of each scale. tau: timestep at which the first scale hands over. true_cfg_scale: weight
            of classifier-free guidance; 1 is the conditional model alone. latents: noise of each scale instead of the
            generator's, [2] of [B, C, height / f, width / f]. output_type: as of `FluxPipeline`; "latent": [B, C, h, w]
            as the model was trained on.
        Raises: ValueError for a size that does not divide.
        """
        config, cell = self.config, self.vae_scale_factor * max(2, self.config.ratio)
        if height % cell or width % cell:
            raise ValueError(f"height {height} and width {width} must be multiples of {cell}")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        weight = config.true_cfg_scale if true_cfg_scale is None else true_cfg_scale
        states = self._noise(len(prompts), height, width, generator) if latents is None else list(latents)
        states = [state.to(self._execution_device).double() for state in states]
        predict = self._predictor(prompts, weight)
        schedule = timesteps(steps or config.steps, config.tau if tau is None else tau)
        for (times, after), moving in schedule:
            velocities = predict(states, times, moving)
            for s in range(moving):
                states[s] = states[s] + (after[s] - times[s]) * velocities[s].double()
        image = recompose(states, config.ratio).float()
        if output_type != "latent":
            scaled = image / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)
            decoded = self.vae.decode(scaled.to(self.vae.dtype), return_dict=False)[0]
            image = self.image_processor.postprocess(decoded, output_type=output_type)
        return FluxPipelineOutput(images=image)

    def _noise(self, count: int, height: int, width: int, generator: torch.Generator | None) -> list[Tensor]:
        channels, factor = self.transformer.config.in_channels // 4, self.vae_scale_factor
        shape, device = (count, channels, height // factor, width // factor), generator.device if generator else "cpu"
        return [torch.randn(shape, generator=generator, device=device) for _ in range(2)]

    def _predictor(self, prompts: Sequence[str], weight: float) -> Predict:
        """Return the guided velocity of a batch of prompts; all scales have one weight."""
        guided = weight != 1.0
        asked = [*prompts, *([""] * len(prompts) if guided else [])]
        tokens, pooled, _ = self.encode_prompt(asked, None, max_sequence_length=self.config.text_length)

        def predict(states: list[Tensor], times: tuple[float, ...], moving: int) -> list[Tensor]:
            copies = 2 if guided else 1
            dtype, device = self.transformer.dtype, states[0].device
            scales = [torch.cat([state.to(dtype)] * copies) for state in states]
            t = torch.tensor(times, dtype=torch.float32, device=device).expand(len(asked), -1)
            mask = torch.tensor([float(s < moving) for s in range(2)], dtype=dtype, device=device).expand(
                len(asked), -1
            )
            velocities: list[Tensor] = self.transformer(scales, t, mask, tokens, pooled, self.config.guidance_input)
            if not guided:
                return [velocity.float() for velocity in velocities]
            pairs = [velocity.float().chunk(2) for velocity in velocities]
            return [without + weight * (given - without) for given, without in pairs]

        return predict


def timesteps(
    steps: Sequence[int], tau: Sequence[float]
) -> list[tuple[tuple[tuple[float, ...], tuple[float, ...]], int]]:
    """Return timesteps of all scales before and after each step, and how many scales move in it: scale s rises straight
    to tau_s while it is made, and straight on to 1 at the end."""
    ends = [sum(steps[: s + 1]) for s in range(len(steps))]
    thresholds = [*tau, 1.0]

    def at(n: int) -> tuple[float, ...]:
        times = []
        for s, count in enumerate(steps):
            begin, end, threshold = ends[s] - count, ends[s], thresholds[s]
            if n <= end:
                times.append(threshold * max(0, n - begin) / count)
            else:
                times.append(threshold + (1 - threshold) * (n - end) / (ends[-1] - end))
        return tuple(times)

    return [((at(n), at(n + 1)), sum(n >= end - own for end, own in zip(ends, steps))) for n in range(ends[-1])]  # noqa: B905


def recompose(scales: Sequence[Tensor], ratio: int) -> Tensor:
    """Return up(down(X^1)) + X^2, [B, C, H, W]: cells' means down, bilinear up."""
    coarse = avg_pool2d(scales[0], ratio)
    return interpolate(coarse, size=scales[0].shape[-2:], mode="bilinear", align_corners=False) + scales[1]
