"""The schema of the ledger, step by step, for Alembic. `database.open_ledger` runs the missing steps."""
