"""The results of a path: the outcome, the rows of the report, the verified assets."""
