"""What happened to a job, put in order."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

from aem_guides.console.timeline import Stored, timeline
from aem_guides.ledger.findings import Severity
from aem_guides.ledger.lookup import Change, GoesOn, Listed, Story, ToldFinding
from tests.support.worlds import INSTANCE, MINUTE, NOW, entry, job, ours


def story(**more: object) -> Story:
    plain = Story(Listed(INSTANCE, ours(job("it"))), "aem_guides_default", (), ())
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]


def told(shown: Story, stored: Stored | None = None) -> list[str]:
    return [event.what for event in timeline(shown, stored)]


def test_a_job_that_was_queued_held_back_and_resumed_is_told_in_order() -> None:
    words = (None, "WAITING", "RUNNING", "CANCELLED", "RUNNING", "SUCCESS")
    changes = tuple(
        Change(NOW + number * MINUTE, before, after or "", "resume" if number == 3 else "instance")
        for number, (before, after) in enumerate(pairwise(words))
    )
    stored = Stored((NOW + 8 * MINUTE, NOW + 7 * MINUTE), NOW + 6 * MINUTE)
    assert told(story(changes=changes), stored)[-8:] == [
        "Queued by the instance",
        "At work",
        "Held back, or cancelled, until it was resumed",
        "Resumed",
        "Seen as ended: Succeeded",
        "Assets verified: some were not processed",
        "Log archived",
        "Log archived again",
    ]


def test_a_job_that_was_cancelled_for_good_is_not_said_to_be_held_back() -> None:
    changes = (Change(NOW, "RUNNING", "CANCELLED", "run"), Change(NOW + 1, "CANCELLED", "LOST", "instance"))
    assert told(story(changes=changes))[-2:] == [
        "Seen as ended: Cancelled",
        "Lost: neither the history nor the status shows it",
    ]


def test_what_it_goes_on_from_and_as_is_there() -> None:
    here = Listed(INSTANCE, ours(job("it"), continues="before"))
    shown = told(story(listed=here, goes_on=GoesOn("after", NOW + MINUTE)))
    assert "Resumed: goes on from before" in shown
    assert shown[-1] == "Resumed: goes on as after"


def test_what_was_done_about_findings_is_there_and_what_is_only_wanted_is_not() -> None:
    finding = ToldFinding(
        1, INSTANCE, "failed_resumable", Severity.ERROR, "it", "x", NOW, None, "resume", "done", NOW + 1, "ada", None
    )
    later = dataclasses.replace(finding, remedy_state="wanted", remedy="archive")
    assert told(story(findings=(finding, later)))[-1] == "Remedy resume: done"
    assert "archive" not in " ".join(told(story(findings=(later,))))


def test_words_that_nobody_knows_are_shown_as_they_are() -> None:
    odd = Listed(INSTANCE, entry(job("it"), state="<b>"))
    assert "Ended: <b>" in told(story(listed=odd, changes=(Change(NOW, None, "<b>", "mars"),)))
