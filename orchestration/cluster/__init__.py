"""The Ray cluster: connecting, authentication, capacity on nodes that are there or can come, the watch for its loss.

Begin with `connection`; `cluster_view` says what a launch can have, `watch` notices a lost cluster. May import control
and the packages below it.
"""
