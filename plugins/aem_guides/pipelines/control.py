"""Cancel, resume, archive or inspect one job, also another user's; or settle which job came of a start in doubt."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow.sdk import Context, get_current_context, task

from aem_guides.archive.job import archive_job
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.records import LedgerJob
from aem_guides.pipelines.doubt import forget_doubt, settle_doubt
from aem_guides.protocol.errors import AemGuidesError, CancelUnconfirmedError, JobLostError, Retry
from aem_guides.protocol.models import Job, JsonObject
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.wording import describe_progress, iso_time
from aem_guides.runtime import fields
from aem_guides.runtime.memory import resume_intent, resume_kept, run_label
from aem_guides.runtime.notes import NOTES
from aem_guides.triggers.turn import Resume, resume_job

if TYPE_CHECKING:
    from aem_guides.ledger.store import Ledger

T = TypeVar("T")
TAIL_LINES = 50
CANCEL_SECONDS = 120.0

log = logging.getLogger(__name__)


class Action(enum.StrEnum):
    """What to do with a job.

    settle: it is the one that came of a start or resume in doubt. forget: nothing waits for that
    any more.
    """

    INSPECT = "inspect"
    CANCEL = "cancel"
    RESUME = "resume"
    ARCHIVE = "archive"
    SETTLE = "settle"
    FORGET = "forget"


class ActionNotPossibleError(AemGuidesError):
    """The state of the job does not allow the action."""

    retry = Retry.POINTLESS


@dataclass(frozen=True)
class Subject:
    """The job, and its entry in the ledger: None if the ledger does not have it, or cannot be read.

    `max_active_jobs`: the job is resumed only while fewer jobs are active on its instance.
    """

    hook: AemGuidesHook
    job: Job
    entry: LedgerJob | None
    context: Context
    max_active_jobs: int


@task(inlets=[NOTES])
def control_job() -> JsonObject:
    """Do it, and return what the job is afterwards.

    Raises InvalidInputError, ActionNotPossibleError, NotSettledError, NoTurnError, and what a call raises.
    """
    context = get_current_context()
    params = context["params"]
    action = fields.choice("action", params["action"], Action)
    connection_id = str(params["connection_id"])
    if action is Action.FORGET:
        return {"action": str(action), **forget_doubt(params["doubt"])}
    if action is Action.SETTLE:
        with AemGuidesHook(connection_id) as hook:
            done = settle_doubt(context, hook, params["doubt"], params["processing_id"], _from_ledger)
        return {"action": str(action), **done}
    processing_id = fields.identifier("processing_id", params["processing_id"]).strip()
    most = fields.whole("max_active_jobs", params["max_active_jobs"], least=1, most=1000)
    with AemGuidesHook(connection_id) as hook:
        job = hook.drive(find_job(hook.talk, processing_id))
        if job is None:
            raise JobLostError(
                f"processing_id: {processing_id!r} is in neither the status nor the history of "
                f"{hook.settings.base_url}. Check the id, and that connection_id is the instance where it ran; "
                + _in_ledger(_from_ledger(hook.settings.instance, processing_id))
            )
        subject = Subject(hook, job, _from_ledger(hook.settings.instance, processing_id), context, most)
        done = _ACTIONS[action](subject)
    return {"action": str(action), "processing_id": processing_id, **done}


def build_control_tasks() -> None:
    """Put the task into the DAG that is being built."""
    control_job()


def _inspect(subject: Subject) -> JsonObject:
    log.info("%s", _facts(subject.job))
    # Only its first letter: paths, run ids and URIs have capitals that count.
    known = _in_ledger(subject.entry)
    log.info("%s", known[:1].upper() + known[1:])
    page = subject.hook.get_logs(subject.job.processing_id, tail=TAIL_LINES)
    log.info("The last %s lines of its log:\n%s", len(page.lines), "\n".join(page.lines))
    return {"job": subject.job.to_json(), "ledger": subject.entry.to_json() if subject.entry else None}


def _cancel(subject: Subject) -> JsonObject:
    job = subject.job
    if not job.is_active:
        when = iso_time(job.completed_at) or "time unknown"
        raise ActionNotPossibleError(
            f"Job {job.processing_id} has already ended ({job.status_word}, {when}). There is nothing to cancel."
        )
    outcome = subject.hook.cancel_processing(job.processing_id, within_seconds=CANCEL_SECONDS)
    said = outcome.in_words(job.processing_id)
    if outcome.result is CancelResult.UNKNOWN:
        raise CancelUnconfirmedError(said, outcome.job)
    log.info("%s", said)
    return {"result": outcome.result.value}


def _resume(subject: Subject) -> JsonObject:
    from aem_guides.reconciliation.remedies import request_to_resume

    job = subject.job
    intent = resume_intent(subject.context, job.processing_id)
    if intent is None:
        _check_resumable(job)
    request = request_to_resume(job, subject.entry)
    resume = Resume(job, request, subject.max_active_jobs, run_label(subject.context), intent)
    with resume_kept(subject.context, job.processing_id) as keep:
        goes_on_as = resume_job(subject.hook, resume, keep, log)
    if goes_on_as is None:
        raise ActionNotPossibleError(
            f"Somebody else has resumed job {job.processing_id}. Nothing was sent. Inspect it before you try again."
        )
    log.info(
        "Job %s was resumed. Its id is now %s. This task does not wait for it. The reconciliation reports its end.",
        job.processing_id,
        goes_on_as,
    )
    return {"goes_on_as": goes_on_as}


def _check_resumable(job: Job) -> None:
    if job.is_active:
        raise ActionNotPossibleError(
            f"Job {job.processing_id} is active ({job.status_word}). There is nothing to resume."
        )
    if job.verdict is Verdict.SUCCEEDED:
        raise ActionNotPossibleError(
            f"Job {job.processing_id} has succeeded. There is nothing to resume. To process its path again, start a "
            "new run."
        )
    if not job.resumable:
        raise ActionNotPossibleError(
            f"Job {job.processing_id} ended as {job.status_word}, and the instance cannot resume it. Start a new run "
            "for its path."
        )


def _archive(subject: Subject) -> JsonObject:
    from aem_guides.ledger.clock import now_ms

    job, entry = subject.job, subject.entry
    if job.is_active:
        raise ActionNotPossibleError(
            f"Job {job.processing_id} is still active ({job.status_word}), so its log is not complete. Archive it "
            "when the job has ended."
        )
    request = entry.request if entry else None
    first_seen = entry.first_seen_at if entry else now_ms()
    run = run_label(subject.context)
    archive = archive_job(subject.hook, job, run=run, request=request, first_seen=lambda: first_seen / 1000)
    if archive is None:
        return {"archive_uri": None, "sha256": None}
    if entry is not None:
        instance, name = subject.hook.settings.instance, job.processing_id
        _with_ledger(lambda ledger: ledger.archived(instance, name, archive.uri, archive.sha256, now_ms()))
    return {"archive_uri": archive.uri, "sha256": archive.sha256}


_ACTIONS: dict[Action, Callable[[Subject], JsonObject]] = {
    Action.INSPECT: _inspect,
    Action.CANCEL: _cancel,
    Action.RESUME: _resume,
    Action.ARCHIVE: _archive,
}


def _from_ledger(instance: str, processing_id: str) -> LedgerJob | None:
    return _with_ledger(lambda ledger: ledger.find(instance, processing_id))


def _with_ledger(ask: Callable[[Ledger], T]) -> T | None:
    """The entry in the ledger; None if the ledger cannot be used. The action works without it."""
    from aem_guides.ledger.store import Ledger

    try:
        with Ledger() as ledger:
            return ask(ledger)
    except AemGuidesError as error:
        log.warning("%s", error)
        return None


def _facts(job: Job) -> str:
    facts = {
        "job": job.processing_id,
        "path": job.path,
        "state": job.status_word,
        "by": job.created_by,
        "started": iso_time(job.started_at),
        "completed": iso_time(job.completed_at),
        "progress": describe_progress(job, None),
        "comments": job.comments,
        "can be": ", ".join(
            word
            for word, possible in (
                ("cancelled", job.cancellable),
                ("resumed", job.resumable),
                ("started again", job.restartable),
            )
            if possible
        )
        or None,
    }
    width = max(map(len, facts))
    return "\n".join(f"{name.ljust(width)}  {value if value is not None else '-'}" for name, value in facts.items())


def _in_ledger(entry: LedgerJob | None) -> str:
    if entry is None:
        return "the ledger has no such job."
    whose = f"run {entry.run.run_id} of {entry.run.dag_id} started it" if entry.run else "Airflow did not start it"
    archive = f"its log is {entry.archive_uri}" if entry.archive_uri else "its log is not archived"
    return f"the ledger has it as {entry.state} on {entry.path}; {whose}, {archive}."
