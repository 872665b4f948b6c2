"""Datasets as files: folders of images, archives, tar and parquet shards, clips; each checked before it is read.

Begin with `raw_samples.RawDataset`, the protocol of a dataset that can be encoded. `image_folder`, `class_folders`,
`image_archive` and `image_shards` open one layout each, `image_files` and `clips` decode a file, and `folder_report`
lists the files that cannot be used. Imports nothing of `data` outside this package.
"""
