"""The operator that brings one path from start to archive: one task a path, for batches of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import cast

from airflow.sdk import BaseOperator, Context

from aem_guides.archive.job import archive_job, folder_of
from aem_guides.archive.place import StoredArchive
from aem_guides.assets import PROCESSED, announce
from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesHook
from aem_guides.operators.base import first_seen_by, still_known
from aem_guides.operators.links import ARCHIVE_LINKS
from aem_guides.protocol.asset_patterns import AssetPatterns, parse_patterns
from aem_guides.protocol.asset_verdict import AssetQuestion, Verification
from aem_guides.protocol.batch import Act, PathNote, next_act
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import AemGuidesError, DeadlineExceededError, Retry, VerificationError
from aem_guides.protocol.models import ASSET_PROCESSING, Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import may_cancel
from aem_guides.protocol.procedures.follow import Followed, FollowEnd, find_job
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.protocol.procedures.verify import FailureLimit, Patience
from aem_guides.protocol.requests import parse_requests
from aem_guides.protocol.states import Verdict
from aem_guides.results import verification
from aem_guides.results.batch_rows import ROW_KEY, BatchRow, row_of
from aem_guides.results.outcome import Ending, OnDeadline, WaitOutcome, conclude
from aem_guides.results.rows import ERRORS_UNCOUNTED
from aem_guides.runtime import fields
from aem_guides.runtime.batch_memory import PathMemory
from aem_guides.runtime.memory import StateStore, generation, run_label
from aem_guides.runtime.notes import NOTES, AirflowNotes, path_key
from aem_guides.triggers.base import FollowingFailedError
from aem_guides.triggers.path import AemGuidesPathTrigger, PathPlan


class AemGuidesProcessAssetsOperator(BaseOperator):
    """Process one path from start to archive, as one of many: start once, follow, archive, verify.

    It waits for its turn and for the job in the triggerer, deferring once a try. All such tasks, of whatever run,
    keep to `max_active_jobs` against what the instance itself shows as active, and start in the order in which
    their runs came and of their map index.

    :param path: the folder or asset; with `excluded_paths`, `file_types`, `created_after`, `created_before` (ISO
        8601 with offset) and `processing_type`. Or give `request`, as `ProcessingRequest.to_json` writes it.
    :param on_active_job: `adopt` a job that is active on the path and asks for the same, `queue` behind it, or `fail`.
    :param max_active_jobs: start only while fewer jobs are active on the instance, whoever started them.
    :param queue_hours: how long to wait for the turn at the most.
    :param max_resumes: how often a job that failed, and that this task started, is resumed by a next try.
    :param deadline_hours: the job's time, from its start on.
    :param on_deadline: `cancel` the job then, or `leave` it; one that was adopted as `cancel_adopted` says.
    :param cancel_adopted: cancel also a job that was adopted, not started.
    :param stall_minutes: warn after so long without progress.
    :param archive_logs: store the log ZIP, also of a job that failed.
    :param archive_uri: where archives lie; default `[aem_guides] archive_uri`.
    :param verify_assets: ask for the state of every asset after a success.
    :param verify_minutes: how long to wait for assets that are still at work; this holds a worker.
    :param fail_on_asset_failures: fail if at least so many assets failed, a count (`10`) or a share (`2.5%`).
    :param verify_ignore: patterns of the paths of assets that do not count, such as `*/fragments/*`.
    :param reprocess: process again when cleared after a success, rather than return what came of it.

    Returns the path's row, which the XCom `row` has also where the task fails: see `batch_rows.BatchRow`. Clear goes
    on from the checkpoint of a job that failed or was cancelled, and starts anew where there is none. Raises
    InvalidInputError, ActiveJobError, DoubtfulStartError, RejectedError, JobFailedError, JobCancelledError,
    JobLostError, JobOutcomeUnknownError, DeadlineExceededError, ArchiveError, VerificationError.
    """

    template_fields: Sequence[str] = (
        "aem_guides_conn_id",
        "path",
        "excluded_paths",
        "file_types",
        "created_after",
        "created_before",
        "processing_type",
        "request",
        "on_active_job",
        "max_active_jobs",
        "queue_hours",
        "max_resumes",
        "deadline_hours",
        "on_deadline",
        "cancel_adopted",
        "stall_minutes",
        "archive_logs",
        "archive_uri",
        "verify_assets",
        "verify_minutes",
        "fail_on_asset_failures",
        "verify_ignore",
        "reprocess",
    )
    operator_extra_links = ARCHIVE_LINKS
    archived: str | None = None
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        path: str | None = None,
        excluded_paths: Sequence[str] | str | None = None,
        file_types: Sequence[str] | str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        processing_type: str = ASSET_PROCESSING,
        request: Mapping[str, JsonValue] | None = None,
        aem_guides_conn_id: str = DEFAULT_CONNECTION,
        on_active_job: str = OnActiveJob.ADOPT,
        max_active_jobs: int | str = 4,
        queue_hours: float | str = 168,
        max_resumes: int | str = 2,
        deadline_hours: float | str = 24,
        on_deadline: str = OnDeadline.CANCEL,
        cancel_adopted: bool | str = False,
        stall_minutes: float | str = 30,
        archive_logs: bool | str = True,
        archive_uri: str = "",
        verify_assets: bool | str = True,
        verify_minutes: float | str = 10,
        fail_on_asset_failures: int | str | None = None,
        verify_ignore: Sequence[str] | str | None = None,
        reprocess: bool | str = False,
        longest_look: float = 15.0,
        **kwargs: object,
    ) -> None:
        kwargs.setdefault("inlets", [NOTES])
        kwargs.setdefault("outlets", [PROCESSED])
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.path = path
        self.excluded_paths = excluded_paths
        self.file_types = file_types
        self.created_after = created_after
        self.created_before = created_before
        self.processing_type = processing_type
        self.request = request
        self.aem_guides_conn_id = aem_guides_conn_id
        self.on_active_job = on_active_job
        self.max_active_jobs = max_active_jobs
        self.queue_hours = queue_hours
        self.max_resumes = max_resumes
        self.deadline_hours = deadline_hours
        self.on_deadline = on_deadline
        self.cancel_adopted = cancel_adopted
        self.stall_minutes = stall_minutes
        self.archive_logs = archive_logs
        self.archive_uri = archive_uri
        self.verify_assets = verify_assets
        self.verify_minutes = verify_minutes
        self.fail_on_asset_failures = fail_on_asset_failures
        self.verify_ignore = verify_ignore
        self.reprocess = reprocess
        self.longest_look = longest_look

    def execute(self, context: Context) -> JsonObject:
        """Take up what earlier tries did, and defer; a job that has ended is dealt with here and now."""
        request = self.asked(context)
        store = cast("StateStore", context["task_state_store"])
        memory = PathMemory.load(store, request, generation(context))
        cleared = memory.generation != generation(context)
        if memory.row is not None and not (cleared and fields.flag("reprocess", self.reprocess)):
            self.log.info("%s was processed before (job %s)", request.path, memory.note.processing_id)
            return self._hand_on(context, memory.row)
        noted = None
        if not memory.is_first:
            noted = PathNote.read(AirflowNotes().get(self._key(context, request)), request)
        memory.note = noted or memory.note
        if memory.row is not None:
            memory.note, memory.row = PathNote(request.fingerprint()), None
        if cleared:
            self._after_clear(memory)
        memory.generation = generation(context)
        with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
            job = self._job(hook, memory.note)
            act = next_act(
                memory.note,
                job,
                cleared=cleared,
                later_try=context["ti"].try_number > 1,
                resumes_left=self._resumes_left(memory),
            )
            if act is Act.START and not memory.note.unsettled:
                memory.note = PathNote(request.fingerprint())
            elif act is Act.RESUME:
                memory.note = replace(memory.note, resume_from=memory.note.resume_from or memory.note.processing_id)
            elif job is not None and job.verdict not in (Verdict.ACTIVE, Verdict.ENDED_UNCLEAR):
                return self._finish(context, hook, memory, Followed(FollowEnd.ENDED, job, 0), None)
        memory.save(store)
        if noted is not None or memory.note.processing_id is not None:
            AirflowNotes().set(self._key(context, request), memory.note.to_json())
        self.defer(trigger=self._trigger(context, request, memory), method_name="execute_complete")

    def execute_complete(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """Judge what the trigger saw, archive and verify. Whatever is not plainly a success is none."""
        request = self.asked(context)
        # Until the end is remembered, the trigger's note stays: whoever comes after a crash reads it.
        memory = PathMemory.load(cast("StateStore", context["task_state_store"]), request, generation(context))
        told = event or {}
        memory.note = PathNote.read(told.get("note"), request) or memory.note
        match told:
            case {"error": str(error), "retry": str(retry)}:
                self._hand_on(context, row_of(request, memory.note, error=error).to_json())
                raise FollowingFailedError(error, Retry(retry))
            case {"end": "no turn"}:
                said = (
                    f"{request.path}: its turn did not come within {self.queue_hours} hours (queue_hours). Clear this "
                    "task to queue again."
                )
                self._hand_on(context, row_of(request, memory.note, error=said).to_json())
                raise DeadlineExceededError(said)
            case {"end": str(end), "job": dict(job)}:
                followed = Followed(FollowEnd(end), Job.from_json(job), 0)
            case {"end": str(end), "job": None}:
                followed = Followed(FollowEnd(end), None, 0)
            case _:
                raise FollowingFailedError(f"The trigger fired what cannot be read: {event!r}", Retry.USEFUL)
        cancel = told.get("cancel")
        with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
            return self._finish(context, hook, memory, followed, cancel if isinstance(cancel, str) else None)

    def asked(self, context: Context) -> ProcessingRequest:
        """The request of this task. Raises InvalidInputError."""
        if self.request is not None:
            return ProcessingRequest.from_json(self.request)
        return parse_requests(
            [str(self.path)] if self.path is not None else [],
            excluded_paths=fields.texts("excluded_paths", self.excluded_paths),
            file_types=fields.texts("file_types", self.file_types),
            created_after=self.created_after,
            created_before=self.created_before,
            processing_type=self.processing_type,
        )[0]

    def _finish(
        self, context: Context, hook: AemGuidesHook, memory: PathMemory, followed: Followed, cancel: str | None
    ) -> JsonObject:
        """Archive, verify, remember, tell. Raises the error of a job that did not end well."""
        note, request = memory.note, self.asked(context)
        ending = Ending(
            followed=followed,
            cancel=cancel,
            processing_id=note.processing_id or "",
            resumes=note.resumes,
            resumes_left=self._resumes_left(memory),
            adopted=not note.is_ours,
            hours=self._deadline_hours(),
            starter="this task",
            spared=self._on_deadline() is OnDeadline.CANCEL
            and not may_cancel(note.origin, cancel_adopted=self._cancel_adopted()),
        )
        row = row_of(request, note, WaitOutcome.of(ending))
        try:
            try:
                said, found = conclude(ending), self._verified(context, hook, request, followed.job)
                if found is not None:
                    row = replace(row, failed_assets=found.failed_of_job)
                    verification.check(found, self._failure_limit())
            except AemGuidesError:
                row = self._archived(context, hook, note, followed.job, row)
                raise
            # After the verification, which waits for assets that are still at work: they are logged, too.
            row = self._archived(context, hook, note, followed.job, row)
        except AemGuidesError as error:
            self._remember(context, memory, request)
            self._hand_on(context, replace(row, error=str(error)).to_json())
            raise
        self.log.info(said)
        memory.row = row.to_json()
        self._remember(context, memory, request)
        announce(context, hook.settings.instance, memory.row, f"{context['ti'].dag_id} / {context['ti'].run_id}")
        return self._hand_on(context, memory.row)

    def _remember(self, context: Context, memory: PathMemory, request: ProcessingRequest) -> None:
        """From here on the task's own memory says what the trigger noted."""
        memory.save(cast("StateStore", context["task_state_store"]))
        AirflowNotes().delete(self._key(context, request))

    def _archived(
        self, context: Context, hook: AemGuidesHook, note: PathNote, job: Job | None, row: BatchRow
    ) -> BatchRow:
        """The row with the archive of the job, which is stored; so are those of the ids that it had before."""
        if not fields.flag("archive_logs", self.archive_logs):
            return row
        for earlier in still_known(hook, note.earlier, self.log):
            self._archive(context, hook, earlier)
        if job is None:
            return row
        archive = self._archive(context, hook, job)
        return replace(row, archive_uri=archive.uri, sha256=archive.sha256) if archive is not None else row

    def _archive(self, context: Context, hook: AemGuidesHook, job: Job) -> StoredArchive | None:
        return archive_job(
            hook,
            job,
            run=run_label(context),
            request=self.asked(context).to_json(),
            first_seen=first_seen_by(context, job),
            base_uri=self.archive_uri,
        )

    def _verified(
        self, context: Context, hook: AemGuidesHook, request: ProcessingRequest, job: Job | None
    ) -> Verification | None:
        """What became of the assets; None where that is not to be asked."""
        if job is None or not fields.flag("verify_assets", self.verify_assets):
            if job is not None and job.verdict is Verdict.WITH_ERRORS and self._failure_limit() is not None:
                raise VerificationError(f"{request.path}: {ERRORS_UNCOUNTED}.")
            return None
        within = fields.positive("verify_minutes", self.verify_minutes, most=60 * 24) * 60
        question = AssetQuestion(request, job, self._ignored())
        folder = partial(folder_of, hook, job, first_seen_by(context, job), self.archive_uri)
        patience = Patience(within, Pacing(shortest=0.2))
        return verification.find_out(hook, self.log, question, patience, folder)[0]

    def _hand_on(self, context: Context, row: JsonObject) -> JsonObject:
        context["ti"].xcom_push(ROW_KEY, row)
        uri = row["archive_uri"]
        self.archived = uri if isinstance(uri, str) else None
        return row

    def _after_clear(self, memory: PathMemory) -> None:
        """Clear gives new resumes and new time; doubt was for a person to settle."""
        memory.resumes_before = memory.note.resumes
        memory.note = replace(memory.note, deadline_at=None)
        if memory.note.doubtful:
            memory.note = memory.note.settled_by_a_person()

    def _job(self, hook: AemGuidesHook, note: PathNote) -> Job | None:
        return hook.drive(find_job(hook.talk, note.processing_id)) if note.processing_id else None

    def _resumes_left(self, memory: PathMemory) -> int:
        most = fields.whole("max_resumes", self.max_resumes, least=0, most=100)
        return max(0, most - (memory.note.resumes - memory.resumes_before))

    def _failure_limit(self) -> FailureLimit | None:
        return FailureLimit.parse("fail_on_asset_failures", self.fail_on_asset_failures)

    def _ignored(self) -> AssetPatterns:
        return parse_patterns("verify_ignore", self.verify_ignore)

    def _on_deadline(self) -> OnDeadline:
        return fields.choice("on_deadline", self.on_deadline, OnDeadline)

    def _cancel_adopted(self) -> bool:
        return fields.flag("cancel_adopted", self.cancel_adopted)

    def _deadline_hours(self) -> float:
        return fields.positive("deadline_hours", self.deadline_hours, most=24 * 365)

    def _key(self, context: Context, request: ProcessingRequest) -> str:
        ti = context["ti"]
        return path_key(ti.dag_id, ti.run_id, ti.task_id, request.fingerprint())

    def _trigger(self, context: Context, request: ProcessingRequest, memory: PathMemory) -> AemGuidesPathTrigger:
        ti, came_at = context["ti"], context["dag_run"].run_after
        queue_hours = fields.positive("queue_hours", self.queue_hours, most=24 * 365)
        plan = PathPlan(
            request=request.to_json(),
            note=memory.note.to_json(),
            note_key=self._key(context, request),
            label=run_label(context),
            came_at=came_at.timestamp() if came_at else surroundings().now(),
            run=f"{ti.dag_id} / {ti.run_id}",
            index=-1 if ti.map_index is None else ti.map_index,
            on_active_job=str(fields.choice("on_active_job", self.on_active_job, OnActiveJob)),
            max_active_jobs=fields.whole("max_active_jobs", self.max_active_jobs, least=1, most=1000),
            queue_until=surroundings().now() + queue_hours * 3600,
            job_seconds=self._deadline_hours() * 3600,
            cancel_on_deadline=self._on_deadline() is OnDeadline.CANCEL,
            cancel_adopted=self._cancel_adopted(),
            stall_seconds=fields.positive("stall_minutes", self.stall_minutes, most=60 * 24 * 7) * 60,
            longest_look=self.longest_look,
        )
        return AemGuidesPathTrigger(aem_guides_conn_id=self.aem_guides_conn_id, plan=asdict(plan))
