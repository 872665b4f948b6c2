"""The whole control plane in one thread of simulated time, from a seed, with faults at any call that leaves a process.

Begin with `scenario` (a world as data), then `run` (one world from its start to its verdict) and `kernel` (time and
processes). `stored_objects`, `fake_ray`, `fake_train`, `fake_mlflow` and `fake_database` stand for the outside world,
`outside` puts them in its place, `work` computes, and `invariants` says what must hold. docs/reliability.md tells what
is simulated and what is real.
"""
