"""Exploration of searches by Ray Tune: its searchers propose, its trial schedulers decide what is trained on.

Begin with `exploration`: what both sides hear of each other. `tuner` does it by Tune's Tuner, in a thread, with
`proposals` as its searcher and `trainable` as its trials; `single_thread` without Tuner and cluster. `trial_schedulers`
and `searchers` hold what a sweep may name, `entry_points` loads what installed packages add, `verdicts` notes what the
schedulers decide. It imports Ray and `spec`, and knows neither plans nor studies.
"""
