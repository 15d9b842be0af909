"""Counts of any size: an instance may report more than 2,147,483,647."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from aem_guides.ledger.migrations.views import kept_views

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNTS = {
    "aem_guides_job": ("total_files", "triggered_count", "resumes"),
    "aem_guides_reconciliation": ("window_size", "new_jobs", "opened", "closed"),
    "aem_guides_finding": ("remedy_attempts",),
}


def upgrade() -> None:
    """Widen the columns. SQLite keeps whole numbers of 64 bits in any column."""
    _change(sa.BigInteger())


def downgrade() -> None:
    """Narrow them again. If a count is too large for that, the database raises an error."""
    _change(sa.Integer())


def _change(column_type: sa.types.TypeEngine[int]) -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    views = kept_views(connection)
    for view in views:
        op.execute(f'DROP VIEW "{view.name}"')
    for table, columns in COUNTS.items():
        for column in columns:
            op.alter_column(table, column, type_=column_type)
    for view in views:
        op.execute(f'CREATE VIEW "{view.name}" AS {view.definition}'.replace(":", r"\:"))
        for grant in view.grants():
            op.execute(grant)
