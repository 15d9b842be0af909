"""Run by Alembic, on the connection that `database` has opened and locked."""

from __future__ import annotations

from alembic import context

from aem_guides.ledger.tables import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
