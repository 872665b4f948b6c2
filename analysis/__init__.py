"""Tables, plots and one page out of a published plan and MLflow: a join, no bookkeeping of its own."""
