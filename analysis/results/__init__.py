"""Numbers of the tables: plan and records joined into measurements, cells with intervals, and sections of rows.

Begin with `measurements` (the join), then `cells` (one value over seeds), `intervals` (its error) and `sections` (rows,
best cells, real images). `comparability` says whether numbers may be compared, `significance` whether rows differ. All
of it is pure. It imports `plan`, `contract` and `records`, and nothing above.
"""
