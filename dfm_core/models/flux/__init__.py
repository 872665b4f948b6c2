"""FLUX over scales: the network of diffusers, made to read several resolutions.

Begin with `velocity.FluxVelocity`, a `VelocityNetwork` around `scales.FluxScales`; `weights` and `pretrained_files`
read checkpoints, `adapters` adds low-rank ones, `text_encoders` encodes captions. `scales` and `pipeline` import
nothing of this project: they are copied into exported pipelines.
"""
