"""The flow: path, timesteps, schedules and solvers. Times follow the paper: 0 is noise, 1 is data.

Begin with `path` (noise to data), then `timesteps` (training) and `schedules` with `solvers` (sampling). `step_tree`
plans steps that several samplings share, `scale_balance` says which scales see too little of their noise, `jumps` and
`block_noise` belong to Pyramidal Flow. May import `config` and `seeding`; `schedules` and `jumps` need no torch.
"""
