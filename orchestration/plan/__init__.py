"""Plans: the tasks of a sweep, those that are done or still to run, and what these cost.

Begin with `plan`: `make_plan` turns a spec into a `Plan`. `plan_json` writes its published form, `published` reads it,
both by the schema in `analysis.contract`; `diff` compares the two. `completed`, `progress`, `estimate` and `throughput`
read the store, `evaluation_families` groups evaluations that run together. It imports `spec`,
`tasks` and the packages below them, and no heavy library.
"""
