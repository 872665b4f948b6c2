"""Light tables of all datasets, metrics, feature networks and autoencoders that a config can name; needs no torch.

Planning, the rules of config and analysis read them before anything is loaded. Begin with `datasets.DATASETS` and
`metrics.METRICS`; `weight_files` checks the files that feature networks need. Imports nothing else of this project.
"""
