"""Memory that a sweep would hold, weighed without an accelerator: `--check`.

Begin with `training`; `sharded_state` knows what DeepSpeed holds, `activations` what a backward pass keeps, and
`evaluator` what measuring takes.
"""
