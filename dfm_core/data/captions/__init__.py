"""Captioned images: captions as labels, images in buckets of one shape, and the stores of the texts' encodings.

Begin with `caption.caption_number`: a caption is a label, so everything that reads classes reads captions.
`captioned_folder` and `captioned_shards` open images with their captions, `buckets` gives every image a shape,
`bucket_order` decides the shape of each step, and `bucketed_latents` and `text_store` read what was encoded. May import
`data.files`, `data.latents` and `seeding`.
"""
