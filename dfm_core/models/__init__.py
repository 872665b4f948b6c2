"""The diffusion transformer and its parts.

Begin with `velocity.VelocityModel`, the network with its preconditioning, then `dit` and `blocks`. `linear` and
`tokenformer` hold weights per stage, `experts` joins networks of one stage each. May import `catalog`, `config`,
`wiring`, `flow` and `compute`.
"""
