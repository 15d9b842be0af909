"""The tables of the ledger. All names begin with `aem_guides_`, so that it can share a database with others.

Times are timestamps in UTC; here they are whole milliseconds since the epoch. `migrations` makes these tables, and
the views that people query.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import JSON, Boolean, Column, DateTime, Integer, MetaData, String, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

VERSION_TABLE = "aem_guides_ledger_version"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Milliseconds(TypeDecorator[int]):
    """A timestamp in the database, epoch milliseconds here. SQLite keeps no offset: what it holds is UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + value * _MILLISECOND

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


metadata = MetaData()

instances = Table(
    "aem_guides_instance",
    metadata,
    Column("name", String(300), primary_key=True),
    Column("connection_id", String(250)),
    Column("taken_at", Milliseconds),
    Column("shown_jobs", JSON, nullable=False),
)

jobs = Table(
    "aem_guides_job",
    metadata,
    Column("instance", String(300), primary_key=True),
    Column("processing_id", String(1000), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("path", Text),
    Column("request", JSON),
    Column("fingerprint", String(64)),
    Column("created_by", Text),
    Column("connection_id", String(250)),
    Column("dag_id", String(250)),
    Column("run_id", String(250)),
    Column("task_id", String(250)),
    Column("map_index", Integer, nullable=False),
    Column("status_word", String(200), nullable=False),
    Column("total_files", Integer),
    Column("triggered_count", Integer),
    Column("started_at", Milliseconds),
    Column("completed_at", Milliseconds),
    Column("resumable", Boolean, nullable=False),
    Column("resumes", Integer, nullable=False),
    Column("continues", String(1000)),
    Column("reported_state", String(20)),
    Column("first_seen_at", Milliseconds, nullable=False),
    Column("last_seen_at", Milliseconds, nullable=False),
    Column("progress_at", Milliseconds, nullable=False),
    Column("missing_since", Milliseconds),
    Column("wants_archive", Boolean, nullable=False),
    Column("archive_uri", Text),
    Column("sha256", String(64)),
    Column("archive_checked_at", Milliseconds),
    Column("kept", Boolean, nullable=False),
    Column("announced", Boolean, nullable=False),
)

state_changes = Table(
    "aem_guides_state_change",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance", String(300), nullable=False),
    Column("processing_id", String(1000), nullable=False),
    Column("seen_at", Milliseconds, nullable=False),
    Column("before", String(20)),
    Column("after", String(20), nullable=False),
    Column("seen_by", String(20), nullable=False),
)

findings = Table(
    "aem_guides_finding",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance", String(300), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", Text, nullable=False),
    Column("processing_id", String(1000)),
    Column("severity", String(10), nullable=False),
    Column("text", Text, nullable=False),
    Column("opened_at", Milliseconds, nullable=False),
    Column("closed_at", Milliseconds),
    Column("remedy", String(20)),
    Column("remedy_state", String(20)),
    Column("remedy_at", Milliseconds),
    Column("remedy_by", Text),
    Column("remedy_note", Text),
    Column("remedy_attempts", Integer, nullable=False),
    Column("intent", JSON),
    Column("alert_state", String(20)),
    Column("alerted_at", Milliseconds),
)

reconciliations = Table(
    "aem_guides_reconciliation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance", String(300), nullable=False),
    Column("taken_at", Milliseconds, nullable=False),
    Column("run_id", Text),
    Column("window_size", Integer, nullable=False),
    Column("new_jobs", Integer, nullable=False),
    Column("opened", Integer, nullable=False),
    Column("closed", Integer, nullable=False),
)

LEFT_TO_DO: dict[str, dict[str, str]] = {
    "postgresql": {
        "active": "active",
        "unannounced": "dag_id IS NULL AND NOT announced",
        "unarchived": "wants_archive AND archive_uri IS NULL AND NOT active",
    },
    "sqlite": {
        "active": "active = 1",
        "unannounced": "dag_id IS NULL AND announced = 0",
        "unarchived": "wants_archive = 1 AND archive_uri IS NULL AND active = 0",
    },
}
"""Which jobs have something left to do, in the words of the partial indexes: other words would not use them."""
