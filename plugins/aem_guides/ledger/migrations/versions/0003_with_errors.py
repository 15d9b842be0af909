"""Jobs that ended with errors: a state of its own, with a longer word than the others, which the views count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from aem_guides.ledger.migrations.views import kept_views

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WITH_ERRORS = "COMPLETED WITH ERRORS"
COLUMNS = (
    ("aem_guides_job", "state"),
    ("aem_guides_job", "reported_state"),
    ("aem_guides_state_change", "before"),
    ("aem_guides_state_change", "after"),
)


def upgrade() -> None:
    """Widen the column, and count the state. SQLite takes texts of any length."""
    _change(40, with_errors=True)


def downgrade() -> None:
    """Count jobs that ended with errors as successful again, as before."""
    for table, column in COLUMNS:
        op.execute(f"UPDATE {table} SET {column} = 'SUCCESS' WHERE {column} = '{WITH_ERRORS}'")
    _change(20, with_errors=False)


def _change(length: int, *, with_errors: bool) -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    made = _views(dialect, with_errors=with_errors)
    kept = kept_views(connection) if dialect == "postgresql" else []
    for name in [view.name for view in kept] or made:
        op.execute(f'DROP VIEW "{name}"')
    if dialect == "postgresql":
        for table, column in COLUMNS:
            op.alter_column(table, column, type_=sa.String(length))
    others = {view.name: view.definition.replace(":", r"\:") for view in kept if view.name not in made}
    for name, query in {**made, **others}.items():
        op.execute(f'CREATE VIEW "{name}" AS {query}')
    for view in kept:
        for grant in view.grants():
            op.execute(grant)


def _views(dialect: str, *, with_errors: bool) -> dict[str, str]:
    if dialect == "postgresql":
        day, seconds = "CAST(started_at AT TIME ZONE 'UTC' AS date)", "EXTRACT(EPOCH FROM completed_at - started_at)"
    else:
        day, seconds = "date(started_at)", "(julianday(completed_at) - julianday(started_at)) * 86400"
    more = f", '{WITH_ERRORS}'" if with_errors else ""
    ended = "started_at IS NOT NULL AND completed_at IS NOT NULL AND completed_at > started_at"
    starter = "CASE WHEN dag_id IS NULL THEN COALESCE(created_by, 'unknown') ELSE 'Airflow: ' || dag_id END"
    counted = {state: state.lower() for state in ("SUCCESS", "FAILED", "CANCELLED", "LOST")}
    if with_errors:
        counted[WITH_ERRORS] = "with_errors"
    states = ", ".join(
        f"SUM(CASE WHEN state = '{state}' THEN 1 ELSE 0 END) AS {name}" for state, name in counted.items()
    )
    return {
        "aem_guides_jobs_a_day": f"SELECT instance, {day} AS day, COUNT(*) AS jobs, {states}, "
        f"SUM(CASE WHEN dag_id IS NULL THEN 0 ELSE 1 END) AS by_airflow, SUM(triggered_count) AS assets "
        f"FROM aem_guides_job WHERE started_at IS NOT NULL GROUP BY instance, {day}",
        "aem_guides_folder_throughput": f"SELECT instance, path, COUNT(*) AS jobs, AVG({seconds}) AS average_seconds, "
        f"MAX({seconds}) AS longest_seconds, SUM(triggered_count) AS assets, "
        f"SUM(triggered_count) / SUM({seconds}) AS assets_a_second "
        f"FROM aem_guides_job WHERE state IN ('SUCCESS'{more}) AND {ended} GROUP BY instance, path",
        "aem_guides_failures": f"SELECT instance, processing_id, path, {starter} AS started_by, state, status_word, "
        "started_at, completed_at, triggered_count, total_files, resumable, resumes, dag_id, run_id, archive_uri "
        f"FROM aem_guides_job WHERE state IN ('FAILED', 'CANCELLED', 'LOST', 'UNKNOWN'{more}) AND NOT active",
        "aem_guides_starters": f"SELECT instance, {starter} AS started_by, COUNT(*) AS jobs, {states}, "
        "MIN(started_at) AS first_started_at, MAX(started_at) AS last_started_at "
        f"FROM aem_guides_job GROUP BY instance, {starter}",
    }
