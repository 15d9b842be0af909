"""What is sent and how answers are read, for every endpoint."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol import contract
from aem_guides.protocol.contract import ShapeError
from aem_guides.protocol.limits import MOST_VALUES
from aem_guides.protocol.models import (
    AssetState,
    AssetStatus,
    AssetStatusReport,
    Job,
    JobFilter,
    JsonObject,
    JsonValue,
    LogPage,
    Match,
    ProcessingRequest,
    SystemStatus,
)
from aem_guides.protocol.states import ACTIVE_STATES, ENDED_STATES, JobState, Verdict, state_of_word
from tests.unit.protocol.driving import reply

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(TEXTS)
def test_any_id_survives_the_query(processing_id: str) -> None:
    for call in (contract.status(processing_id), contract.logs(processing_id), contract.download(processing_id)):
        query = parse_qs(urlsplit(call.request.target).query, keep_blank_values=True, strict_parsing=True)
        assert query["processingId"] == [processing_id]
        assert call.request.target.isascii()


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_any_path_survives_the_body(path: str, excluded: list[str]) -> None:
    body = contract.start(ProcessingRequest(path, tuple(excluded))).request.body
    assert body is not None
    sent = json.loads(body)
    assert sent["path"] == path
    assert sent.get("excludedPaths", []) == excluded


def test_a_start_sends_its_filter_only_where_there_is_one() -> None:
    plain = contract.start(ProcessingRequest("/content/a")).request.body
    assert plain is not None
    assert json.loads(plain) == {"path": "/content/a", "type": "ASSET_PROCESSING"}
    chosen = ProcessingRequest("/content/a", (), ("DITAMAP",), 1000, 2000)
    body = contract.start(chosen).request.body
    assert body is not None
    assert json.loads(body)["filter"] == {"fileTypes": ["DITAMAP"], "startTime": 1000, "endTime": 2000}


def test_offset_and_tail_are_never_sent_together() -> None:
    with pytest.raises(ValueError, match="not both"):
        contract.logs("p", offset=1, tail=2)


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["WAITING", "waiting", "Waiting", "PENDING", "queued"], JobState.WAITING),
        (["In progress", "IN_PROGRESS", "in-progress", "RUNNING", "Processing", "InProgress"], JobState.RUNNING),
        (["SUCCESS", "Completed", "COMPLETED", "Succeeded", "success"], JobState.SUCCESS),
        (["FAILED", "Failed", "FAILURE", "Error"], JobState.FAILED),
        (["CANCELLED", "CANCELED", "Cancelled", "canceled"], JobState.CANCELLED),
        (["REINDEXING", "", "?", "Erledigt", "SUCCESSFULLY NOT"], JobState.UNKNOWN),
    ],
)
def test_states_of_any_spelling_are_known_and_others_stay_unknown(words: list[str], state: JobState) -> None:
    assert {state_of_word(word) for word in words} == {state}


def test_every_state_is_active_ended_or_unknown() -> None:
    assert set(JobState) == ACTIVE_STATES | ENDED_STATES | {JobState.UNKNOWN}
    assert not ACTIVE_STATES & ENDED_STATES


def job(**reported: JsonValue) -> Job:
    entry: dict[str, JsonValue] = {"processingId": "p", "status": "NEW WORD"}
    return contract.read_job({**entry, **reported})


@pytest.mark.parametrize(
    ("reported", "verdict"),
    [
        ({}, Verdict.ACTIVE),
        ({"cancellable": True, "completedAt": 5}, Verdict.ACTIVE),
        ({"resumable": True, "completedAt": 5}, Verdict.FAILED),
        ({"restartable": True, "completedAt": 5}, Verdict.SUCCEEDED),
        ({"restartable": True, "resumable": True, "completedAt": 5}, Verdict.FAILED),
        ({"restartable": True}, Verdict.ACTIVE),
        ({"completedAt": 5}, Verdict.ENDED_UNCLEAR),
        ({"completedAt": 0}, Verdict.ACTIVE),
    ],
)
def test_an_unknown_word_is_judged_by_the_other_fields(reported: dict[str, JsonValue], verdict: Verdict) -> None:
    assert job(**reported).verdict is verdict


@pytest.mark.parametrize("word", ["FINISHED", "Done", "COMPLETED", "Succeeded"])
@pytest.mark.parametrize("reported", [{"resumable": True}, {"cancellable": True}])
def test_a_word_for_success_is_not_believed_against_a_flag_that_denies_it(
    word: str, reported: dict[str, JsonValue]
) -> None:
    assert job(status=word, **reported).verdict is Verdict.ENDED_UNCLEAR
    assert job(status=word).verdict is Verdict.SUCCEEDED
    assert job(status="Success", **reported).verdict is Verdict.SUCCEEDED


@pytest.mark.parametrize("word", ["TERMINATED", "Stopped", "killed"])
def test_a_job_that_was_ended_early_is_no_success_though_it_can_be_restarted(word: str) -> None:
    assert job(status=word, restartable=True, completedAt=5).verdict is Verdict.CANCELLED


@given(st.booleans() | st.none(), st.booleans() | st.none(), st.booleans() | st.none(), st.integers(0, 9))
def test_success_is_never_left_over(
    restartable: bool | None, resumable: bool | None, active: bool | None, end: int
) -> None:
    judged = job(restartable=restartable, resumable=resumable, cancellable=active, completedAt=end).verdict
    if judged is Verdict.SUCCEEDED:
        assert restartable is True
        assert end > 0
        assert not resumable
        assert not active


def test_a_job_is_read_whole_and_survives_its_json() -> None:
    read = contract.read_job(
        {
            "processingId": "a/b c",
            "path": "/content/dam/é",
            "excludedPaths": ["content/dam/é/x"],
            "status": "In progress",
            "triggeredCount": 12,
            "startedAt": 1000,
            "completedAt": 0,
            "hasLogs": True,
            "createdBy": "author",
            "type": "ASSET_PROCESSING",
            "migrationSet": {"totalFiles": 50, "calculationStatus": "SUCCESS"},
            "eta": {"value": 2, "unit": "MINUTES"},
            "filter": {"fileTypes": ["DITAMAP"], "filterProcessedAssets": False, "startTime": 5},
            "cancellable": True,
            "somethingNew": {"ignored": True},
        }
    )
    assert read.state is JobState.RUNNING
    assert read.status_word == "In progress"
    assert (read.total_files, read.eta_seconds, read.completed_at) == (50, 120.0, None)
    assert read.job_filter == JobFilter(("DITAMAP",), 5, None)
    assert Job.from_json(json.loads(json.dumps(read.to_json()))) == read


@given(JSON)
def test_whatever_json_comes_is_read_or_refused_as_misshapen(data: JsonValue) -> None:
    answer = reply(200, data)
    calls = (
        contract.status("p"),
        contract.logs("p"),
        contract.history(),
        contract.start(ProcessingRequest("/content")),
    )
    for call in (*calls, contract.system_status(), contract.start_asset_status(("/a",)), contract.asset_status("j")):
        try:
            call.read(answer)
        except ShapeError:
            continue


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_read_or_refused_as_misshapen(body: bytes) -> None:
    try:
        contract.history().read(reply(200, body))
    except ShapeError:
        return


def test_one_bad_entry_of_the_history_is_reported_and_the_others_are_read() -> None:
    answer = reply(200, {"executionHistory": [{"processingId": "a", "status": "SUCCESS"}, {"path": "/x"}, 7]})
    history = contract.history().read(answer)
    assert [entry.processing_id for entry in history.jobs] == ["a"]
    assert len(history.unreadable) == 2
    assert "entry 1" in history.unreadable[0]


def test_line_ends_are_taken_off_log_lines_and_bad_utf8_is_borne() -> None:
    body = json.dumps({"lines": ["a\n", "b\r\n", "c", 5]}).encode().replace(b"c", b"\xff")
    assert contract.logs("p").read(reply(200, body)).lines == ("a", "b", "\ufffd", "5")


def test_an_asset_of_unknown_state_stays_unknown() -> None:
    answer = reply(
        200, {"jobId": "j", "status": "SUCCESS", "assets": [{"path": "/a", "status": "MOVED"}, {"status": "FAILURE"}]}
    )
    report = contract.asset_status("j").read(answer)
    assert report.assets is not None
    assert [asset.state for asset in report.assets] == [AssetState.UNKNOWN, AssetState.FAILURE]


REQUEST = ProcessingRequest("/content/dam/a", ("/content/dam/a/x",), ("DITAMAP",), 5, None)
SHOWN: dict[str, JsonValue] = {
    "path": "/content/dam/a",
    "excludedPaths": ["content/dam/a/x"],
    "filter": {"fileTypes": ["DITAMAP"], "startTime": 5},
}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({}, Match.SAME),
        ({"path": "/content/dam/a/"}, Match.SAME),
        ({"type": "asset_processing"}, Match.SAME),
        ({"path": "/content/dam/b"}, Match.OTHER),
        ({"type": "TRANSLATION"}, Match.OTHER),
        ({"type": "Asset processing"}, Match.SAME),
        ({"excludedPaths": []}, Match.UNCERTAIN),
        ({"excludedPaths": ["/content/dam/a/y"]}, Match.OTHER),
        ({"excludedPaths": None}, Match.UNCERTAIN),
        ({"filter": None}, Match.UNCERTAIN),
        ({"filter": {}}, Match.UNCERTAIN),
        ({"filter": {"fileTypes": ["DITAMAP"]}}, Match.UNCERTAIN),
        ({"filter": {"fileTypes": ["ditamap"], "startTime": 5}}, Match.SAME),
        ({"filter": {"fileTypes": ["DITATOPIC"], "startTime": 5}}, Match.OTHER),
        ({"filter": {"fileTypes": ["DITAMAP"], "startTime": 6}}, Match.OTHER),
        ({"filter": {"fileTypes": ["DITAMAP"], "startTime": 5, "endTime": 9}}, Match.OTHER),
    ],
)
def test_a_job_is_compared_with_a_request(changes: dict[str, JsonValue], match: Match) -> None:
    assert job(**{**SHOWN, **changes}).match(REQUEST) is match


@given(st.lists(TEXTS, max_size=5, unique=True), st.randoms())
def test_the_fingerprint_does_not_depend_on_order_or_leading_slashes(excluded: list[str], random: object) -> None:
    shuffled = list(reversed(excluded))
    one = ProcessingRequest("/content/a", tuple("/" + path for path in excluded), ("DITAMAP", "OTHERS"))
    other = ProcessingRequest("/content/a/", tuple(shuffled), ("OTHERS", "DITAMAP"))
    assert one.fingerprint() == other.fingerprint()
    assert one.fingerprint() != ProcessingRequest("/content/b", one.excluded_paths).fingerprint()
    assert ProcessingRequest.from_json(one.to_json()) == one


@pytest.mark.parametrize("at", [1_700_000_000_000_000, 253_402_300_800_000, -5, "soon", 0])
def test_a_time_that_no_calendar_has_is_none(at: int | str) -> None:
    job = contract.read_job({"processingId": "p", "status": "SUCCESS", "startedAt": at, "completedAt": at})
    assert (job.started_at, job.completed_at) == (None, None)


def test_an_asset_is_read_whole() -> None:
    entry: JsonValue = {"path": "/a", "status": "Failed", "uuid": "u", "exists": False, "reason": "why"}
    report = contract.asset_status("j").read(reply(200, {"jobId": "j", "status": "SUCCESS", "assets": [entry]}))
    asset = AssetStatus("/a", AssetState.FAILURE, "Failed", "u", False, "why")
    assert report == AssetStatusReport("j", "SUCCESS", (asset,))


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        ({"reason": "a", "message": "b", "comments": "c"}, "a"),
        ({"reason": "", "message": "b", "comments": "c"}, "b"),
        ({"comments": "c"}, "c"),
        ({}, None),
    ],
)
def test_why_an_asset_failed_is_found_under_any_of_its_names(reported: JsonObject, reason: str | None) -> None:
    answer = reply(200, {"status": "SUCCESS", "assets": [{"status": "FAILED", **reported}]})
    report = contract.asset_status("j").read(answer)
    assert report.assets == (AssetStatus("", AssetState.FAILURE, "FAILED", None, None, reason),)


def test_an_answer_about_assets_that_is_not_there_yet_has_none() -> None:
    assert contract.asset_status("j").read(reply(200, {})) == AssetStatusReport("", "", None)


@pytest.mark.parametrize(
    ("eta", "seconds"),
    [
        ({"value": 500, "unit": "MILLISECONDS"}, 0.5),
        ({"value": 5, "unit": "seconds"}, 5.0),
        ({"value": 5}, 5.0),
        ({"value": 2, "unit": "Hours"}, 7200.0),
        ({"value": 2, "unit": "DAYS"}, 172_800.0),
        ({"value": 2, "unit": "WEEKS"}, None),
        ({"unit": "SECONDS"}, None),
        (5, None),
    ],
)
def test_a_remaining_time_is_read_in_every_unit(eta: JsonValue, seconds: float | None) -> None:
    assert job(eta=eta).eta_seconds == seconds


def test_a_job_s_flags_and_words_are_kept_as_they_are_shown() -> None:
    reported: dict[str, JsonValue] = {
        "hasLogs": True,
        "createdBy": "author",
        "type": "ASSET_PROCESSING",
        "comments": "why",
        "restartable": True,
        "resumable": False,
        "migrationSet": {"calculationStatus": "RUNNING"},
    }
    read = job(**reported)
    assert (read.has_logs, read.created_by, read.processing_type) == (True, "author", "ASSET_PROCESSING")
    assert (read.comments, read.restartable, read.resumable, read.cancellable) == ("why", True, False, None)
    assert read.calculation_word == "RUNNING"


def test_a_page_of_a_log_shows_where_it_begins_and_whether_it_is_the_last() -> None:
    answer = reply(200, {"lines": ["a"], "offset": 7, "limit": 9, "hasMore": True})
    assert contract.logs("p").read(answer) == LogPage(("a",), 7, 9, True)


def test_the_state_of_the_system_is_read() -> None:
    reported = reply(200, {"isDatabase": True, "databaseConnectionCheck": "OK"})
    assert contract.system_status().read(reported) == SystemStatus(True, "OK")


def test_a_resume_without_an_id_in_its_answer_keeps_the_old_id() -> None:
    assert contract.resume("p").read(reply(200, {})) == "p"
    assert contract.resume("p").read(reply(200, {"processingId": "q"})) == "q"


def test_a_missing_field_is_named() -> None:
    for call, body, named in (
        (contract.start(REQUEST), {}, "processingId is missing"),
        (contract.status("p"), {"processingId": "p"}, "status of job p is missing"),
        (contract.status("p"), {"status": "RUNNING"}, "processingId is missing"),
        (contract.logs("p"), {}, "lines is missing"),
        (contract.history(), {}, "executionHistory is missing"),
        (contract.start_asset_status(("/a",)), {}, "jobId is missing"),
        (contract.history(), [], "the answer is not a JSON object"),
    ):
        with pytest.raises(ShapeError, match=f"^{named}$"):
            call.read(reply(200, body))


@pytest.mark.parametrize(
    "request_",
    [
        ProcessingRequest("/content/a", file_types=("DITAMAP",)),
        ProcessingRequest("/content/a", created_after=5),
        ProcessingRequest("/content/a", created_before=9),
        ProcessingRequest("/content/a", ("/content/a/b",), ("DITAMAP",), 5, 9),
    ],
)
def test_a_request_with_any_part_of_a_filter_has_one_and_survives_its_json(request_: ProcessingRequest) -> None:
    assert request_.has_filter()
    assert ProcessingRequest.from_json(json.loads(json.dumps(request_.to_json()))) == request_
    assert not ProcessingRequest("/content/a", ("/content/a/b",)).has_filter()


def test_an_answer_may_have_as_many_values_as_its_endpoint_is_for() -> None:
    many = reply(200, b'{"status": "SUCCESS", "more": [' + b"0," * MOST_VALUES + b"0]}")
    assert contract.asset_status("j").read(many).status_word == "SUCCESS"
    with pytest.raises(ShapeError, match="more than 1,000,000 values"):
        contract.history().read(many)


def test_an_id_that_is_too_long_is_refused_with_its_length() -> None:
    with pytest.raises(ShapeError, match="processingId has 501 characters, of 500 at most"):
        contract.start(ProcessingRequest("/content/a")).read(reply(200, {"processingId": "x" * 501}))
