"""The trigger of an asset watcher: every job that ends on an instance becomes an event, also a job of another user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import Job, JsonObject, JsonValue
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.watch import Seen, concerns, look_for_ends
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.wording import iso_time
from aem_guides.triggers.base import event_of, why_not_carried

SEEN_KEY = "aem_guides_seen"
_LOG_EVERY_FAILURES = 60


class SeenStore(Protocol):
    """The state store of the watched asset."""

    async def aget(self, key: str) -> JsonValue:
        """The value, or None."""

    async def aset(self, key: str, value: JsonValue) -> None:
        """Write a value."""


class AemGuidesHistoryEventTrigger(BaseEventTrigger):
    """Fire once for every job that is seen to end on a path.

    The state store of the watched asset keeps the seen jobs. So a restarted triggerer reports jobs that ended
    meanwhile, if the window still shows them, and reports none twice. Only if it dies between an event and its note,
    that event comes again. The first look reports nothing. Two assets must not share a trigger with the same arguments,
    because then there is no single state store, and a restart begins again.

    :param path: count jobs on this path or below it.
    :param poll_seconds: how often the history is read; less often while the instance does not answer.
    :param with_parents: count jobs on folders above, too.
    :param ignore_users: users whose jobs do not count.
    :param only_successes: count only jobs that succeeded and had something to process.
    """

    def __init__(
        self,
        *,
        aem_guides_conn_id: str,
        path: str,
        poll_seconds: float = 60.0,
        with_parents: bool = False,
        ignore_users: Sequence[str] = (),
        only_successes: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.aem_guides_conn_id = aem_guides_conn_id
        self.path = path
        self.poll_seconds = poll_seconds
        self.with_parents = with_parents
        self.ignore_users = list(ignore_users)
        self.only_successes = only_successes

    def serialize(self) -> tuple[str, dict[str, object]]:
        """Class path and arguments, for the triggerer."""
        return (
            "aem_guides.triggers.history.AemGuidesHistoryEventTrigger",
            {
                "aem_guides_conn_id": self.aem_guides_conn_id,
                "path": self.path,
                "poll_seconds": self.poll_seconds,
                "with_parents": self.with_parents,
                "ignore_users": self.ignore_users,
                "only_successes": self.only_successes,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Read the history forever."""
        seen, failures = await self._recall(), 0
        pacing = Pacing(shortest=self.poll_seconds, longest=max(600.0, self.poll_seconds))
        while True:
            try:
                async with AemGuidesAsyncHook(self.aem_guides_conn_id) as hook:
                    while True:
                        ended, seen = await hook.drive(look_for_ends(await hook.talk(), seen))
                        instance = (await hook.settings()).instance
                        failures = 0
                        for job in ended:
                            if not self._counts(job):
                                continue
                            payload = payload_of(job, instance)
                            if flaw := why_not_carried(payload):
                                self.log.error("No asset event was sent for job %r: %s", job.processing_id, flaw)
                                continue
                            yield event_of(payload)
                        await self._remember(seen)
                        await surroundings().asleep(self.poll_seconds)
            except AemGuidesError as error:
                failures += 1
                if failures % _LOG_EVERY_FAILURES == 1:
                    self.log.warning("A check failed (%s in a row); checking again. %s", failures, error)
            await surroundings().asleep(pacing.after_failures(failures, 0.5))

    def _counts(self, job: Job) -> bool:
        if self.only_successes and (job.verdict is not Verdict.SUCCEEDED or job.had_no_assets):
            return False
        return job.created_by not in self.ignore_users and concerns(job, self.path, with_parents=self.with_parents)

    async def _recall(self) -> Seen | None:
        try:
            return Seen.from_json(await self._store().aget(SEEN_KEY))
        except (AirflowRuntimeError, ValueError) as error:
            self.log.warning(
                "The record of the jobs seen before cannot be read, so this check counts as the first: %s", error
            )
            return None

    async def _remember(self, seen: Seen | None) -> None:
        if seen is None:
            return
        try:
            await self._store().aset(SEEN_KEY, seen.to_json())
        except (AirflowRuntimeError, ValueError) as error:
            self.log.warning("The record of the jobs seen could not be stored: %s", error)

    def _store(self) -> SeenStore:
        if self.asset_state_store is None:
            raise ValueError("the triggerer did not give this trigger a state store")
        return self.asset_state_store


def payload_of(job: Job, instance: str) -> JsonObject:
    """The payload of an event about a job. Times are ISO 8601 in UTC. A field that the instance does not show is
    None."""
    return {
        "instance": instance,
        "processing_id": job.processing_id,
        "path": job.path,
        "state": str(job.state),
        "created_by": job.created_by,
        "started_at": iso_time(job.started_at),
        "completed_at": iso_time(job.completed_at),
        "total_files": job.total_files,
        "triggered_count": job.triggered_count,
    }
