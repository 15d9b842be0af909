"""The last lines of a log: some come after the end of the job.

A job that has succeeded may only have handed its assets over: the product was seen to log "waiting for remaining
assets" after "completed [...] Exiting...". So neither the job's state nor any line shows that a log is complete. It
counts as complete once the job has ended and no line has come for `SETTLE_SECONDS`. If all assets of the job are known
to be done, no more lines are written, and `WRITTEN_SECONDS` are enough for those that are on their way. When a separate
task reads the log, most of that time has already passed. If the job ended long ago, there is no wait.
"""

from __future__ import annotations

import hashlib

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, RejectedError
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.log_lines import COMPARED_LINES, PAGE_LINES, PageReader, read_on
from aem_guides.protocol.steps import Steps, Wait

SETTLE_SECONDS = 5.0
WRITTEN_SECONDS = 2.0
LONGEST_SECONDS = 120.0
"""A log that grows for longer than this is read as it is after that time."""


class _Quiet:
    """How long a log has had no new lines. The instance's clock counts, because it stamped the end of the job."""

    def __init__(self, talk: Conversation, job: Job, *, assets_done: bool) -> None:
        self._talk = talk
        self._settle = WRITTEN_SECONDS if assets_done else SETTLE_SECONDS
        self._since = talk.instance_now() if job.completed_at is None else job.completed_at
        self._until = talk.now() + LONGEST_SECONDS
        self._is_over = job.is_active

    def seconds_left(self) -> float:
        """Seconds until the next look, or 0 if no further look is needed."""
        now = self._talk.now()
        if self._is_over or now >= self._until:
            return 0.0
        left = self._settle - (self._talk.instance_now() - self._since) / 1000
        # Clocks that differ must not make the wait longer.
        return min(max(0.0, left), self._settle, self._until - now)

    def note(self, *, grown: bool) -> None:
        """Store the result of the look after that time."""
        self._since, self._is_over = self._talk.instance_now(), not grown


def read_settled_log(
    talk: Conversation, job: Job, *, page_lines: int = PAGE_LINES, assets_done: bool = False
) -> Steps[int]:
    """Emit all lines of a job's log as `LogLines` and return their number. For an active job, emit the lines so far.

    `assets_done`: all assets of the job are known to be done. Raises what `read_log` raises.
    """
    reader = PageReader()
    lines = yield from read_on(talk, job.processing_id, reader, page_lines)
    quiet = _Quiet(talk, job, assets_done=assets_done)
    while pause := quiet.seconds_left():
        yield Wait(pause, f"the log of job {job.processing_id} may get more lines")
        before, lines = lines, (yield from read_on(talk, job.processing_id, reader, page_lines))
        quiet.note(grown=lines > before)
    return lines


def settle_log(talk: Conversation, job: Job, *, assets_done: bool = False) -> Steps[None]:
    """Wait until the log of an ended job gets no more lines. Raises what a call raises.

    `assets_done`: all assets of the job are known to be done.
    """
    quiet = _Quiet(talk, job, assets_done=assets_done)
    if not quiet.seconds_left():
        return
    tail = yield from _tail(talk, job)
    while pause := quiet.seconds_left():
        yield Wait(pause, f"the log of job {job.processing_id} may get more lines")
        before, tail = tail, (yield from _tail(talk, job))
        quiet.note(grown=tail != before)


def log_end(talk: Conversation, processing_id: str) -> Steps[str | None]:
    """A digest of the last lines of a job's log. It changes when the log grows.

    None if the instance does not show the lines.
    """
    try:
        page = yield from talk.call(contract.logs(processing_id, tail=COMPARED_LINES))
    except AemGuidesError:
        return None
    return hashlib.sha256("\n".join(page.lines).encode(errors="replace")).hexdigest() if page.lines else None


def _tail(talk: Conversation, job: Job) -> Steps[tuple[str, ...]]:
    """The last lines, or none if the instance does not show them. Then only the time counts."""
    try:
        page = yield from talk.call(contract.logs(job.processing_id, tail=COMPARED_LINES))
    except RejectedError:
        return ()
    return page.lines
