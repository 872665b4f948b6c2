"""A sweep's YAML into a `SweepSpec`, with every mistake reported at once.

Begin with `load`: `SpecReader` reads the sections in order; `compose` lays base file, file and command line over each
other, `declared_parts` and `rows` resolve rows, the package `search` a `search:` section. Imports common, storage,
config, data and tasks, and of `analysis` the contract.
"""
