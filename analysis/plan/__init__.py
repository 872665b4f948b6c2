"""The published plan of a sweep as plain values, and the few keys of a sweep's YAML that the analysis needs.

Begin with `model`, the values; `read` makes them from JSON. Imports `errors` and `contract`.
"""
