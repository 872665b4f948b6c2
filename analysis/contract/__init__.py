"""All that orchestration and analysis share: JSON of plan and record, names of costs, the paper's numbers, output.

Begin with `plan_schema`, then `record_schema`; `published_numbers` reads `published.yaml`, the numbers of the paper.
`output`, `printable`, `proxies` and `regular_files` are for programs. The package imports the standard library, yaml
and `analysis.errors` alone, so that planning, which reads it, stays light.
"""
