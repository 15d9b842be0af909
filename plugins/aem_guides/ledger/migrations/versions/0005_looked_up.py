"""Indexes to look up jobs among a million: by start, end, state, path, run and size."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JOBS, FINDINGS = "aem_guides_job", "aem_guides_finding"
BEGAN = "coalesce(started_at, first_seen_at)"
PATH_HEAD = {"postgresql": 'substr(path, 1, 200) COLLATE "C"', "sqlite": "substr(path, 1, 200)"}
NAMES = ("began", "state_began", "instance_began", "ended", "size", "path_head", "run")


def upgrade() -> None:
    """Create them."""
    head = sa.text(f"({PATH_HEAD[op.get_bind().dialect.name]})")
    began = sa.text(f"({BEGAN})")
    columns: dict[str, list[str | sa.TextClause]] = {
        "began": [began, "instance", "processing_id"],
        "state_began": ["state", began, "instance", "processing_id"],
        "instance_began": ["instance", began, "processing_id"],
        "ended": ["completed_at", "instance", "processing_id"],
        "size": ["total_files", "instance", "processing_id"],
        "path_head": [head],
        "run": ["dag_id", "run_id"],
    }
    for name in NAMES:
        op.create_index(f"{JOBS}_{name}", JOBS, [*columns[name]])
    op.create_index(f"{FINDINGS}_when", FINDINGS, ["opened_at", "id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index(f"{FINDINGS}_when", FINDINGS)
    for name in NAMES:
        op.drop_index(f"{JOBS}_{name}", JOBS)
