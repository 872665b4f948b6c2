"""Metrics: accumulators with `update`, an associative `merge`, `empty` as its neutral element, and `compute`.

Begin with `suite.MetricSuite`, which measures all metrics of a config in one pass. `features` holds the networks that
turn samples into vectors, `scores` the statistics of these vectors, `reference` those of real samples, `errors` the
errors by finite samples, and `protocol` what makes two numbers comparable. May import `catalog`, `config`, `seeding`.
"""
