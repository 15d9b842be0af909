"""The tasks of our DAGs."""
