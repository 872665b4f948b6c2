"""Comparison of our cells with the paper's published numbers.

Begin with `compare`, which joins the rows. `verdicts` judges one cell, `setting_differences` says why two values cannot
be compared, `row_order` and `kendall` compare the order of rows. `joined_sweep` holds everything that report and
figures are made from. It imports `results` and what is below.
"""
