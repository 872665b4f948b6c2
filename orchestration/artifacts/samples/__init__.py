"""Datasets as they are stored: latents, encoded captions, features and images of real samples.

Begin with `latents`, arrays in shards that are read by index; the others are made in the same way.
"""
