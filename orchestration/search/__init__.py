"""Searches: Optuna or a searcher of Ray Tune proposes trials, which become rows of the plan like any others.

Begin with `searches`, which grows the plan during a launch; `single_level` and `two_level` hold one search each,
`optuna_study` and `study_storage` its study, `explorations` and `tune_link` its life under Ray Tune. May import
exploration and the packages below it; only here is Optuna used.
"""
