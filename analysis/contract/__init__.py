"""The knowledge of orchestration and analysis alike: JSON of plan and record, names of costs, the paper's numbers.

Begin with `plan_schema`, then `record_schema`; `published_numbers` reads `published.yaml`, the numbers of the paper.
It imports the standard library, yaml and `analysis.errors` alone, so that planning, which reads it, stays light.
"""
