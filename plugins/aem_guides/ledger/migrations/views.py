"""The views of a ledger in PostgreSQL, with the roles that may read them. A migration drops and recreates them."""

from __future__ import annotations

from typing import NamedTuple, cast

import sqlalchemy as sa


class View(NamedTuple):
    """A view, and the roles that may read it."""

    name: str
    definition: str
    readers: list[str]

    def grants(self) -> list[str]:
        """The statements that grant these roles the right to read it again."""
        roles = ("PUBLIC" if role == "PUBLIC" else '"' + role.replace('"', '""') + '"' for role in self.readers)
        return [f'GRANT SELECT ON "{self.name}" TO {role}' for role in roles]


def kept_views(connection: sa.Connection) -> list[View]:
    """The ledger's views. PostgreSQL cannot change a column that a view uses."""
    found = connection.execute(
        sa.text(
            "SELECT v.viewname, v.definition, ARRAY(SELECT g.grantee::text FROM information_schema.table_privileges g"
            " WHERE g.table_schema = v.schemaname AND g.table_name = v.viewname AND g.privilege_type = 'SELECT'"
            " AND g.grantee <> v.viewowner) FROM pg_views v WHERE v.schemaname = current_schema()"
            r" AND v.viewname LIKE 'aem\_guides\_%' ORDER BY v.viewname"
        )
    )
    return [View(str(row[0]), str(row[1]), cast("list[str]", row[2])) for row in found]
