"""Warm actors that sample, encode and measure.

Begin with jobs.py, which cuts a task into calls, pool.py, which hands the calls out, and worker.py, the actor that
makes them; finalize.py writes the results. Imports `training` and below.
"""
