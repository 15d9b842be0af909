"""The tasks of the reconciliation.

`list_instances` → for each connection `instance` (`read_window` → `reconcile_window`) → `plan_remedies` →
`carry_out_remedy`, mapped → `write_report` → `confirm`. If an instance is down, only its own branch fails. The report
is written nevertheless, and `confirm` fails the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from airflow.sdk import Asset, get_current_context, task, task_group

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.findings import Finding, Remedy
from aem_guides.ledger.records import Snapshot
from aem_guides.ledger.settings import ReconcileSettings, read_settings, reconcile_connections
from aem_guides.protocol.errors import AemGuidesError, ConfigurationError, Retry
from aem_guides.protocol.models import JsonObject, JsonValue
from aem_guides.reconciliation import alerting
from aem_guides.reconciliation.report import InstanceReport, as_text, counts, now_utc, store
from aem_guides.runtime.fields import flag, texts
from aem_guides.runtime.labels import map_label
from aem_guides.runtime.memory import run_label
from aem_guides.runtime.notes import NOTES
from aem_guides.runtime.task_states import run_state

if TYPE_CHECKING:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from aem_guides.ledger.store import Ledger

log = logging.getLogger(__name__)

GROUP = "instance"
READ, RECONCILE = f"{GROUP}.read_window", f"{GROUP}.reconcile_window"
CARRY_OUT = "carry_out_remedy"
RECONCILIATION = Asset(name="aem_guides_reconciliation", uri="x-aem-guides://reconciliation")
"""Every reconciliation updates it. Its event has the counts of `reconcile_report.counts`."""

_DAY_MS = 24 * 3600 * 1000


class ReconciliationIncompleteError(AemGuidesError):
    """An instance could not be reconciled, or a remedy failed."""

    retry = Retry.POINTLESS


@task
def list_instances() -> list[str]:
    """The connections whose instances are reconciled. Raises ConfigurationError if there are none."""
    params = get_current_context()["params"]
    chosen = list(texts("connection_ids", params.get("connection_ids"))) or reconcile_connections()
    if not chosen:
        raise ConfigurationError("[aem_guides] reconcile_connections names no connection. Give at least one.")
    read_settings()
    return list(dict.fromkeys(chosen))


@task_group(group_id=GROUP)
def reconcile_instance(connection_id: str) -> None:
    """Compare one instance with the ledger."""
    reconcile_window(cast("JsonObject", read_window(connection_id)))


@task(map_index_template=map_label("aem_guides_label"))
def read_window(connection_id: str) -> JsonObject:
    """Read the window, the status of every job that counts as active, and the related facts of our runs and the
    archive."""
    from aem_guides.ledger.store import Ledger  # heavy, and not needed to parse the DAG
    from aem_guides.reconciliation.remedies import take_in_waiting_notes, take_snapshot

    get_current_context()["aem_guides_label"] = connection_id  # type: ignore[typeddict-unknown-key]  # for the label
    with Ledger() as ledger, AemGuidesHook(connection_id) as hook:
        if taken := take_in_waiting_notes(ledger):
            log.info("%s waiting notes were written to the ledger", taken)
        remedies = read_settings().remedies
        snapshot = take_snapshot(hook, ledger, connection_id, lambda run: run_state(run.dag_id, run.run_id), remedies)
    log.info(
        "%s: %s jobs in the history, %s more read by their ids",
        snapshot.instance,
        len(snapshot.window),
        len(snapshot.statuses),
    )
    return snapshot.to_json()


@task(map_index_template=map_label("aem_guides_label"))
def reconcile_window(shown: JsonObject) -> JsonObject:
    """Compare the snapshot with the ledger, and store the changes."""
    from aem_guides.ledger.store import Ledger, SupersededError
    from aem_guides.reconciliation.remedies import findings_of, jobs_of
    from aem_guides.reconciliation.states import forget_old_states

    context = get_current_context()
    snapshot, settings, dry_run = Snapshot.from_json(shown), read_settings(), _is_dry_run()
    context["aem_guides_label"] = snapshot.connection_id  # type: ignore[typeddict-unknown-key]  # for the label
    base: JsonObject = {
        "instance": snapshot.instance,
        "connection_id": snapshot.connection_id,
        "window": len(snapshot.window),
        "dry_run": dry_run,
    }
    with Ledger() as ledger:
        known = {(f["kind"], f["text"]) for f in findings_of(ledger, snapshot.instance)}
        try:
            result = ledger.reconcile(
                snapshot, settings.policy, _remedies(settings), run_id=str(context["ti"].run_id), dry_run=dry_run
            )
        except SupersededError as error:
            log.warning("%s", error)
            return {**base, "superseded": True}
        if settings.retention_days and not dry_run:
            ledger.prune(snapshot.instance, now_ms() - settings.retention_days * _DAY_MS)
        if settings.state_retention_days and not dry_run:
            before = now_ms() - settings.state_retention_days * _DAY_MS
            forget_old_states(ledger, before, lambda run: run_state(run.dag_id, run.run_id))
        lasting = [f for f in findings_of(ledger, snapshot.instance) if (f["kind"], f["text"]) in known]
        shown_jobs = jobs_of(ledger, snapshot)
        # From the ledger: if a try died after writing, the report of the next try still has its findings.
        opened, closed = (
            (list(result.opened), []) if dry_run else ledger.findings_of(snapshot.instance, snapshot.taken_at)
        )
    found = _found(opened, closed, snapshot)
    new_jobs = sum(job.first_seen_at == snapshot.taken_at for job in result.jobs)
    lists = {"lasting": cast("JsonValue", lasting), "jobs": cast("JsonValue", shown_jobs)}
    return {**base, "new_jobs": new_jobs, **found, **lists}


@task(trigger_rule="all_done")
def plan_remedies() -> list[JsonObject]:
    """The remedies to carry out, of all instances. None in a dry run."""
    from aem_guides.ledger.store import Ledger
    from aem_guides.reconciliation.remedies import Assignment, assignments

    if _is_dry_run():
        return []
    settings, planned = read_settings(), list[JsonObject]()
    with Ledger() as ledger:
        for result in _results():
            if result is None:
                continue
            instance, connection_id = str(result["instance"]), str(result["connection_id"])
            planned += [a.to_json() for a in assignments(ledger, instance, connection_id, settings)]
            if Remedy.ALERT in _remedies(settings) and ledger.unalerted(instance):
                planned.append(Assignment(instance, connection_id, Remedy.ALERT).to_json())
    return planned


@task(task_id=CARRY_OUT, map_index_template=map_label("aem_guides_label"), inlets=[NOTES])
def carry_out_remedy(assignment: JsonObject) -> JsonObject:
    """Carry out one remedy, once."""
    from aem_guides.ledger.store import Ledger
    from aem_guides.reconciliation.remedies import Assignment, RemedyResult, carry_out

    context = get_current_context()
    planned = Assignment.from_json(assignment)
    context["aem_guides_label"] = planned.label  # type: ignore[typeddict-unknown-key]  # for the label
    with Ledger() as ledger:
        if planned.remedy is Remedy.ALERT:
            result = RemedyResult(planned, succeeded=True, note=_alert(ledger, planned.instance))
        else:
            result = carry_out(planned, ledger, read_settings(), by=run_label(context))
    level = logging.INFO if result.succeeded else logging.WARNING if result.waits else logging.ERROR
    log.log(level, "%s: %s", planned.label, result.note)
    return result.to_json()


@task(trigger_rule="all_done", outlets=[RECONCILIATION])
def write_report() -> JsonObject:
    """Log the report, store it, and send an asset event to other DAGs."""
    context = get_current_context()
    ti = cast("RuntimeTaskInstance", context["ti"])
    connections = cast("list[str] | None", ti.xcom_pull(task_ids="list_instances")) or []
    done = carried_out(ti.xcom_pull(task_ids=CARRY_OUT))
    reports = []
    for connection_id, result in zip(connections, _results(), strict=True):
        mine = [entry for entry in done if entry.get("connection_id") == connection_id]
        reports.append(InstanceReport(connection_id, result, mine))
    for report in reports:
        log.log(logging.INFO if report.result else logging.ERROR, "%s", as_text(report))
    found = counts(reports)
    for uri in store(reports, now_utc(), str(ti.run_id)):
        log.info("Stored %s", uri)
    context["outlet_events"][RECONCILIATION].extra = found
    return found


@task
def confirm(found: JsonObject) -> None:
    """Fail the run if something could not be done. The report is written before this task."""
    failed = found.get("failed_instances")
    wrong = [f"{name} could not be reconciled" for name in failed] if isinstance(failed, list) else []
    if found.get("failed_remedies"):
        wrong.append(f"{found['failed_remedies']} remedies failed")
    if not found.get("instances"):
        wrong.append("the instances could not be listed")
    ti = cast("RuntimeTaskInstance", get_current_context()["ti"])
    planned = cast("list[object] | None", ti.xcom_pull(task_ids="plan_remedies"))
    if planned is None:
        wrong.append("the remedies could not be planned")
    elif len(planned) > int(str(found.get("remedies") or 0)):
        wrong.append("a remedy failed or was stopped")
    if wrong:
        raise ReconciliationIncompleteError(
            "; ".join(wrong) + ". The report and the logs of those tasks have the reason."
        )


def build_reconcile_tasks() -> None:
    """Put the tasks into the DAG that is being built."""
    groups = reconcile_instance.expand(connection_id=list_instances())
    planned = plan_remedies()
    done = carry_out_remedy.expand(assignment=planned)
    found = write_report()
    groups >> planned >> done >> found
    confirm(cast("JsonObject", found))


def _alert(ledger: Ledger, instance: str) -> str:
    """Send new findings to the notifiers. No finding is sent twice, even after a crash."""
    items = {item.id: item for item in ledger.unalerted(instance)}
    claimed = ledger.claim_alert(list(items), now_ms())
    sentences = [items[name].finding.text for name in claimed]
    if sentences:
        text = f"AEM Guides {instance}: {len(sentences)} findings\n" + "\n".join(f"- {s}" for s in sentences)
        try:
            alerting.send(get_current_context(), text, sentences)
        except Exception:
            ledger.end_alert(claimed, succeeded=False)
            raise
        ledger.end_alert(claimed, succeeded=True)
    return f"{len(sentences)} findings were sent to the notifiers."


def _found(opened: list[Finding], closed: list[Finding], snapshot: Snapshot) -> JsonObject:
    def shown(finding: Finding) -> JsonValue:
        return {
            "kind": str(finding.key.kind),
            "severity": str(finding.severity),
            "processing_id": finding.processing_id,
            "text": finding.text,
            "opened_at": snapshot.taken_at,
        }

    return {"opened": [shown(finding) for finding in opened], "closed": [shown(finding) for finding in closed]}


def carried_out(pulled: object) -> list[JsonObject]:
    """The results of the remedies. Airflow gives a single one without a list around it, and None if there are none."""
    if isinstance(pulled, Mapping):
        return [dict(pulled)]
    return [entry for entry in pulled if isinstance(entry, dict)] if isinstance(pulled, Iterable) else []


def _remedies(settings: ReconcileSettings) -> frozenset[Remedy]:
    return settings.remedies if alerting.is_configured() else settings.remedies - {Remedy.ALERT}


def _is_dry_run() -> bool:
    return flag("dry_run", get_current_context()["params"].get("dry_run", False))


def _results() -> list[JsonObject | None]:
    """What `reconcile_window` returned for each instance, or None if it failed."""
    ti = cast("RuntimeTaskInstance", get_current_context()["ti"])
    connections = cast("list[str] | None", ti.xcom_pull(task_ids="list_instances")) or []
    found = [ti.xcom_pull(task_ids=RECONCILE, map_indexes=index) for index in range(len(connections))]
    return [entry if isinstance(entry, dict) else None for entry in found]
