"""The values that the tasks of a reconciliation pass to each other, as plain JSON."""

from __future__ import annotations

import json

import pytest

from aem_guides.ledger.findings import Remedy
from aem_guides.ledger.records import RunKey, Snapshot
from aem_guides.protocol.models import Job, JobFilter, JsonObject
from aem_guides.protocol.states import JobState
from aem_guides.reconciliation.remedies import Assignment
from aem_guides.storage import ArchiveCondition

JOB = Job("p", JobState.FAILED, "Failed", "/content/a", ("/content/a/b",), job_filter=JobFilter(("DITAMAP",), 1, None))
SNAPSHOT = Snapshot(
    "author",
    "aem_guides_default",
    taken_at=2,
    instance_now=3,
    window=(JOB,),
    unreadable=("entry 2",),
    statuses={"p": JOB, "q": None},
    runs={RunKey("dag", "run one"): "running", RunKey("dag", "run two"): None},
    archives={"p": ArchiveCondition.DIFFERENT},
    set_aside=("file:///note.json",),
)
ASSIGNMENT = Assignment("author", "aem_guides_default", Remedy.ARCHIVE, 7, "p")


def test_a_snapshot_and_an_assignment_are_read_back_as_they_were() -> None:
    assert Snapshot.from_json(json.loads(json.dumps(SNAPSHOT.to_json()))) == SNAPSHOT
    assert Assignment.from_json(json.loads(json.dumps(ASSIGNMENT.to_json()))) == ASSIGNMENT


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"runs": None}, "Expected `array`"),
        ({"taken_at": "2"}, r"Expected `int`, got `str` - at `\$.taken_at`"),
        ({"window": [{"processing_id": "p", "state": "odd", "status_word": ""}]}, r"at `\$.window\[0\].state`"),
    ],
)
def test_an_invalid_snapshot_is_refused_with_the_place(wrong: JsonObject, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Snapshot.from_json({**SNAPSHOT.to_json(), **wrong})
