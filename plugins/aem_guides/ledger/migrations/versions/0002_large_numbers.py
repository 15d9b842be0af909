"""Counts of any size: an instance may tell more than 2,147,483,647."""

from __future__ import annotations

from typing import NamedTuple, cast

import sqlalchemy as sa
from alembic import op

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
    """Narrow them again; a count that is too large for that is an error of the database."""
    _change(sa.Integer())


def _change(column_type: sa.types.TypeEngine[int]) -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    views = _views(connection)
    for view in views:
        op.execute(f'DROP VIEW "{view.name}"')
    for table, columns in COUNTS.items():
        for column in columns:
            op.alter_column(table, column, type_=column_type)
    for view in views:
        op.execute(f'CREATE VIEW "{view.name}" AS {view.definition}'.replace(":", r"\:"))
        for grant in view.grants():
            op.execute(grant)


class View(NamedTuple):
    """A view, and the roles that may read it."""

    name: str
    definition: str
    readers: list[str]

    def grants(self) -> list[str]:
        """The statements that let them read it again."""
        roles = ("PUBLIC" if role == "PUBLIC" else '"' + role.replace('"', '""') + '"' for role in self.readers)
        return [f'GRANT SELECT ON "{self.name}" TO {role}' for role in roles]


def _views(connection: sa.Connection) -> list[View]:
    """The ledger's views: PostgreSQL changes no column on which one stands."""
    found = connection.execute(
        sa.text(
            "SELECT v.viewname, v.definition, ARRAY(SELECT g.grantee::text FROM information_schema.table_privileges g"
            " WHERE g.table_schema = v.schemaname AND g.table_name = v.viewname AND g.privilege_type = 'SELECT'"
            " AND g.grantee <> v.viewowner) FROM pg_views v WHERE v.schemaname = current_schema()"
            r" AND v.viewname LIKE 'aem\_guides\_%' ORDER BY v.viewname"
        )
    )
    return [View(str(row[0]), str(row[1]), cast("list[str]", row[2])) for row in found]
