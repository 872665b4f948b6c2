"""Training: the loop, the engine it drives, and what is kept of it."""
