"""Figures of a sweep: each kind collects its content as plain charts, which `analysis.drawing` draws.

Begin with `registry`, the kinds in the order of the page; each has a module with a collector. `gallery` collects,
numbers and draws them all. It imports `comparison`, `drawing` and what is below; optuna only in `importances`.
"""
