"""Encodings: a user's files into stores of latents, captions into what a model reads of them, a part a call.

Begin with `part_encoder.PartEncoder`, the protocol that an evaluator drives. `file_encoder` is what those that read the
user's files share: `shard_encoder` makes latents of one shape, `captioned_encoder` those of captioned images;
`caption_encoder` makes the encodings of captions. `encoding_source` opens the dataset of a task, `excluded_files` names
the samples that were left out. May import `artifacts`, `data`, `tasks`.
"""
