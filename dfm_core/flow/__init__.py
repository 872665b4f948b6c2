"""The flow: path, timesteps, schedules and solvers. Times follow the paper: 0 is noise, 1 is data."""
