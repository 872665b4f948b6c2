"""The networks that are trained: the diffusion transformer and its parts, and FLUX over scales.

Begin with `network.VelocityNetwork`, the contract, and `registry`. `velocity.VelocityModel` is the diffusion
transformer with its preconditioning, made of `dit` and `blocks`; `linear` and `tokenformer` hold weights per stage,
`experts` joins networks of one stage each. The package `flux` is FLUX. May import `catalog`, `config`, `wiring`, `flow`
and `compute`.
"""
