"""What happened to a job, as far as ledger and archive have it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aem_guides.console.rendering import STATES
from aem_guides.ledger.lookup import Change, Story, ToldFinding
from aem_guides.ledger.queries import DONE, FAILED
from aem_guides.ledger.records import LOST
from aem_guides.protocol.states import ACTIVE_STATES, ENDED_STATES, JobState

_SEEN_BY = {"instance": "seen by the reconciliation", "run": "its run", "resume": "the reconciliation"}
_INSTANCE = "the instance's clock"
_SAME = 60_000
"""An archive that the ledger notes within so many milliseconds was just stored."""


@dataclass(frozen=True)
class Event:
    """What happened, when (epoch milliseconds), and what says so; `look` is that of a state."""

    at: int
    what: str
    by: str
    look: str = "brand"


@dataclass(frozen=True)
class Stored:
    """When the storage says that something was put there, in epoch milliseconds."""

    archived: tuple[int, ...] = ()
    failed_assets: int | None = None


def timeline(story: Story, stored: Stored | None = None) -> list[Event]:
    """All of it, the first first."""
    stored = stored or Stored()
    events = [*_of_job(story), *_of_changes(story.changes), *_of_remedies(story.findings), *_of_storage(stored)]
    checked = story.listed.job.archive_checked_at
    if story.listed.job.archive_uri and checked is not None and checked > max(stored.archived, default=0) + _SAME:
        events.append(Event(checked, "Archive seen to be there", "ledger"))
    return sorted(events, key=lambda event: event.at)


def _of_job(story: Story) -> Iterable[Event]:
    job = story.listed.job
    by = f"a run of {job.run.dag_id}" if job.run else "reconciliation"
    yield Event(job.first_seen_at, "Taken up in the ledger", by)
    if job.continues:
        yield Event(job.first_seen_at, f"Resumed: goes on from {job.continues}", "ledger", "running")
    if job.started_at is not None:
        yield Event(job.started_at, "Started", _INSTANCE, "running")
    if job.completed_at is not None:
        word, look = STATES.get(job.state, (job.state, "unknown"))
        yield Event(job.completed_at, f"Ended: {word}", _INSTANCE, look)
    if job.missing_since is not None:
        yield Event(job.missing_since, "Not shown by the instance any more", "reconciliation", "unknown")
    if story.goes_on is not None:
        yield Event(story.goes_on.at, f"Resumed: goes on as {story.goes_on.name}", "ledger", "running")


def _of_changes(changes: tuple[Change, ...]) -> Iterable[Event]:
    for number, change in enumerate(changes):
        resumed_later = any(later.after in ACTIVE_STATES for later in changes[number + 1 :])
        look = STATES.get(change.after, ("", "unknown"))[1]
        by = _SEEN_BY.get(change.seen_by, change.seen_by)
        yield Event(change.seen_at, _change(change, resumed_later=resumed_later), by, look)


def _change(change: Change, *, resumed_later: bool) -> str:
    word = STATES.get(change.after, (change.after, ""))[0]
    if change.after in ACTIVE_STATES:
        if change.before in ENDED_STATES or change.before == LOST:
            return "Resumed"
        return "Queued by the instance" if change.after == JobState.WAITING else "At work"
    if change.after == LOST:
        return "Lost: neither the history nor the status shows it"
    if change.after == JobState.CANCELLED and resumed_later:
        return "Held back, or cancelled, until it was resumed"
    if change.before is None or change.before in ACTIVE_STATES:
        return f"Seen as ended: {word}" if change.after in ENDED_STATES else f"Seen as {word}"
    return f"From {STATES.get(change.before, (change.before, ''))[0]} to {word}"


def _of_remedies(findings: tuple[ToldFinding, ...]) -> Iterable[Event]:
    for finding in findings:
        if finding.remedy_at is not None and finding.remedy_state in (DONE, FAILED):
            how, look = ("done", "success") if finding.remedy_state == DONE else ("has failed", "failed")
            by = finding.remedy_by or "reconciliation"
            yield Event(finding.remedy_at, f"Remedy {finding.remedy}: {how}", by, look)


def _of_storage(stored: Stored) -> Iterable[Event]:
    for number, at in enumerate(sorted(stored.archived)):
        yield Event(at, "Log archived again" if number else "Log archived", "the archive's manifest", "success")
    if stored.failed_assets is not None:
        what = "Assets verified: some were not processed"
        yield Event(stored.failed_assets, what, "the list beside the archive", "warning")
