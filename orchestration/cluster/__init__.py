"""The Ray cluster: connecting, authentication, capacity, the watch for its loss, and the checks of `doctor`.

Begin with `connection`; `watch` notices a lost cluster, `diagnose` runs the checks (`check_*`). May import control and
the packages below it.
"""
