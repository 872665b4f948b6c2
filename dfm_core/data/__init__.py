"""Samples as training and evaluation read them: embedded images, files of the user, and stores of latents.

Begin with `training_data.TrainingData`, the protocol that the training loop reads; `image_dataset` (in memory) and
`latents.latent_samples` implement it. `files` opens what users give, `encoding` turns it into latents, `latents` stores
and streams them. May import `catalog`, `config`, `seeding` and `autoencoders`.
"""
