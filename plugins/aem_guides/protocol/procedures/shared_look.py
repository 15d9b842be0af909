"""Look at a job together with all others on its instance: the window is read once for all waiting tasks."""

from __future__ import annotations

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.steps import Emit, SeeWindow, Steps, Window

_SAME_FOR_SECONDS = 60.0
"""For this long, a window may lag and a pod's cache may repeat the same answer."""


class SharedLook:
    """Looks at a job: in the window while it shows the job at work, else by the job's own status.

    If the window does not show the job, or shows it unchanged, for a minute, only the status is read from then on:
    newer jobs have pushed the job out of the window, or an old copy of the window is served. Only the job's own status
    proves an end.
    """

    def __init__(self) -> None:
        self._of: str | None = None
        self._last: Job | None = None
        self._since = 0.0
        self._is_alone = False

    def find(self, talk: Conversation, processing_id: str) -> Steps[Job | None]:
        """The job, or None if the instance does not know it. Raises what `find_job` raises."""
        if processing_id != self._of:
            self._of, self._last, self._since, self._is_alone = processing_id, None, talk.now(), False
        if not self._is_alone:
            window = yield Emit(SeeWindow(talk.waits_until))
            shown = self._shown(window, processing_id, talk.now()) if isinstance(window, Window) else None
            if shown is not None and shown.is_active and not self._is_alone:
                return shown
            if shown is not None and not shown.is_active:
                talk = talk.in_haste(Haste.WORK)  # an end is confirmed once
        return (yield from find_job(talk, processing_id))

    def _shown(self, window: Window, processing_id: str, now: float) -> Job | None:
        """The job as the window shows it. Notes whether the window helps with this job."""
        shown = window.jobs.get(processing_id)
        if shown is not None and shown != self._last:
            self._last, self._since = shown, now
        self._is_alone = now - self._since >= _SAME_FOR_SECONDS
        return shown
