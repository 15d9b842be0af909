"""The keys of the states of paths that Airflow stores, because Airflow neither lists nor deletes them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLE = "aem_guides_path_state"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        TABLE,
        sa.Column("key", sa.String(80), primary_key=True),
        sa.Column("dag_id", sa.String(250), nullable=False),
        sa.Column("run_id", sa.String(250), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("aem_guides_path_state_noted_at", TABLE, ["noted_at"])


def downgrade() -> None:
    """Drop the table. The states themselves stay in Airflow."""
    op.drop_table(TABLE)
