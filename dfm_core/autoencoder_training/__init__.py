"""Training autoencoders, with scale equivariance or without, and measuring them (numerics 9).

Begin with `config.FinetuningConfig` and `finetuning.finetune`, which runs the steps of `training`. `downscaling` makes
the smaller pixels and latents of the regularization; `measures` and `spectrum` compare autoencoders. May import
`autoencoders`, `data`, `metrics` and `training`.
"""
