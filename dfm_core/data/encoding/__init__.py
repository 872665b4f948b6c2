"""Encoding: from a dataset's files to shards of latents and, when all exist, to a store with its manifest.

Begin with `encode.encode_units`. `square_pixels` crops, `excluded_samples` counts the samples that could not be
encoded, `channel_moments` sums their statistics, and `store_assembly` writes shards, their cards and the manifest.
May import `data.files`, `data.latents` and `autoencoders`.
"""
