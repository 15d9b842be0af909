"""The operator that takes one path from start to archive: one task per path, for batches of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from airflow.sdk import BaseOperator, Context

from aem_guides.archive.job import archive_job, folder_of
from aem_guides.archive.place import StoredArchive
from aem_guides.assets import PROCESSED, announce
from aem_guides.hooks.connection import require_instance
from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesHook
from aem_guides.operators.base import first_seen_by, still_known
from aem_guides.operators.links import ARCHIVE_LINKS
from aem_guides.operators.path_task import REQUEST_FIELDS, PathTask, asked
from aem_guides.operators.verify import AssetsTask, require_no_failure
from aem_guides.protocol.admission import MAX_ACTIVE_JOBS
from aem_guides.protocol.asset_patterns import AssetPatterns, parse_patterns
from aem_guides.protocol.asset_verdict import AssetQuestion, Verification
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import AemGuidesError, DeadlineExceededError, Retry, VerificationError
from aem_guides.protocol.models import ASSET_PROCESSING, Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import LONGEST_LOOK
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.protocol.procedures.take_up import Part
from aem_guides.protocol.procedures.verify import FailureLimit
from aem_guides.protocol.states import Verdict
from aem_guides.results import verification
from aem_guides.results.batch_rows import ROW_KEY
from aem_guides.results.outcome import OnDeadline, WaitOutcome, conclude, ending_of
from aem_guides.results.rows import ERRORS_UNCOUNTED, Row, row_of
from aem_guides.runtime import fields
from aem_guides.runtime.memory import run_label
from aem_guides.runtime.notes import NOTES
from aem_guides.runtime.path_store import PathStore
from aem_guides.triggers.assets import AemGuidesAssetsTrigger
from aem_guides.triggers.base import FollowingFailedError

_NOT_VERIFIED = (
    "The task ended while assets were still being processed. They were not verified, and the log was not archived."
)


class AemGuidesProcessAssetsOperator(PathTask, BaseOperator):
    """Process one path from start to archive, as one of many: start once, follow, verify, archive.

    The task waits for its turn and for the job in the triggerer. It defers once per try, and once more if assets are
    still at work when the job has ended. All such tasks, of all runs, obey `max_active_jobs`, compared with the jobs
    that the instance itself shows as active. They start in the order of their runs and map indexes.

    :param path: the folder or asset; with `excluded_paths`, `file_types`, `created_after`, `created_before` (ISO 8601
        with offset) and `processing_type`. Or give `request`, as `ProcessingRequest.to_json` writes it.
    :param on_active_job: `adopt` an active job on the path that has the same request, `queue` behind it, or `fail`.
    :param max_active_jobs: start only while fewer jobs are active on the instance, by Airflow or by other users.
    :param queue_hours: the longest wait for the turn.
    :param max_resumes: how often a later try resumes a failed job that this task started.
    :param deadline_hours: the job's time, from its start on.
    :param on_deadline: `cancel` the job at its deadline, or `leave` it. For an adopted job, `cancel_adopted` decides.
    :param cancel_adopted: cancel also a job that was adopted, not started.
    :param stall_minutes: warn after so long without progress.
    :param archive_logs: store the log ZIP, also of a job that failed.
    :param archive_uri: where archives are stored; default `[aem_guides] archive_uri`.
    :param verify_assets: read the state of every asset after a success.
    :param verify_minutes: how long to wait for assets that are still at work.
    :param fail_on_asset_failures: fail if at least so many assets failed, a count (`10`) or a share (`2.5%`).
    :param verify_ignore: patterns of the paths of assets that do not count, such as `*/fragments/*`.
    :param reprocess: when cleared after a success, process the path again. Otherwise the earlier row is returned.
    :param only_between: the off-peak hours in which its job may run, in the form of `protocol.hours`.
    :param deferrable: wait in the triggerer, without a worker slot.

    Returns the path's row (`rows.Row`). The XCom `row` has it also if the task fails. Clear resumes a failed or
    cancelled job from its checkpoint, or starts a new job if there is none. Raises InvalidInputError, ActiveJobError,
    DoubtfulStartError, RejectedError, JobFailedError, JobCancelledError, JobLostError, JobOutcomeUnknownError,
    DeadlineExceededError, ArchiveError, VerificationError.
    """

    template_fields: Sequence[str] = (
        *REQUEST_FIELDS,
        "on_active_job",
        "max_active_jobs",
        "queue_hours",
        "only_between",
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
    part = Part.ALL

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
        max_active_jobs: int | str = MAX_ACTIVE_JOBS,
        queue_hours: float | str = 168,
        max_resumes: int | str = 2,
        deadline_hours: float | str = 24,
        on_deadline: str = OnDeadline.CANCEL,
        cancel_adopted: bool | str = False,
        stall_minutes: float | str = 30,
        archive_logs: bool | str = True,
        archive_uri: str = "",
        verify_assets: bool | str = True,
        verify_minutes: float | str = 60,
        fail_on_asset_failures: int | str | None = None,
        verify_ignore: Sequence[str] | str | None = None,
        reprocess: bool | str = False,
        only_between: JsonValue = None,
        deferrable: bool = True,
        longest_look: float = LONGEST_LOOK,
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
        self.only_between = only_between
        self.deferrable = deferrable
        self.longest_look = longest_look

    def execute(self, context: Context) -> JsonObject:
        """Take up the state of earlier tries and defer. If the job has already ended, finish the path at once."""
        request = self.asked(context)
        store = self.store(context, request)
        if (row := self._done_before(context, store, request)) is not None:
            return self._hand_on(context, row)
        with self.concluding(context, store):
            with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
                state = self.take_up(context, hook, store, PathState(request))
            if state.phase is not Phase.ENDED:
                state = self.go_on(context, store)
            return self._finish(context, store, state)

    def execute_complete(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """Evaluate the trigger's result, archive and verify. Only a clear success counts as one."""
        request = self.asked(context)
        store = self.store(context, request)
        with self.concluding(context, store):
            try:
                state = self.came_back(store, event)
            except AemGuidesError as error:
                stored = store.load(request) or PathState(request)
                self._hand_on(context, row_of(stored, error=str(error)).to_json())
                raise
            return self._finish(context, store, state)

    def execute_verified(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """The job has ended, and no asset is at work any more: verify and archive."""
        request = self.asked(context)
        store = self.store(context, request)
        with self.concluding(context, store):
            state = store.load(request)
            if state is None or state.phase is not Phase.ENDED:
                raise FollowingFailedError(
                    "The path was taken up again while its assets were waited for.", Retry.USEFUL
                )
            return self._finish(context, store, state, event or {})

    def asked(self, context: Context) -> ProcessingRequest:
        """The request of this task. Raises InvalidInputError."""
        del context
        return asked(self)

    def _done_before(self, context: Context, store: PathStore, request: ProcessingRequest) -> JsonObject | None:
        """The row of a path that succeeded before, unless the user wants it processed again."""
        state = self.stored(context, store, PathState(request))
        if state.result is None:
            return None
        if self.was_cleared(context, state) and fields.flag("reprocess", self.reprocess):
            return None
        self.log.info("%s was already processed (job %s)", request.path, state.processing_id)
        return cast("JsonObject", dict(state.result))

    def _finish(
        self, context: Context, store: PathStore, state: PathState, event: Mapping[str, JsonValue] | None = None
    ) -> JsonObject:
        """Verify, archive and store the outcome. `event`: the result of the wait for the assets.

        Raises the error of a job that did not succeed.
        """
        if state.processing_id is None or state.end is FollowEnd.NO_TURN:
            said = (
                f"{state.request.path}: no turn came within {self.queue_hours} hours (queue_hours). Clear this task "
                "to queue again."
            )
            self._hand_on(context, row_of(state, error=said).to_json())
            raise DeadlineExceededError(said)
        with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
            require_instance(hook.settings.instance, state.instance)
            row = self._judged(context, hook, state, event)
            result = row.to_json()
            self.conclude(store, result=result)
            announce(context, hook.settings.instance, result, f"{context['ti'].dag_id} / {context['ti'].run_id}")
        return self._hand_on(context, result)

    def _judged(
        self, context: Context, hook: AemGuidesHook, state: PathState, event: Mapping[str, JsonValue] | None
    ) -> Row:
        ending, job = ending_of(state, self.options(context), "this task"), state.job
        row = row_of(state, WaitOutcome.of(ending))
        try:
            found = None
            try:
                said, found = conclude(ending), self._verified(context, hook, row, state.request, job, event)
                if found is not None:
                    row = replace(row, failed_assets=found.failed_of_job)
                    verification.check(found, self._failure_limit())
            except AemGuidesError:
                row = self._archived(context, hook, state, row, found)
                raise
            # After the verification, which waits for assets that are still at work: the log has their lines, too.
            row = self._archived(context, hook, state, row, found)
        except AemGuidesError as error:
            self._hand_on(context, replace(row, error=str(error)).to_json())
            raise
        self.log.info(said)
        return row

    def _archived(
        self, context: Context, hook: AemGuidesHook, state: PathState, row: Row, found: Verification | None
    ) -> Row:
        """The row with the job's archive, which is stored now, as are the archives of its earlier ids."""
        if not fields.flag("archive_logs", self.archive_logs):
            return row
        for earlier in still_known(hook, state.earlier_ids, self.log):
            self._archive(context, hook, earlier, assets_done=False)
        if state.job is None:
            return row
        archive = self._archive(context, hook, state.job, assets_done=found is not None and found.all_done)
        if archive is None:
            return replace(row, has_log=False)
        return replace(row, archive_uri=archive.uri, sha256=archive.sha256)

    def _archive(self, context: Context, hook: AemGuidesHook, job: Job, *, assets_done: bool) -> StoredArchive | None:
        return archive_job(
            hook,
            job,
            run=run_label(context),
            request=self.asked(context).to_json(),
            first_seen=first_seen_by(context, job),
            base_uri=self.archive_uri,
            assets_done=assets_done,
        )

    def _verified(
        self,
        context: Context,
        hook: AemGuidesHook,
        row: Row,
        request: ProcessingRequest,
        job: Job | None,
        event: Mapping[str, JsonValue] | None,
    ) -> Verification | None:
        """The verification of the assets, or None if it is not requested. Defers while assets are at work."""
        if job is None or not fields.flag("verify_assets", self.verify_assets):
            if job is not None and job.verdict is Verdict.WITH_ERRORS and self._failure_limit() is not None:
                raise VerificationError(f"{request.path}: {ERRORS_UNCOUNTED}.")
            return None
        require_no_failure(event)
        within = fields.positive("verify_minutes", self.verify_minutes, most=60 * 24) * 60
        question = AssetQuestion(request, job, self._ignored())
        folder = partial(folder_of, hook, job, first_seen_by(context, job), self.archive_uri)
        found = AssetsTask(hook, self.log, within, self.deferrable).find_out(question, folder, event)
        if isinstance(found, AemGuidesAssetsTrigger):
            # The report shows this if the task is killed during its wait.
            self._hand_on(context, replace(row, error=_NOT_VERIFIED).to_json())
            self.defer(trigger=found, method_name="execute_verified")
        return found[0]

    def _hand_on(self, context: Context, row: JsonObject) -> JsonObject:
        context["ti"].xcom_push(ROW_KEY, row)
        uri = row["archive_uri"]
        self.archived = uri if isinstance(uri, str) else None
        return row

    def _failure_limit(self) -> FailureLimit | None:
        return FailureLimit.parse("fail_on_asset_failures", self.fail_on_asset_failures)

    def _ignored(self) -> AssetPatterns:
        return parse_patterns("verify_ignore", self.verify_ignore)
