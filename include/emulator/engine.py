"""The instance at work: jobs from start to end, checkpoints, the 15-minute schedule, the clock."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from emulator.content import Asset, Repository, VirtualFolder, asset_id
from emulator.settings import Settings
from emulator.store import JobRecord, Processed, Store

_SLICE_SECONDS = 0.05
_LARGEST_SLICE = 2000


class Refusal(Exception):
    """The instance does not do what was asked; `status` and `message` are its answer."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class Engine:
    """Runs the jobs, each as a task of the event loop."""

    def __init__(self, store: Store, repository: Repository, settings: Settings) -> None:
        self.store = store
        self.repository = repository
        self.settings = settings
        self.asset_questions: dict[str, tuple[float, list[str], list[str]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._late_until: dict[str, float] = {}
        self._scheduled_at = time.monotonic()

    def now(self) -> int:
        """The instance's clock, in epoch milliseconds."""
        return int((time.time() + self.settings.clock_offset_seconds) * 1000)

    async def run(self) -> None:
        """Take up what a restart interrupted, then keep the instance's own schedule."""
        for job in list(self.store.jobs.values()):
            if job.active:
                self._take_up(job)
        while True:
            await asyncio.sleep(0.1)
            due = self.settings.schedule_seconds
            if due and time.monotonic() - self._scheduled_at >= due:
                self._scheduled_at = time.monotonic()
                try:
                    self.start({"path": self.settings.schedule_path, "type": "ASSET_PROCESSING"}, "System")
                except Refusal:
                    continue

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def start(self, request: Mapping[str, object], user: str) -> JobRecord:
        """Start a job. Raises Refusal."""
        path, excluded, chosen = self._checked(request)
        if self._locked(path):
            raise Refusal(self.settings.active_status, f"Processing is already in progress for {path}")
        job = JobRecord(
            seq=self.store.next_seq(),
            processing_id=self._new_id(path),
            path=path,
            created_by=user,
            excluded=excluded,
            filter=chosen,
            started=self.now(),
        )
        self.store.add(job)
        self._spawn(job)
        return job

    def cancel(self, processing_id: str) -> None:
        job = self.job(processing_id)
        if not job.active:
            raise Refusal(400, f"Job {processing_id} is not running")
        job.cancelling = True

    def resume(self, processing_id: str) -> JobRecord:
        job = self.job(processing_id)
        if job.active:
            raise Refusal(400, f"Job {processing_id} is running")
        if not job.resumable:
            raise Refusal(400, f"Job {processing_id} cannot be resumed")
        if self._locked(job.path):
            raise Refusal(self.settings.active_status, f"Processing is already in progress for {job.path}")
        if not self.settings.resume_keeps_id:
            job.resumable = False
            self.store.save(job)
            follower = JobRecord(**{**job.__dict__, "seq": self.store.next_seq(), "lines": 0})
            follower.processing_id = self._new_id(job.path)
            job = follower
            self.store.add(job)
        job.state, job.completed, job.resumable, job.cancelling = "RUNNING", 0, False, False
        job.resumes += 1
        job.started = self.now() if not self.settings.resume_keeps_id else job.started
        every = max(1, self.settings.checkpoint_every)
        job.position = job.position // every * every
        self.store.save(job, [self._line("INFO", f"Resuming bulk processing from checkpoint {job.position}")])
        self._spawn(job)
        return job

    def fail(self, processing_id: str, *, resumable: bool) -> None:
        """Fail an active job from outside."""
        job = self.job(processing_id)
        if (task := self._tasks.get(processing_id)) is not None:
            task.cancel()
        self._end(job, "FAILED", resumable=resumable, why="Failed by the administrator")

    def job(self, processing_id: str) -> JobRecord:
        """Raises Refusal for an id that is not known, or is no longer."""
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

    def assets_of(self, job: JobRecord) -> list[Asset]:
        """What a job works on: everything below its path that its exclusions and its filter leave."""
        chosen = job.filter or {}
        types = chosen.get("fileTypes") or []
        after, before = chosen.get("startTime"), chosen.get("endTime")
        return [
            asset
            for asset in self.repository.assets(job.path, job.excluded)
            if (not types or self.repository.file_type(asset) in types)  # type: ignore[operator]  # a JSON list
            and (not isinstance(after, int) or asset.created >= after)
            and (not isinstance(before, int) or asset.created < before)
        ]

    def eta_seconds(self, job: JobRecord) -> int:
        """What remains, by the rate of the job."""
        return round((job.total - job.position) / max(0.001, job.rate or self.settings.rate))

    def asset_states(self, paths: list[str], excluded: list[str]) -> list[dict[str, object]]:
        """Every asset below the paths, with its state."""
        left_out = ["/" + path.strip("/") for path in excluded]
        states: list[dict[str, object]] = []
        for path in paths:
            late = self._late_until.get(path, 0.0) > time.monotonic()
            known = {str(entry["path"]): entry for entry in self.store.assets(path)}
            for number, asset in enumerate(self.repository.assets(path, left_out)):
                entry = known.get(asset.path)
                state = str(entry["state"]) if entry else "PENDING"
                if late and number < self.settings.late_assets:
                    state = "PROCESSING"
                found: dict[str, object] = {"path": asset.path, "status": state, "exists": True}
                if entry:
                    found |= {"uuid": entry["uuid"]} | ({"reason": entry["reason"]} if entry["reason"] else {})
                states.append(found)
        return states

    def _checked(self, request: Mapping[str, object]) -> tuple[str, list[str], dict[str, object] | None]:
        path = request.get("path")
        if not isinstance(path, str) or not path.startswith("/content"):
            raise Refusal(400, "Invalid input: path must be an absolute path below /content")
        if request.get("type") != "ASSET_PROCESSING":
            raise Refusal(400, "Invalid input: type must be ASSET_PROCESSING")
        excluded = request.get("excludedPaths", [])
        if not isinstance(excluded, list) or not all(isinstance(item, str) for item in excluded):
            raise Refusal(400, "Invalid input: excludedPaths must be a list of strings")
        chosen = request.get("filter")
        if chosen is not None and not self.settings.filters_supported:
            raise Refusal(400, "Invalid input: unknown property filter")
        if chosen is not None and not isinstance(chosen, dict):
            raise Refusal(400, "Invalid input: filter must be an object")
        path = path.rstrip("/")
        if not self.repository.exists(path):
            raise Refusal(400, f"Invalid input: path {path} does not exist")
        return path, list(excluded), chosen

    def _locked(self, path: str) -> bool:
        for job in self.store.jobs.values():
            if not job.active:
                continue
            overlaps = path.startswith(job.path + "/") or job.path.startswith(path + "/")
            if job.path == path or (self.settings.lock_includes_overlap and overlaps):
                return True
        return False

    def _new_id(self, path: str) -> str:
        if self.settings.awkward_ids:
            return f"bulk/{path.rpartition('/')[2]} +é/{uuid.uuid4()}"
        return str(uuid.uuid4())

    def _take_up(self, job: JobRecord) -> None:
        if self.settings.on_restart == "lose":
            job.lost = True
            self.store.save(job)
        elif self.settings.on_restart == "fail":
            self._end(job, "FAILED", resumable=True, why="The instance was restarted")
        else:
            self.store.save(job, [self._line("INFO", f"Instance restarted, going on from checkpoint {job.position}")])
            self._spawn(job)

    def _spawn(self, job: JobRecord) -> None:
        self._tasks[job.processing_id] = asyncio.create_task(self._process(job))

    async def _process(self, job: JobRecord) -> None:
        if not job.counted:
            await asyncio.sleep(self.settings.waiting_seconds)
            begin = [self._line("INFO", f"Bulk processing job {job.processing_id} started for {job.path}")]
            self.store.save(job, begin)
        assets = self.assets_of(job)
        if not job.counted:
            job.state, job.counted, job.total = "RUNNING", True, len(assets)
            self.store.save(job, [self._line("INFO", f"Calculated the migration set: {job.total} files")])
        folder = self.repository.virtual.get(job.path)
        job.rate = (folder.rate if folder else 0) or self.settings.rate
        fail_at = int(job.total * folder.fail_at) if folder and folder.fail_at and not job.failed_once else 0
        began, done_before = time.monotonic(), job.position
        while job.position < job.total:
            await asyncio.sleep(_SLICE_SECONDS)
            if job.cancelling:
                await asyncio.sleep(self.settings.cancel_seconds)
                self._end(job, "CANCELLED", resumable=True, why="Cancelled")
                return
            due = min(
                job.total, done_before + int((time.monotonic() - began) * job.rate), job.position + _LARGEST_SLICE
            )
            if fail_at:
                due = min(due, fail_at)
            self._process_slice(job, assets[job.position : due], folder)
            if fail_at and job.position >= fail_at:
                job.failed_once = True
                self._end(job, "FAILED", resumable=bool(folder and folder.resumable), why="Simulated failure")
                return
        if job.cancelling:
            self._end(job, "CANCELLED", resumable=True, why="Cancelled")
            return
        if self.settings.late_seconds:
            self._late_until[job.path] = time.monotonic() + self.settings.late_seconds
        self._end(job, "SUCCESS", resumable=False, why="")

    def _process_slice(self, job: JobRecord, assets: list[Asset], folder: VirtualFolder | None) -> None:
        if not assets:
            return
        lines: list[str] = []
        processed: list[Processed] = []
        for asset in assets:
            outcome = self.repository.process(asset)
            state = "FAILURE" if outcome.failure else "SUCCESS"
            processed.append(
                Processed(asset.path, asset_id(asset.path), outcome.title, outcome.file_type, state, outcome.failure)
            )
            for part in range(folder.log_lines if folder else 1):
                note = f"Processed {asset.path} [{outcome.file_type}] id={asset_id(asset.path)}"
                note += f" title={outcome.title!r} references={outcome.references}" if not part else f" part {part + 1}"
                if not outcome.failure:
                    lines.append(self._line("INFO", note))
            if outcome.failure:
                job.failed_assets += 1
                lines += [self._line("ERROR", f"Failed to process {asset.path}: {outcome.failure}"), *outcome.details]
            lines += [self._line("WARN", f"{asset.path}: link to {target} is broken") for target in outcome.dangling]
        job.position += len(assets)
        self.store.save(job, lines, processed)

    def _end(self, job: JobRecord, state: str, *, resumable: bool, why: str) -> None:
        job.state, job.resumable, job.completed, job.cancelling = state, resumable, self.now(), False
        job.comments = why
        level = "ERROR" if state == "FAILED" else "INFO"
        lines = [self._line(level, why)] if why else []
        lines.append(self._line("INFO", f"Bulk processing job completed [status={state}]. Exiting..."))
        if state == "SUCCESS" and self.settings.late_seconds:
            lines.append(self._line("INFO", f"Waiting for remaining assets: {self.settings.late_assets}"))
        self.store.save(job, lines)

    def _line(self, level: str, text: str) -> str:
        stamp = datetime.fromtimestamp(self.now() / 1000, tz=UTC)
        return f"{stamp:%Y-%m-%d %H:%M:%S}:{stamp.microsecond // 1000:03}: {level}: [BASELINE_MIGRATION] {text}"
