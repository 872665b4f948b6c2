"""A `search:` section of a sweep, read into a `SearchSpec`; proposals become rows.

Begin with `reader`: `section` holds the fields, `rules` what goes together, `space` the distributions, `pruning` and
`population` the ways to end trials early. `rows` makes a row from a proposal and checks it; `corners` are the
ends of a space; `trial` is a stored trial.
"""
