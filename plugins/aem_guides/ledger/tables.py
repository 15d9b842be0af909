"""The tables of the ledger. All names begin with `aem_guides_`, so that it can share a database with others.

Times are timestamps in UTC; here they are whole milliseconds since the epoch. `migrations` makes these tables, and
the views that people query.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, Text

from aem_guides.ledger.storable import Count, CutText, Json, Milliseconds, Name

VERSION_TABLE = "aem_guides_ledger_version"

metadata = MetaData()

instances = Table(
    "aem_guides_instance",
    metadata,
    Column("name", Name(String(300), 300), primary_key=True),
    Column("connection_id", Name(String(250), 250)),
    Column("taken_at", Milliseconds),
    Column("shown_jobs", Json, nullable=False),
)

jobs = Table(
    "aem_guides_job",
    metadata,
    Column("instance", Name(String(300), 300), primary_key=True),
    Column("processing_id", Name(String(1000)), primary_key=True),
    Column("state", Name(String(40), 40), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("path", CutText),
    Column("request", Json),
    Column("fingerprint", Name(String(64), 64)),
    Column("created_by", CutText),
    Column("connection_id", Name(String(250), 250)),
    Column("dag_id", Name(String(250), 250)),
    Column("run_id", Name(String(250), 250)),
    Column("task_id", Name(String(250), 250)),
    Column("map_index", Integer, nullable=False),
    Column("status_word", Name(String(200), 200), nullable=False),
    Column("total_files", Count),
    Column("triggered_count", Count),
    Column("started_at", Milliseconds),
    Column("completed_at", Milliseconds),
    Column("resumable", Boolean, nullable=False),
    Column("resumes", Count, nullable=False),
    Column("continues", Name(String(1000))),
    Column("reported_state", Name(String(40), 40)),
    Column("first_seen_at", Milliseconds, nullable=False),
    Column("last_seen_at", Milliseconds, nullable=False),
    Column("progress_at", Milliseconds, nullable=False),
    Column("missing_since", Milliseconds),
    Column("wants_archive", Boolean, nullable=False),
    Column("archive_uri", CutText),
    Column("sha256", Name(String(64), 64)),
    Column("archive_checked_at", Milliseconds),
    Column("kept", Boolean, nullable=False),
    Column("announced", Boolean, nullable=False),
)

state_changes = Table(
    "aem_guides_state_change",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance", Name(String(300), 300), nullable=False),
    Column("processing_id", Name(String(1000)), nullable=False),
    Column("seen_at", Milliseconds, nullable=False),
    Column("before", Name(String(40), 40)),
    Column("after", Name(String(40), 40), nullable=False),
    Column("seen_by", Name(String(20), 20), nullable=False),
)

findings = Table(
    "aem_guides_finding",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance", Name(String(300), 300), nullable=False),
    Column("kind", Name(String(40), 40), nullable=False),
    Column("subject", Name(Text()), nullable=False),
    Column("processing_id", Name(String(1000))),
    Column("severity", Name(String(10), 10), nullable=False),
    Column("text", CutText, nullable=False),
    Column("opened_at", Milliseconds, nullable=False),
    Column("closed_at", Milliseconds),
    Column("remedy", Name(String(20), 20)),
    Column("remedy_state", Name(String(20), 20)),
    Column("remedy_at", Milliseconds),
    Column("remedy_by", CutText),
    Column("remedy_note", CutText),
    Column("remedy_attempts", Count, nullable=False),
    Column("intent", Json),
    Column("alert_state", Name(String(20), 20)),
    Column("alerted_at", Milliseconds),
)

reconciliations = Table(
    "aem_guides_reconciliation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("instance", Name(String(300), 300), nullable=False),
    Column("taken_at", Milliseconds, nullable=False),
    Column("run_id", CutText),
    Column("window_size", Count, nullable=False),
    Column("new_jobs", Count, nullable=False),
    Column("opened", Count, nullable=False),
    Column("closed", Count, nullable=False),
)

path_states = Table(
    "aem_guides_path_state",
    metadata,
    Column("key", Name(String(80), 80), primary_key=True),
    Column("dag_id", Name(String(250), 250), nullable=False),
    Column("run_id", Name(String(250), 250), nullable=False),
    Column("noted_at", Milliseconds, nullable=False),
)
"""Where Airflow stores the states of paths, because Airflow neither lists nor deletes them by itself."""

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
"""The conditions for jobs with something left to do, in the words of the partial indexes. With other words they would
not be used."""
