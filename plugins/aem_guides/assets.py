"""Airflow assets for processed paths: `aem-guides://<instance><path>`.

A run updates the asset of each path that it processed successfully. Schedule a DAG on one path with `aem_guides_asset`,
on all paths with the alias `PROCESSED`, and with `watched_asset` also on jobs that were not started by Airflow.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias, AssetWatcher, Context

from aem_guides.hooks.hook import DEFAULT_CONNECTION
from aem_guides.protocol.models import JsonObject, JsonValue, same_path
from aem_guides.protocol.states import WELL_ENDED_STATES
from aem_guides.triggers.history import AemGuidesHistoryEventTrigger

SCHEME = "aem-guides"
PROCESSED = AssetAlias(name="aem_guides_processed", group="aem_guides")
"""Every path that a run has processed successfully."""

LONGEST_URI = 1500
_REPORTED = (
    "processing_id",
    "state",
    "total_files",
    "triggered_count",
    "failed_assets",
    "started_at",
    "completed_at",
    "archive_uri",
    "sha256",
)

log = logging.getLogger(__name__)


def aem_guides_asset(instance: str, path: str) -> Asset:
    """The asset of a path on an instance. `instance` is the host name, with the port if it is not the default port.

    Letters that a URI cannot hold are percent-encoded, so names in any script work.
    """
    return Asset(uri=_uri(instance, path), group="aem_guides")


def watched_asset(
    instance: str,
    path: str,
    *,
    aem_guides_conn_id: str = DEFAULT_CONNECTION,
    poll_seconds: float = 60.0,
    with_parents: bool = False,
    ignore_users: Sequence[str] = (),
    only_successes: bool = True,
) -> Asset:
    """The asset of a path that is also updated by every job seen to end there, by Airflow or another user.

    A job of a run is then reported twice: by its run, and by the watcher. `ignore_users` leaves out the second report.
    The event's extra of a watched job is `{"from_trigger": True, "payload": {...}}`, with the result of
    `triggers.history.payload_of`.

    :param poll_seconds: how often the instance's history is read.
    :param with_parents: count jobs on folders above the path, too.
    :param ignore_users: users whose jobs are ignored, such as the user of the connection: the runs report those jobs
        already.
    :param only_successes: count only jobs that succeeded and had something to process.
    """
    trigger = AemGuidesHistoryEventTrigger(
        aem_guides_conn_id=aem_guides_conn_id,
        path=path,
        poll_seconds=poll_seconds,
        with_parents=with_parents,
        ignore_users=list(ignore_users),
        only_successes=only_successes,
    )
    uri = _uri(instance, path)
    return Asset(uri=uri, group="aem_guides", watchers=[AssetWatcher(name=f"history of {uri}"[:250], trigger=trigger)])


def announce(context: Context, instance: str, row: Mapping[str, JsonValue], run: str) -> None:
    """Update the asset of a row of the report, if the task has `PROCESSED` as an outlet.

    The job must have gone through all of its assets. The event's `state` shows whether some of them failed. A job
    without assets, such as that of an empty interval, does not update the asset. The caller checks the row for other
    problems.
    """
    if row.get("state") not in WELL_ENDED_STATES or PROCESSED not in context["task"].outlets:
        return
    if row.get("total_files") == 0 and not row.get("triggered_count"):
        return
    uri = _uri(instance, str(row["path"]))
    if len(uri) > LONGEST_URI:
        log.warning("%s is too long for an Airflow asset. No asset event was sent for it.", uri)
        return
    extra: JsonObject = {name: row.get(name) for name in _REPORTED}
    context["outlet_events"][PROCESSED].add(Asset(uri=uri, group="aem_guides"), extra={**extra, "run": run})


def _uri(instance: str, path: str) -> str:
    return f"{SCHEME}://{instance.lower()}{quote(same_path(path), safe='/')}"
