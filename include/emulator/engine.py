"""The instance at work: jobs from start to end, checkpoints, its own schedule, the clock."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain

from emulator.clock import Clock
from emulator.content import Repository, Selection
from emulator.logs import asset_lines, log_line, processed
from emulator.requests import StartRequest
from emulator.settings import Settings
from emulator.store import JobRecord, Processed, Store
from emulator.working_set import WorkingSet

_TICK_SECONDS = 0.05
_BUSY_TICK_SECONDS = 0.01
_LONGEST_SLICE_SECONDS = 0.03
_SCHEDULE_USER = "System"
_logger = logging.getLogger("emulator")


class Refusal(Exception):
    """The instance refuses the request. `status` and `message` are its answer."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class Engine:
    """Runs the jobs, each as a task of the event loop."""

    def __init__(self, store: Store, repository: Repository, settings: Settings, clock: Clock) -> None:
        self.store = store
        self.repository = repository
        self.settings = settings
        self.clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tails: set[asyncio.Task[None]] = set()
        self._scheduled_at = self.now()

    def now(self) -> int:
        """The instance's clock, in epoch milliseconds."""
        return int((self.clock.now() + self.settings.clock_offset_seconds) * 1000)

    async def run(self) -> None:
        """Continue what a restart interrupted, then follow the instance's own schedule."""
        for job in list(self.store.active.values()):
            self._take_up(job)
        while True:
            await self.clock.tick(_TICK_SECONDS * 2)
            due = self.settings.schedule_seconds
            if due and abs(self.now() - self._scheduled_at) >= due * 1000:
                self._scheduled_at = self.now()
                self._start_scheduled()

    async def stop(self) -> None:
        """End all work at once. Active jobs continue after the next start."""
        tasks = [*self._tasks.values(), *self._tails]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def start(self, request: StartRequest, user: str) -> JobRecord:
        """Start a job. Raises Refusal."""
        if request.filter is not None and not self.settings.filters_supported:
            raise Refusal(400, "Invalid input: unknown property filter")
        if not self.repository.exists(request.path):
            raise Refusal(400, f"Invalid input: path {request.path} does not exist")
        self._check_lock(request.path)
        job = JobRecord(
            seq=self.store.next_seq(),
            processing_id=self._new_id(request.path),
            path=request.path,
            created_by=user,
            excluded=list(request.excluded),
            filter=request.filter,
            started=self.now(),
        )
        self.store.add(job)
        self._spawn(job)
        return job

    def cancel(self, processing_id: str) -> None:
        """Begin to cancel a job. Raises Refusal."""
        job = self.job(processing_id)
        if not job.active:
            raise Refusal(400, f"Job {processing_id} is not running")
        job.cancelling = True
        self.store.save(job)

    def resume(self, processing_id: str) -> JobRecord:
        """Continue a job from its last checkpoint. The job may get a new id. Raises Refusal."""
        job = self.job(processing_id)
        if job.active:
            raise Refusal(400, f"Job {processing_id} is running")
        if not job.resumable:
            raise Refusal(400, f"Job {processing_id} cannot be resumed")
        self._check_lock(job.path)
        if not self.settings.resume_keeps_id:
            job = self._follower(job)
        job.state, job.completed, job.resumable, job.comments = "RUNNING", 0, False, ""
        job.resumes += 1
        job.back_to_checkpoint()
        self.store.save(job, [self._line("INFO", f"Resuming bulk processing from checkpoint {job.position}")])
        self._spawn(job)
        return job

    def fail(self, processing_id: str, *, resumable: bool) -> None:
        """Fail an active job from outside. Raises Refusal."""
        job = self.job(processing_id)
        if not job.active:
            raise Refusal(400, f"Job {processing_id} is not running")
        self._stop_task(job)
        self._end(job, "FAILED", resumable=resumable, why="Failed by the administrator")

    def lose(self, processing_id: str) -> None:
        """Forget a job: the status and the history no longer show it. Raises Refusal."""
        job = self.job(processing_id)
        self._stop_task(job)
        job.lost = True
        self.store.save(job)

    def job(self, processing_id: str) -> JobRecord:
        """The job. Raises Refusal for an id that is unknown or forgotten."""
        job = self.store.jobs.get(processing_id)
        forgotten = self.settings.forget_outside_window and job is not None and job not in self.window()
        if job is None or job.lost or forgotten:
            raise Refusal(400, f"No job found for processingId {processing_id}")
        return job

    def window(self) -> list[JobRecord]:
        """The last jobs, in the order in which the history lists them."""
        known = sorted((j for j in self.store.jobs.values() if not j.lost), key=lambda j: (j.started, j.seq))
        last = known[-self.settings.window :] if self.settings.window else []
        return last if self.settings.history_order == "oldest" else last[::-1]

    def eta_seconds(self, job: JobRecord) -> int:
        """The remaining seconds, from the rate of the job."""
        return round((job.total - job.position) / max(0.001, job.rate or self._rate(job)))

    async def asset_states(self, paths: list[str], excluded: list[str]) -> AsyncIterator[dict[str, object]]:
        """Every asset below the paths with its state, one after the other. Other work runs in between."""
        for path in paths:
            late = self._is_late(path)
            for number, asset in enumerate(self.repository.assets(path.rstrip("/"), excluded)):
                known = self.store.asset(asset.path)
                state, uid, reason = known or ("PENDING", "", "")
                if late and number < self.settings.late_assets:
                    state = "PROCESSING"
                found: dict[str, object] = {"path": asset.path, "status": state, "exists": True}
                if uid:
                    found["uuid"] = uid
                if reason:
                    found["reason"] = reason
                found |= self._asset_facts(asset.path)
                if not found.pop("omitted", False):
                    yield found
                if number % 1000 == 999:
                    await asyncio.sleep(0)

    def fails_over_commas(self, paths: list[str], excluded: list[str]) -> bool:
        """Whether the asset status fails because a path contains a comma."""
        if not self.settings.comma_fails_asset_status:
            return False
        assets = (asset.path for path in paths for asset in self.repository.assets(path.rstrip("/"), excluded))
        return any("," in path for path in chain(paths, excluded, assets))

    def _asset_facts(self, path: str) -> dict[str, object]:
        """What the settings say of an asset instead of its real state."""
        patterns = self.settings.told_assets
        return next((facts for pattern, facts in patterns.items() if fnmatchcase(path, pattern)), {})

    def _is_late(self, path: str) -> bool:
        now = self.now()
        covering = (job for job in self.store.jobs.values() if job.late_until > now)
        return any(job.path == path or path.startswith(job.path + "/") for job in covering)

    def _check_lock(self, path: str) -> None:
        for job in self.store.active.values():
            overlaps = path.startswith(job.path + "/") or job.path.startswith(path + "/")
            if self.settings.lock and (job.path == path or (self.settings.lock_includes_overlap and overlaps)):
                raise Refusal(self.settings.active_status, f"Processing is already in progress for {job.path}")

    def _new_id(self, path: str) -> str:
        if self.settings.awkward_ids:
            return f"bulk/{path.rpartition('/')[2]} +é/{uuid.uuid4()}"
        return str(uuid.uuid4())

    def _follower(self, job: JobRecord) -> JobRecord:
        """The job under a new id, with a log of its own; the old one can no longer be resumed."""
        job.resumable = False
        self.store.save(job)
        follower = dataclasses.replace(
            job, seq=self.store.next_seq(), processing_id=self._new_id(job.path), lines=0, started=self.now()
        )
        if (work := self.store.work(job)) is not None:
            self.store.set_work(follower, work)
        self.store.add(follower)
        return follower

    def _start_scheduled(self) -> None:
        try:
            self.start(StartRequest(self.settings.schedule_path.rstrip("/")), _SCHEDULE_USER)
        except Refusal as refusal:
            _logger.info("no scheduled run: %s", refusal.message)

    def _take_up(self, job: JobRecord) -> None:
        """Handle a job that a restart interrupted."""
        job.back_to_checkpoint()
        if self.settings.on_restart == "lose":
            job.lost = True
            self.store.save(job)
        elif self.settings.on_restart == "fail_resumable":
            self._end(job, "FAILED", resumable=True, why="The instance was restarted")
        else:
            self.store.save(job, [self._line("INFO", f"Instance restarted, going on from checkpoint {job.position}")])
            self._spawn(job)

    def _spawn(self, job: JobRecord) -> None:
        task = asyncio.create_task(self._process(job))
        self._tasks[job.processing_id] = task
        task.add_done_callback(partial(self._task_ended, job))

    def _task_ended(self, job: JobRecord, task: asyncio.Task[None]) -> None:
        if self._tasks.get(job.processing_id) is task:
            del self._tasks[job.processing_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("job %s ended in an error", job.processing_id, exc_info=error)
            self._end(job, "FAILED", resumable=True, why="Internal error")

    def _stop_task(self, job: JobRecord) -> None:
        if (task := self._tasks.pop(job.processing_id, None)) is not None:
            task.cancel()

    async def _process(self, job: JobRecord) -> None:
        """Work a job from its checkpoint to its end."""
        if not job.counted:
            self.store.save(
                job, [self._line("INFO", f"Bulk processing job {job.processing_id} started for {job.path}")]
            )
            await self._pause(lambda: 0.0 if job.cancelling else self.settings.waiting_seconds)
            if not job.cancelling:
                self._count(job)
        if job.counted:
            await self._process_all(job, self._work(job))
        if job.cancelling:
            await self._pause(lambda: self.settings.cancel_seconds)
            self._end(job, "CANCELLED", resumable=True, why="Cancelled")
        elif job.active:
            self._end(job, "SUCCESS", resumable=False, why="")

    async def _pause(self, seconds: Callable[[], float]) -> None:
        """Let so many seconds pass. The number is read repeatedly, because settings may change meanwhile."""
        began = self.clock.elapsed()
        while (left := began + seconds() - self.clock.elapsed()) > 0:
            await self.clock.tick(min(_TICK_SECONDS, left))

    def _work(self, job: JobRecord) -> WorkingSet:
        kept = self.store.work(job)
        return WorkingSet.of(self.repository, self._selection(job)) if kept is None else WorkingSet.loads(kept)

    def _count(self, job: JobRecord) -> None:
        self.repository.refresh()
        work = WorkingSet.of(self.repository, self._selection(job))
        self.store.set_work(job, work.dumps())
        job.state, job.counted, job.total = "RUNNING", True, len(work)
        self.store.save(job, [self._line("INFO", f"Calculated the migration set: {job.total} files")])

    def _selection(self, job: JobRecord) -> Selection:
        chosen = job.filter or {}
        types, after, before = chosen.get("fileTypes"), chosen.get("startTime"), chosen.get("endTime")
        if isinstance(before, int) and self.settings.filter_end_inclusive:
            before += 1
        return Selection(
            job.path,
            tuple(job.excluded),
            tuple(types) if isinstance(types, list) else (),
            after if isinstance(after, int) else None,
            before if isinstance(before, int) else None,
        )

    def _rate(self, job: JobRecord) -> float:
        folder = self.repository.virtual.get(job.path)
        return (folder.rate if folder else 0.0) or self.settings.rate

    async def _process_all(self, job: JobRecord, work: WorkingSet) -> None:
        """Process the remaining assets at the job's rate, until all are done, or the job is cancelled or fails."""
        folder = self.repository.virtual.get(job.path)
        fail_at = int(job.total * folder.fail_at) if folder and folder.fail_at and not job.failed_once else None
        began = last = self.clock.elapsed()
        done_before, credit, pause = job.position, 0.0, _TICK_SECONDS
        while job.position < job.total:
            await self.clock.tick(pause)
            if job.cancelling:
                return
            now, before = self.clock.elapsed(), job.position
            rate = self._rate(job)
            credit = min(credit + (now - last) * rate, rate + 1)
            last = now
            due = min(job.total if fail_at is None else fail_at, before + int(credit))
            self._process_slice(job, work, due)
            credit -= job.position - before
            behind = job.position < due
            pause = _BUSY_TICK_SECONDS if behind else _TICK_SECONDS
            if now - began > 1 and job.position > done_before:
                job.rate = (job.position - done_before) / (now - began)
            if fail_at is not None and job.position >= fail_at:
                job.failed_once = True
                self._end(job, "FAILED", resumable=bool(folder and folder.resumable), why="Simulated failure")
                return

    def _process_slice(self, job: JobRecord, work: WorkingSet, due: int) -> None:
        """Process up to `due`, but only for a moment. Each checkpoint is written together with its assets."""
        every = self.settings.checkpoint_every
        ends = time.monotonic() + _LONGEST_SLICE_SECONDS
        while job.position < due and time.monotonic() < ends:
            boundary = due if every == 1 else min(due, (job.position // every + 1) * every)
            position = job.position
            lines: list[str] = []
            done: list[Processed] = []
            virtual = self.repository.virtual
            for asset in work.take(self.repository, position, boundary):
                outcome = self.repository.process(asset)
                done.append(processed(asset, outcome))
                job.failed_assets += bool(outcome.failure)
                folder = virtual.get(asset.path.rpartition("/")[0]) if asset.file is None else None
                lines += asset_lines(self.now(), asset, outcome, folder.log_lines if folder else 1)
                if time.monotonic() >= ends:
                    break
            if not done:
                raise RuntimeError(f"the content of {job.path} has gone")
            job.position += len(done)
            if every == 1 or job.position % every == 0 or job.position == job.total:
                job.checkpoint, job.checkpoint_failed = job.position, job.failed_assets
            self.store.save(job, lines, done)

    def _end(self, job: JobRecord, state: str, *, resumable: bool, why: str) -> None:
        job.state, job.resumable, job.completed, job.cancelling = state, resumable, self.now(), False
        job.comments = why
        lines = [self._line("ERROR" if state == "FAILED" else "INFO", why)] if why else []
        lines.append(self._line("INFO", f"Bulk processing job completed [status={state}]. Exiting..."))
        late = state == "SUCCESS" and self.settings.late_seconds > 0
        if late:
            job.late_until = job.completed + int(self.settings.late_seconds * 1000)
        self.store.save(job, lines)
        if late:
            tail = asyncio.create_task(self._write_tail(job))
            self._tails.add(tail)
            tail.add_done_callback(self._tails.discard)

    async def _write_tail(self, job: JobRecord) -> None:
        """Log after the end that some assets are still at work, as the product does."""
        await self.clock.sleep(self.settings.late_line_seconds)
        self.store.save(job, [self._line("INFO", f"Waiting for remaining assets: {self.settings.late_assets}")])

    def _line(self, level: str, text: str) -> str:
        return log_line(self.now(), level, text)
