"""The checks of `doctor`: access, nodes and collectives of a cluster, before money is spent on it.

Begin with `diagnose`, which runs the checks (`check_*`). May import cluster and the packages below it.
"""
