"""The record of each task of a plan: its numbers, curves and pictures, and notes on whatever is not as it should be.

Begin with `read`, which joins the two sources: `from_storage`, the files in the storage root, whose numbers stand, and
`from_mlflow`, the runs. `record` is the result. Imports `tracking`, `plan` and `errors`.
"""
