"""Autoencoders: pixels to latents and back.

Begin with `base.Autoencoder`, the contract, and `registry.load_autoencoder`. `diffusers_vae` wraps networks of
diffusers, `files` reads their folders, `architecture` and `initialization` make small ones from random weights. Cards
are in `catalog.autoencoders`. May import `catalog`, `config` and `seeding`.
"""
