"""Stores of latents: the manifest, shards on disk, their cache, and the batches that a training reads from them.

Begin with `latent_samples.LatentSamples`, a `TrainingData`. `manifest` describes a store, `shards` maps its files,
`shard_cache` fetches them, `latent_dataset` reads rows, `shard_order` shuffles within windows of shards, and
`prefetch` reads ahead. May import `data` (not `data.encoding`), `autoencoders.base` and `seeding`.
"""
