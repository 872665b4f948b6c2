"""Bytes under one root: atomic files, artifacts with checksums, retries while a remote storage is away.

Begin with store.py (`Store`) and layout.py, which holds every path. local_files.py and remote_files.py are the two
kinds of places, retry.py is the policy of the remote one. Imports `common` and `private`.
"""
