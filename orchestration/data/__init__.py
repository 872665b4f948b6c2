"""The user's files: their description and identity before a sweep is planned, a cache of them, recipes of autoencoders.

Begin with `describe` (called for every data section of a sweep) and `data_mistakes`, then `identity` (its share of
digests); `kept_listings` keeps what was listed. Imports common, storage and config.
"""
