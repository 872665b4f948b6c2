"""Settings that change no number: workers, storage, tracking, the places of the user's files, the paper's table.

Begin with `runtime`: `RuntimeConfig` holds all sections. `storage_root` and `absolute_paths` resolve paths when a
sweep is submitted; `published_table` is the section `published:`. Imports common and storage, and of `analysis` the
contract with the published numbers.
"""
