"""The ledger: instances, jobs, changes of state, findings, reconciliations, and views of them for people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create all tables, indexes and views."""
    _instances()
    _jobs()
    _state_changes()
    _findings()
    _reconciliations()
    _views(op.get_bind().dialect.name)


def _instances() -> None:
    op.create_table(
        "aem_guides_instance",
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("connection_id", sa.String(250)),
        sa.Column("taken_at", TIME),
        sa.Column("shown_jobs", sa.JSON, nullable=False),
    )


def _jobs() -> None:
    table = "aem_guides_job"
    op.create_table(
        table,
        sa.Column("instance", sa.String(300), primary_key=True),
        sa.Column("processing_id", sa.String(1000), primary_key=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("request", sa.JSON),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("created_by", sa.Text),
        sa.Column("connection_id", sa.String(250)),
        sa.Column("dag_id", sa.String(250)),
        sa.Column("run_id", sa.String(250)),
        sa.Column("task_id", sa.String(250)),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("status_word", sa.String(200), nullable=False),
        sa.Column("total_files", sa.Integer),
        sa.Column("triggered_count", sa.Integer),
        sa.Column("started_at", TIME),
        sa.Column("completed_at", TIME),
        sa.Column("resumable", sa.Boolean, nullable=False),
        sa.Column("resumes", sa.Integer, nullable=False),
        sa.Column("continues", sa.String(1000)),
        sa.Column("reported_state", sa.String(20)),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.Column("progress_at", TIME, nullable=False),
        sa.Column("missing_since", TIME),
        sa.Column("wants_archive", sa.Boolean, nullable=False),
        sa.Column("archive_uri", sa.Text),
        sa.Column("sha256", sa.String(64)),
        sa.Column("archive_checked_at", TIME),
        sa.Column("kept", sa.Boolean, nullable=False),
        sa.Column("announced", sa.Boolean, nullable=False),
    )
    # Partial, so that the cost of a reconciliation does not grow with the finished jobs.
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    yes, no = ("{0}", "NOT {0}") if is_postgresql else ("{0} = 1", "{0} = 0")
    partial = {
        "active": yes.format("active"),
        "lost": "state = 'LOST'",
        "unannounced": f"dag_id IS NULL AND {no.format('announced')}",
        "unarchived": f"{yes.format('wants_archive')} AND archive_uri IS NULL AND {no.format('active')}",
    }
    for name, condition in partial.items():
        where = sa.text(condition)
        op.create_index(f"{table}_{name}", table, ["instance"], sqlite_where=where, postgresql_where=where)
    archived = sa.text("archive_uri IS NOT NULL")
    op.create_index(
        f"{table}_archived",
        table,
        ["instance", "archive_checked_at"],
        sqlite_where=archived,
        postgresql_where=archived,
    )
    op.create_index(f"{table}_last_seen", table, ["instance", "last_seen_at"])
    op.create_index(f"{table}_fingerprint", table, ["instance", "fingerprint"])


def _state_changes() -> None:
    op.create_table(
        "aem_guides_state_change",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("instance", sa.String(300), nullable=False),
        sa.Column("processing_id", sa.String(1000), nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("before", sa.String(20)),
        sa.Column("after", sa.String(20), nullable=False),
        sa.Column("seen_by", sa.String(20), nullable=False),
    )
    op.create_index("aem_guides_state_change_job", "aem_guides_state_change", ["instance", "processing_id"])


def _findings() -> None:
    table = "aem_guides_finding"
    op.create_table(
        table,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("instance", sa.String(300), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("processing_id", sa.String(1000)),
        sa.Column("severity", sa.String(10), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.Column("remedy", sa.String(20)),
        sa.Column("remedy_state", sa.String(20)),
        sa.Column("remedy_at", TIME),
        sa.Column("remedy_by", sa.Text),
        sa.Column("remedy_note", sa.Text),
        sa.Column("remedy_attempts", sa.Integer, nullable=False),
        sa.Column("intent", sa.JSON),
        sa.Column("alert_state", sa.String(20)),
        sa.Column("alerted_at", TIME),
    )
    unclosed = sa.text("closed_at IS NULL")
    op.create_index(
        f"{table}_open",
        table,
        ["instance", "kind", "subject"],
        unique=True,
        sqlite_where=unclosed,
        postgresql_where=unclosed,
    )
    unalerted = sa.text("alert_state = 'wanted'")
    op.create_index(f"{table}_unalerted", table, ["instance"], sqlite_where=unalerted, postgresql_where=unalerted)
    op.create_index(f"{table}_job", table, ["instance", "processing_id"])
    op.create_index(f"{table}_opened", table, ["instance", "opened_at"])
    op.create_index(f"{table}_closed", table, ["instance", "closed_at"])


def _reconciliations() -> None:
    op.create_table(
        "aem_guides_reconciliation",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("instance", sa.String(300), nullable=False),
        sa.Column("taken_at", TIME, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("window_size", sa.Integer, nullable=False),
        sa.Column("new_jobs", sa.Integer, nullable=False),
        sa.Column("opened", sa.Integer, nullable=False),
        sa.Column("closed", sa.Integer, nullable=False),
    )
    op.create_index("aem_guides_reconciliation_taken", "aem_guides_reconciliation", ["instance", "taken_at"])


def _views(dialect: str) -> None:
    if dialect == "postgresql":
        day, seconds = "CAST(started_at AT TIME ZONE 'UTC' AS date)", "EXTRACT(EPOCH FROM completed_at - started_at)"
    else:
        day, seconds = "date(started_at)", "(julianday(completed_at) - julianday(started_at)) * 86400"
    ended = "started_at IS NOT NULL AND completed_at IS NOT NULL AND completed_at > started_at"
    starter = "CASE WHEN dag_id IS NULL THEN COALESCE(created_by, 'unknown') ELSE 'Airflow: ' || dag_id END"
    count = "SUM(CASE WHEN state = '{0}' THEN 1 ELSE 0 END) AS {1}"
    states = ", ".join(count.format(state, state.lower()) for state in ("SUCCESS", "FAILED", "CANCELLED", "LOST"))
    views = {
        "jobs_a_day": f"SELECT instance, {day} AS day, COUNT(*) AS jobs, {states}, "
        f"SUM(CASE WHEN dag_id IS NULL THEN 0 ELSE 1 END) AS by_airflow, SUM(triggered_count) AS assets "
        f"FROM aem_guides_job WHERE started_at IS NOT NULL GROUP BY instance, {day}",
        "folder_throughput": f"SELECT instance, path, COUNT(*) AS jobs, AVG({seconds}) AS average_seconds, "
        f"MAX({seconds}) AS longest_seconds, SUM(triggered_count) AS assets, "
        f"SUM(triggered_count) / SUM({seconds}) AS assets_a_second "
        f"FROM aem_guides_job WHERE state = 'SUCCESS' AND {ended} GROUP BY instance, path",
        "failures": f"SELECT instance, processing_id, path, {starter} AS started_by, state, status_word, started_at, "
        "completed_at, triggered_count, total_files, resumable, resumes, dag_id, run_id, archive_uri "
        "FROM aem_guides_job WHERE state IN ('FAILED', 'CANCELLED', 'LOST', 'UNKNOWN') AND NOT active",
        "starters": f"SELECT instance, {starter} AS started_by, COUNT(*) AS jobs, {states}, "
        "MIN(started_at) AS first_started_at, MAX(started_at) AS last_started_at "
        f"FROM aem_guides_job GROUP BY instance, {starter}",
        "open_findings": "SELECT instance, opened_at, severity, kind, processing_id, text, remedy, remedy_state, "
        "remedy_note FROM aem_guides_finding WHERE closed_at IS NULL",
    }
    for name, query in views.items():
        op.execute(f"CREATE VIEW aem_guides_{name} AS {query}")


def downgrade() -> None:
    """Drop all of them."""
    for view in ("jobs_a_day", "folder_throughput", "failures", "starters", "open_findings"):
        op.execute(f"DROP VIEW aem_guides_{view}")
    for table in ("reconciliation", "finding", "state_change", "job", "instance"):
        op.drop_table(f"aem_guides_{table}")
