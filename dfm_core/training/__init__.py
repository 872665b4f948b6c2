"""Training: the loop, the engine that it drives, and the state that it saves.

Begin with `loop.train` and `steps.run_steps`; `engine` is the contract that plain torch and DeepSpeed fulfil, `state`
builds models and writes snapshots, `divergence` ends a training that cannot recover. May import all packages that a
model needs: `config`, `data`, `decompositions`, `models` and `paradigms`.
"""
