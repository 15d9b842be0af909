"""The schema of the ledger, step by step, for Alembic. `database.open_ledger` runs what is missing."""
