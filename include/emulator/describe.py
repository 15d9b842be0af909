"""A job in the form that the API returns."""

from __future__ import annotations

from emulator.engine import Engine
from emulator.store import JobRecord

_WORDS = {
    "documented": {},
    "window": {
        "WAITING": "Waiting",
        "RUNNING": "In progress",
        "CANCELLING": "In progress",
        "SUCCESS": "Completed",
        "FAILED": "Failed",
        "CANCELLED": "Cancelled",
    },
}


def describe(engine: Engine, job: JobRecord, word: str | None = None) -> dict[str, object]:
    """The job's answer; `word` replaces its state."""
    described: dict[str, object] = {
        "processingId": job.processing_id,
        "path": job.path,
        # The documented examples show both forms.
        "excludedPaths": [path.lstrip("/") if n % 2 else path for n, path in enumerate(job.excluded)],
        "status": word or _state_word(engine, job),
        "triggeredCount": job.position,
        "startedAt": job.started,
        "completedAt": job.completed,
        "hasLogs": job.lines > 0,
        "createdBy": job.created_by,
        "type": job.processing_type,
        "migrationSet": {"calculationStatus": "WAITING"},
        "comments": job.comments,
        "restartable": job.state == "SUCCESS",
        "resumable": job.resumable,
        "cancellable": job.active and not job.cancelling,
    }
    if job.counted:
        described["migrationSet"] = {"totalFiles": job.total, "calculationStatus": "SUCCESS"}
        if job.active:
            described["eta"] = {"value": engine.eta_seconds(job), "unit": "SECONDS"}
    if job.filter:
        described["filter"] = {"filterProcessedAssets": False, **job.filter}
    return described


def _state_word(engine: Engine, job: JobRecord) -> str:
    settings = engine.settings
    if job.active and job.cancelling:
        state = "CANCELLING"
    elif job.state == "RUNNING" and settings.running_word:
        return settings.running_word
    elif job.state == "SUCCESS" and job.failed_assets and settings.errors_word:
        return settings.errors_word
    else:
        state = job.state
    return _WORDS[settings.state_style].get(state, state)
