"""Statistics of feature vectors, one accumulator each: Fréchet and kernel distances, inception score, neighbours.

Begin with `accumulator`, the contract that all follow, and `frechet`, the most used; `metrics.registry` lists them.
Imports nothing of `metrics` outside this package.
"""
