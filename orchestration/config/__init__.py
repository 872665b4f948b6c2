"""Settings that change no number: workers, storage, tracking, and the places of the user's files.

Begin with `runtime`: `RuntimeConfig` holds all sections. `storage_root` and `absolute_paths` resolve paths when a sweep
is submitted. Imports common and storage.
"""
