"""A start in doubt on its page: what is shown, who may settle it, and what is asked of Airflow."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest

from aem_guides.console import access, doubt_page
from aem_guides.console.instance_health import Watch
from aem_guides.hooks import bodies
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import History, Job, ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.settle import settle
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.states import JobState
from aem_guides.runtime.doubts import Asker, Doubt, doubt_key
from aem_guides.runtime.notes import waiters_key
from aem_guides.runtime.path_store import encoded
from aem_guides.runtime.task_states import TaskKey
from tests.support.console import ADMIN, STARTER, STRANGER, VIEWER, Host, read
from tests.support.console_store import AirflowState
from tests.support.worlds import INSTANCE, MINUTE, NOW, RUN, apply, job, note, snapshot

AT = NOW - 60 * MINUTE
KEY = "path:" + "0a" * 32
PATH = "/content/dam/it"
REQUEST = ProcessingRequest(PATH, excluded_paths=("/content/dam/it/<script>alert(1)</script>",))
INTENT = Intent(REQUEST.fingerprint(), AT, {"old": AT - MINUTE}, "run")
DOUBTFUL = PathState(REQUEST, Phase.STARTING, serial=7, intent=INTENT, doubtful=True, instance=INSTANCE)
TASK = TaskKey("my_dag", "manual__1", "process_path.start_processing", 3)
DOUBT = Doubt(KEY, Asker(TASK, "aem_guides_default"), PATH, INSTANCE, AT)
FIELD = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')
RADIO = re.compile(r'type="radio" name="choice" value="([^"]*)" required( disabled)?')


class Doubts:
    """A doubt in an Airflow, and an instance that shows a history."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host, self.airflow = host, AirflowState(host)
        self.history: History | str = History(())
        self.airflow.tasks[TASK] = "failed"
        self.airflow.notes.set(doubt_key(KEY), DOUBT.to_json())
        self.is_now(DOUBTFUL)

        async def history(_: Watch, connection_id: str) -> History | str:
            assert connection_id == "aem_guides_default"
            return self.history

        monkeypatch.setattr(Watch, "history", history)

    def is_now(self, state: PathState) -> None:
        self.airflow.notes.set(KEY, encoded(state))

    def shows(self, *jobs: Job) -> None:
        self.history = History(jobs)

    def get(self, user: str = ADMIN, **query: object) -> httpx.Response:
        return cast("httpx.Response", self.host.client(user).get(address(**query)))

    def form(self, user: str = ADMIN) -> dict[str, str]:
        fields = dict(FIELD.findall(self.get(user).text))
        return {name: html.unescape(value) for name, value in fields.items()}

    def choose(self, choice: str, user: str = ADMIN, **more: str) -> httpx.Response:
        data = {**self.form(), "choice": choice, **more}
        return cast("httpx.Response", self.host.client(user).post("settle", data=data))

    def is_stored(self, chosen: Job | None) -> None:
        """The run of the control DAG has done its work."""
        self.is_now(settle(DOUBTFUL, AT, chosen, 0.0))
        for run_id in self.host.states:
            self.host.states[run_id] = "success"


def address(**query: object) -> str:
    return f"doubt?name={quote(DOUBT.name)}" + "".join(f"&{name}={value}" for name, value in query.items())


@pytest.fixture
def doubts(host: Host, monkeypatch: pytest.MonkeyPatch) -> Doubts:
    return Doubts(host, monkeypatch)


def may_be(name: str = "it", word: str = "RUNNING", **more: object) -> Job:
    return job(name, word, start=AT + MINUTE, path=PATH, **more)


def choices(page: httpx.Response) -> list[tuple[str, bool]]:
    return [(html.unescape(value), not disabled) for value, disabled in RADIO.findall(page.text)]


def test_the_page_shows_what_was_asked_beside_the_jobs_that_it_may_have_become(doubts: Doubts, ledger: Ledger) -> None:
    seen = job("seen", start=AT + MINUTE, path=PATH)
    theirs = job("theirs", start=AT + MINUTE, path=PATH)
    before = job("before", start=AT - 90 * MINUTE, path=PATH)
    below = job("below", start=AT + MINUTE, path=f"{PATH}/x")
    apply(ledger, snapshot(seen, before, below, theirs, may_be()))
    ledger.take_note(note("theirs"))
    doubts.shows(
        may_be(),
        may_be("old"),
        may_be("other", excluded_paths=("/content/dam/it/y",)),
        replace(may_be("hidden", "SUCCESS"), path=None),
        theirs,
        job("elsewhere", start=AT + MINUTE),
    )
    page = doubts.get()
    words = read(page.text).words
    assert choices(page) == [
        ("=it", True),
        ("=hidden", True),
        ("=seen", True),
        ("=other", False),
        ("=theirs", False),
        ("none", True),
        ("other", True),
    ]
    for told in (
        "A start was sent, and it is not known what came of it",
        f"Path {PATH} Processing type ASSET_PROCESSING Without /content/dam/it/<script>alert(1)</script>",
        "manual__1 of my_dag Task process_path.start_processing, number 3",
        "The instance does not show its path",
        "The instance does not show it any more",
        "Cannot be it: it was asked to do something else",
        f"Cannot be it: run {RUN.run_id} of {RUN.dag_id} has it",
        "Not all that it asks for is shown",
    ):
        assert told in words
    assert "<script>" not in page.text.replace("<script src=", "")
    assert page.text.count(f"/dags/my_dag/runs/{TASK.run_id}") == 1


def test_an_instance_that_is_down_says_so_and_the_ledger_is_shown(doubts: Doubts, ledger: Ledger) -> None:
    apply(ledger, snapshot(job("seen", start=AT + MINUTE, path=PATH)))
    doubts.history = "Cannot be reached"
    page = doubts.get()
    assert "The instance: Cannot be reached. Only jobs of the ledger are shown." in read(page.text).words
    assert choices(page) == [("=seen", True), ("none", True), ("other", True)]


def test_a_choice_is_stored_by_a_run_and_then_the_task_and_those_after_it_are_cleared(doubts: Doubts) -> None:
    odd = 'it\'s "<b>" / 1'
    doubts.shows(may_be(odd))
    answer = doubts.choose(f"={odd}")
    assert answer.status_code == 303
    (run,) = doubts.host.started
    assert (run["dag_id"], run["user"]) == ("aem_guides_control_job", ADMIN)
    assert run["conf"] == {
        "action": "settle",
        "processing_id": odd,
        "doubt": DOUBT.name,
        "connection_id": "aem_guides_default",
    }
    mine = answer.headers["location"]
    assert "The choice is being stored" in read(doubts.host.client().get(mine).text).words
    assert doubts.airflow.cleared == []
    doubts.is_stored(may_be(odd))
    part = doubts.host.client().get(f"{mine}&part=1").text
    assert "data-go" in part, "the browser goes on by itself"
    assert "<html" not in part
    assert doubts.host.client().post("go-on", data=dict(FIELD.findall(part))).status_code == 303
    (cleared,) = doubts.airflow.cleared
    assert cleared == {
        "dag_id": "my_dag",
        "dry_run": False,
        "dag_run_id": TASK.run_id,
        "task_ids": [[TASK.task_id, 3]],
        "include_downstream": True,
        "only_failed": False,
        "prevent_running_task": True,
    }
    assert "The run goes on" in read(doubts.get(part=1).text).words
    assert doubts.host.client().post("go-on", data=dict(FIELD.findall(part))).status_code == 303
    assert len(doubts.airflow.cleared) == 1, "it goes on already"
    doubts.airflow.notes.delete(doubt_key(KEY))
    assert "Nothing is in doubt any more" in read(doubts.get(part=1).text).words
    assert "There is no such doubt" in read(doubts.get().text).words


@pytest.mark.parametrize(
    ("choice", "more", "chosen"),
    [("none", {}, None), ("other", {"other": "  typed  "}, "typed"), ("=none", {}, "none"), ("==", {}, "=")],
)
def test_a_person_may_choose_none_or_name_another(
    doubts: Doubts, choice: str, more: dict[str, str], chosen: str | None
) -> None:
    assert doubts.choose(choice, **more).status_code == 303
    assert doubts.host.started[0]["conf"]["processing_id"] == chosen


@pytest.mark.parametrize(
    ("choice", "more"),
    [
        ("", {}),
        ("=", {}),
        ("forgets", {}),
        ("it", {}),
        ("other", {}),
        ("other", {"other": " "}),
        ("=a\0", {}),
        ("=" + "x" * 2000, {}),
    ],
)
def test_no_choice_is_said_to_be_none_and_nothing_is_begun(doubts: Doubts, choice: str, more: dict[str, str]) -> None:
    answer = doubts.choose(choice, **more)
    assert answer.status_code == 400
    assert "Nothing was changed" in read(answer.text).words
    assert doubts.host.started == []


def test_of_two_who_settle_it_at_once_airflow_takes_one(doubts: Doubts) -> None:
    form = doubts.form()
    first = doubts.host.client().post("settle", data={**form, "choice": "none"})
    (run,) = doubts.host.started
    doubts.host.states.clear()
    doubts.host.states[run["dag_run_id"]] = "queued"
    second = doubts.host.client().post("settle", data={**form, "choice": "=it"})
    assert (first.status_code, second.status_code) == (303, 409)
    assert len(doubts.host.started) == 1


def test_the_second_is_refused_by_airflow_too_where_it_looked_before_the_first_began(
    doubts: Doubts, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = doubts.form()

    async def none_yet(*_: object) -> None:
        """What the second saw."""

    with monkeypatch.context() as patch:
        patch.setattr(doubt_page, "_settling", none_yet)
        for number, status in ((1, 303), (2, 409)):
            answer = doubts.host.client().post("settle", data={**form, "choice": "none"})
            assert answer.status_code == status, number
    assert len(doubts.host.started) == 1


def test_a_choice_that_was_not_stored_is_said_to_be_so_and_can_be_made_again(doubts: Doubts) -> None:
    mine = doubts.choose("=unknown to all").headers["location"]
    doubts.host.states = dict.fromkeys(doubts.host.states, "failed")
    assert "The choice was not stored" in read(doubts.host.client().get(f"{mine}&part=1").text).words
    page = doubts.get()
    assert "The last choice was not stored" in read(page.text).words
    assert doubts.choose("none").status_code == 303
    assert len({run["dag_run_id"] for run in doubts.host.started}) == 2


@pytest.mark.parametrize(("status", "told"), [(403, "right to clear"), (409, "still at work"), (500, "answered 500")])
def test_a_clear_that_airflow_refuses_is_said_and_offered_again(
    doubts: Doubts, monkeypatch: pytest.MonkeyPatch, status: int, told: str
) -> None:
    waited: list[float] = []

    async def asleep(seconds: float) -> None:
        waited.append(seconds)

    world = replace(bodies.REAL_SURROUNDINGS, asleep=asleep, elapsed=lambda: sum(waited))
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", world)
    doubts.is_stored(None)
    doubts.airflow.clear_refusal = status
    refused = doubts.host.client().post("go-on", data=doubts.form())
    assert refused.status_code == (502 if status == 500 else status)
    words = read(refused.text).words
    assert "The choice is stored, but the run does not go on yet" in words
    assert told in words
    assert sum(waited) == (20 if status == 409 else 0), "other tasks of the run may be at work yet"
    doubts.airflow.clear_refusal = None
    page = doubts.get()
    assert "Go on with the run" in read(page.text).words
    assert "data-go" not in page.text, "nobody has sent this just now"
    assert doubts.host.client().post("go-on", data=doubts.form()).status_code == 303
    assert len(doubts.airflow.cleared) == 1


def test_a_task_that_somebody_clears_by_hand_meanwhile_is_not_cleared_again(
    doubts: Doubts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asleep(_seconds: float) -> None:
        doubts.airflow.tasks[TASK] = "deferred"
        doubts.airflow.clear_refusal = None

    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", replace(bodies.REAL_SURROUNDINGS, asleep=asleep))
    doubts.is_stored(None)
    doubts.airflow.clear_refusal = 409
    assert doubts.host.client().post("go-on", data=doubts.form()).status_code == 303
    assert doubts.airflow.cleared == []


def test_a_doubt_whose_run_was_deleted_can_be_forgotten(doubts: Doubts) -> None:
    del doubts.airflow.tasks[TASK]
    page = doubts.get()
    assert "Forget it" in read(page.text).words
    assert "Forget it" not in read(doubts.get(VIEWER).text).words
    fields = dict(FIELD.findall(page.text))
    assert doubts.host.client().post("settle", data={**fields, "choice": "=it"}).status_code == 409
    assert doubts.host.client().post("settle", data=fields).status_code == 303
    conf = doubts.host.started[0]["conf"]
    assert (conf["action"], conf["processing_id"]) == ("forget", None)


@pytest.mark.parametrize("user", [STARTER, VIEWER, STRANGER, None])
def test_whoever_may_not_start_and_clear_sees_no_form_and_cannot_post(doubts: Doubts, user: str | None) -> None:
    doubts.shows(may_be())
    form = doubts.form()
    client = doubts.host.client(user)
    page = client.get(address())
    assert page.status_code in (200, 401, 403)
    assert "<form" not in page.text
    assert ("=it" in page.text, "Whoever may trigger" in page.text) == (False, page.status_code == 200)
    token = {"token": ""} if user in (STRANGER, None) else {"token": token_of(str(user))}
    for where in ("settle", "go-on"):
        assert client.post(where, data={**form, **token, "choice": "none"}).status_code in (401, 403)
    assert doubts.host.started == doubts.airflow.cleared == []


def token_of(user: str) -> str:
    """The token of a user who sees a form elsewhere, in the same session."""
    request: Any = type("Request", (), {"headers": {}, "cookies": {"_token": user}})()
    return access.token_of(request, user)


@pytest.mark.parametrize("where", ["settle", "go-on"])
@pytest.mark.parametrize(
    ("changed", "headers"),
    [
        ({"token": "0" * 64}, {}),
        ({}, {"sec-fetch-site": "cross-site"}),
        ({}, {"origin": "https://elsewhere.example"}),
        ({}, {"content-type": "text/plain"}),
        ({"filler": "x" * 70_000}, {}),
    ],
)
def test_what_was_not_sent_from_a_page_of_the_same_session_settles_nothing(
    doubts: Doubts, where: str, changed: dict[str, str], headers: dict[str, str]
) -> None:
    fields = doubts.form() | {"choice": "none"} | changed
    doubts.is_stored(None)
    answer = doubts.host.client().post(where, data=fields, headers=headers)
    assert 400 <= answer.status_code < 500
    assert "Nothing was done" in read(answer.text).words
    assert doubts.host.started == doubts.airflow.cleared == []


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "path:" + "0a" * 32,
        f"{KEY}@{AT + 1}",
        f"path:{'0b' * 32}@{AT}",
        "path:../../x@1",
        "<script>alert(1)</script>",
        "' OR 1=1 --",
        "x" * 2000,
        "\ud800",
        f"{KEY}@{'9' * 19}",
    ],
)
def test_a_name_that_names_no_doubt_leads_nowhere(doubts: Doubts, name: str) -> None:
    where = f"doubt?name={quote(name, errors='surrogatepass')}"
    for query in ("", "&mine=%ed%a0%80"):
        page = doubts.host.client().get(where + query)
        assert page.status_code == 404
        assert "There is no such doubt" in read(page.text).words
    form = doubts.form() | {"name": name.encode(errors="replace").decode(), "choice": "none"}
    assert doubts.host.client().post("settle", data=form).status_code == 404
    assert doubts.host.started == []


@pytest.mark.parametrize(
    ("state", "task_state", "told"),
    [
        (DOUBTFUL, "running", "The task looks again"),
        (DOUBTFUL, "none", "The task looks again"),
        (DOUBTFUL, None, "Airflow does not show the run"),
        (DOUBTFUL, "success", "was marked (success)"),
        (settle(DOUBTFUL, AT, None, 0.0), "skipped", "was marked (skipped)"),
        (DOUBTFUL.anew(), "failed", "Nothing is in doubt any more"),
        (DOUBTFUL.works("it", Origin.RECOVERED), "deferred", "Nothing is in doubt any more"),
        (replace(DOUBTFUL, intent=replace(INTENT, at=AT + 9)), "failed", "Nothing is in doubt any more"),
        (settle(DOUBTFUL, AT, None, 0.0), "scheduled", "The run goes on"),
        (settle(DOUBTFUL, AT, None, 0.0), None, "Airflow does not show the run"),
    ],
)
def test_a_doubt_that_is_over_or_whose_task_is_at_work_cannot_be_settled(
    doubts: Doubts, state: PathState, task_state: str | None, told: str
) -> None:
    form = doubts.form()
    doubts.is_now(state)
    del doubts.airflow.tasks[TASK]
    if task_state is not None:
        doubts.airflow.tasks[TASK] = task_state
    page = doubts.get()
    assert told in read(page.text).words
    over = told == "Nothing is in doubt any more"
    assert ("<form" in page.text) == (over or task_state in (None, "success", "skipped")), "it can be forgotten"
    assert ("data-over" in page.text) == (told != "The task looks again"), "that is looked at again"
    assert doubts.host.client().post("settle", data={**form, "choice": "=it"}).status_code == 409
    assert doubts.host.client().post("go-on", data=form).status_code == 303
    assert doubts.host.started == doubts.airflow.cleared == []


def test_a_task_that_airflow_does_not_show_is_not_said_to_be_at_work(doubts: Doubts) -> None:
    doubts.airflow.tasks[TASK] = "hidden"
    words = read(doubts.get(VIEWER).text).words
    assert "Airflow does not show you the task" in words
    assert "looks again" not in words


def test_a_state_that_was_deleted_or_cannot_be_read_is_said_to_be_so(doubts: Doubts) -> None:
    doubts.airflow.notes.set(KEY, {"phase": "asleep"})
    assert "The state of the path cannot be read" in read(doubts.get().text).words
    doubts.airflow.notes.delete(KEY)
    assert "The state of the path was deleted" in read(doubts.get().text).words


def test_a_task_that_has_looked_again_in_vain_is_said_to_have_stopped(doubts: Doubts) -> None:
    part = read(doubts.get(part=1).text)
    assert "The task has stopped" in part.words
    assert part.addresses == [f"doubt?name={quote(DOUBT.name, safe='')}"]


def test_a_resume_in_doubt_asks_for_a_resume(doubts: Doubts) -> None:
    failed = Job("x", JobState.FAILED, "FAILED", path=PATH, resumable=True, completed_at=AT - MINUTE)
    intent = replace(INTENT, window={"x": AT - MINUTE}, resumes=failed)
    resuming = PathState(REQUEST, serial=3).works("x", Origin.STARTED, INSTANCE).resuming(failed)
    doubts.is_now(resuming.stays(intent=intent, doubtful=True))
    doubts.shows(may_be("x"), may_be("y"))
    page = doubts.get()
    assert choices(page) == [("=x", True), ("=y", True), ("none", True), ("other", True)]
    words = read(page.text).words
    assert "A resume was sent" in words
    assert "Resumes job x" in words
    assert "the run resumes the job again" in words


def test_the_first_page_shows_what_waits_for_a_person_and_leads_there(doubts: Doubts) -> None:
    for where in ("", "doubts"):
        page = read(doubts.host.client(VIEWER).get(where).text)
        assert "Somebody has to look" in page.words
        assert f"doubt?name={quote(DOUBT.name, safe='')}" in page.addresses
    for number in range(130):
        key = f"path:{number:064x}"
        doubts.airflow.notes.set(doubt_key(key), replace(DOUBT, state_key=key, path=f"/{number}").to_json())
    words = read(doubts.host.client().get("").text).words
    assert "20 of 120 or more are shown" in words
    assert "oldest" not in words, "Airflow lists them in the order of their keys"
    assert "Who waits for a turn or for the off-peak hours is not shown" in words


def test_however_many_processes_store_who_waits_on_however_many_instances_no_doubt_is_hidden(doubts: Doubts) -> None:
    for number in range(200):
        doubts.airflow.notes.set(waiters_key(f"https://{number}.example.com", 0), {"by": "a process that has ended"})
    words = read(doubts.host.client().get("").text).words
    assert "Somebody has to look" in words
    assert PATH in words


@pytest.mark.parametrize("state", [DOUBTFUL.anew(), settle(DOUBTFUL, AT, None, 0.0).stays(settled_at=None), None])
def test_a_doubt_that_is_listed_though_it_is_over_can_be_forgotten(doubts: Doubts, state: PathState | None) -> None:
    """The process that was to take it off the list died right before."""
    doubts.airflow.notes.delete(KEY)
    if state is not None:
        doubts.is_now(state)
    page = doubts.get()
    assert "Forget it" in read(page.text).words
    assert "Forget it" not in read(doubts.get(VIEWER).text).words
    assert doubts.host.client().post("settle", data=dict(FIELD.findall(page.text))).status_code == 303
    assert doubts.host.started[0]["conf"]["action"] == "forget"


@pytest.mark.parametrize(
    ("refusal", "told"), [(403, "needs the right to read assets"), (500, "does not show it now (it answered 500)")]
)
def test_a_store_that_airflow_does_not_show_leaves_the_rest_of_the_page(
    doubts: Doubts, refusal: int, told: str
) -> None:
    doubts.airflow.refusal = refusal
    words = read(doubts.host.client().get("").text).words
    assert told in words
    assert "Failed in the last 24 hours" in words
    assert told in read(doubts.get().text).words
