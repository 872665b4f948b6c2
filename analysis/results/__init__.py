"""Numbers of the tables: plan and records joined into measurements, cells with intervals, and sections of rows.

Begin with `measurements` (the join), then `cells` (one value over seeds), `intervals` (its error) and `sections` (rows,
best cells, real images). `comparability` says whether numbers may be compared, `best_row` which row is best,
`significance` whether rows differ, `standings` what may be claimed of it, `power` what could have been found, `curves`
when a target is reached. All of it is pure. It imports `plan`, `contract` and `records`, and nothing above.
"""
