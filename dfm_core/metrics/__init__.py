"""Metrics: accumulators with `update`, an associative `merge`, `empty` as its neutral element, and `compute`."""
