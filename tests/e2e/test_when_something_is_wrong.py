"""What the README's chapter "When something is wrong" says: each case is produced, told in its words, and mended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_kill_clear_resume import FILES, People, Run
from tests.e2e.test_reconcile_history import control, reconcile, start_foreign
from tests.support.airflow_stack import ARCHIVE, LEDGER, START, WAIT, LiveAirflow
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.instances import FAST, SLOW, Instance, Instances
from tests.support.logins import JWT_SECRET, LOGINS
from tests.support.together import Scenario, played_together, scenarios

TROUBLED = "troubled_run"
CHECK = "check_instance"
CLIENT = "console"
HIBERNATED = "<html><body>This environment is hibernated. Go to the Developer Console to de-hibernate it.</body></html>"


def troubled(instance: Instance, *, rate: float, **conf: object) -> Run:
    """A run of the DAG that has little patience, and no room while a file is there."""
    airflow = instance.airflow
    path = instance.folder(FILES, rate=rate, zip_padding_bytes=1_000_000)
    airflow.wait_until(lambda: airflow.rest.has_dag(TROUBLED), "the DAG")
    given = {"paths": [path], "connection_id": instance.connection_id, "max_active_jobs": 100, **conf}
    return Run(instance, path, airflow.rest.trigger(TROUBLED, given), TROUBLED)


def ended(emulator: EmulatorProcess, processing_id: str) -> None:
    """Wait until a job has ended well."""

    def has_succeeded() -> bool:
        return {"SUCCESS"} == {job["state"] for job in emulator.jobs() if job["processing_id"] == processing_id}

    emulator.wait_until(has_succeeded, f"the end of job {processing_id}")


def a_job_that_somebody_else_cancelled_goes_on_after_clear(people: People) -> None:
    run = Run.begin(people.common)
    run.wait_for_progress()
    answer = httpx.post(
        f"{people.common.emulator.url}/bin/guides/v1/assets/process/cancel",
        params={"processingId": str(run.jobs()[0]["processing_id"])},
        json={"processingId": run.jobs()[0]["processing_id"]},
        auth=("admin", PASSWORD),
        trust_env=False,
    )
    answer.raise_for_status()
    assert run.end() == "failed"
    assert run.tries_that_said("was cancelled at", WAIT) == 1
    assert run.row()["archive_uri"]
    run.hasten()
    people.airflow.clear(run.run_id, WAIT)
    assert run.end() == "success"
    assert (run.row()["state"], run.row()["resumes"]) == ("SUCCESS", 1)
    assert run.times_processed() == [1] * FILES


def a_job_that_is_stuck_is_told_stopped_and_goes_on_after_clear(people: People) -> None:
    path = people.common.folder(FILES, rate=0.001)
    run = Run(people.common, path, people.common.trigger(path, stall_minutes=0.05))
    people.airflow.wait_for_state(run.run_id, WAIT, "deferred", map_index=0)
    people.airflow.wait_for_words("No progress for", run.run_id, WAIT, 0)
    assert [job["state"] for job in run.jobs()] == ["RUNNING"]
    people.airflow.set_state(run.run_id, WAIT, "failed", 0)
    assert run.end() == "failed"
    assert [job["state"] for job in run.jobs()] == ["CANCELLED"]
    run.hasten()
    people.airflow.clear(run.run_id, WAIT)
    assert run.end() == "success"
    assert run.times_processed() == [1] * FILES


def a_job_that_the_instance_forgot_is_lost_and_started_anew_by_clear(people: People) -> None:
    run = troubled(people.common, rate=SLOW)
    run.wait_for(WAIT, "deferred")
    (lost,) = run.jobs()
    people.common.emulator.post("/emulator/jobs/lose", {"processingId": lost["processing_id"]})
    assert run.end() == "failed"
    assert run.tries_that_said("Neither status nor history knows job", WAIT) == 1
    assert run.tries_that_said(f"Job {lost['processing_id']} is lost", WAIT) == 1
    assert run.row()["state"] == "LOST"
    run.hasten()
    people.airflow.clear(run.run_id, START, dag_id=TROUBLED)
    assert run.end() == "success"
    (job,) = (job for job in run.jobs() if job["processing_id"] != lost["processing_id"])
    assert run.row()["processing_id"] == job["processing_id"]


def a_start_whose_answer_did_not_come_is_left_to_a_person_and_sent_by_clear(people: People) -> None:
    with people.instances.new({"window": 1}) as instance:
        emulator = instance.emulator
        ended(emulator, start_foreign(emulator, instance.folder(1, rate=FAST)))
        emulator.fault("start", "reset_before")
        run = Run.begin(instance, rate=FAST)
        instance.wait_for_requests("start", 2)
        ended(emulator, start_foreign(emulator, instance.folder(1, rate=FAST)))
        assert run.end() == "failed"
        assert run.tries_that_said("its answer did not come", START) == 1
        assert run.row()["state"] == "UNKNOWN"
        assert run.jobs() == []
        people.airflow.clear(run.run_id, START)
        assert run.end() == "success"
        assert len(run.jobs()) == 1


def a_duplicate_and_a_window_gap_are_told_once_and_mended(people: People) -> None:
    """Both in the same three reconciliations, which run one at a time."""
    airflow, twice, gap = people.airflow, "did the same on", "jobs may have passed unseen in between"
    with people.instances.new({"lock": False}) as doubled, people.instances.new({"window": 2}) as narrow:

        def found() -> tuple[bool, bool]:
            _, state, report = reconcile(airflow, connection_ids=[doubled.connection_id, narrow.connection_id])
            assert state == "success"
            return f"{twice} {path} at the same time" in report, gap in report

        def somebody_runs() -> str:
            started = start_foreign(narrow.emulator, narrow.folder(1, rate=FAST))
            ended(narrow.emulator, started)
            return started

        path = doubled.folder(FILES, rate=SLOW)
        first, second = (start_foreign(doubled.emulator, path) for _ in range(2))
        somebody_runs()
        assert found() == (True, False)

        state, result, _ = control(airflow, "cancel", second, connection_id=doubled.connection_id)
        assert (state, result["result"]) == ("success", "cancelled")
        doubled.hasten(path, FILES)
        ended(doubled.emulator, first)
        ours = Run.begin(narrow, rate=FAST)
        assert ours.end() == "success"
        passed, *_ = (somebody_runs() for _ in range(3))
        assert found() == (False, True)
        noted = airflow.ask_database(
            "SELECT run_id FROM aem_guides_job WHERE processing_id = %s", ours.row()["processing_id"], database=LEDGER
        )
        assert noted == [(ours.run_id,)]

        somebody_runs()
        assert found() == (False, False)
        state, result, _ = control(airflow, "archive", passed, connection_id=narrow.connection_id)
        assert (state, Path(result["archive_uri"].removeprefix("file://")).is_file()) == ("success", True)


def pasted_token(emulator: EmulatorProcess) -> str:
    """A connection with an access token, fresh from the console."""
    emulator.settings(oauth_clients={CLIENT: {"secret": PASSWORD, "scopes": ["AdobeID"]}})
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": PASSWORD, "scope": "AdobeID"}
    answer = httpx.post(f"{emulator.url}/ims/token/v3", data=form, trust_env=False).raise_for_status().json()
    extra = {"auth": "bearer", "token": answer["access_token"]}
    return json.dumps({"conn_type": "aem_guides", "host": emulator.url, "extra": extra})


def mend(instance: Instance, connection: Callable[[EmulatorProcess], str]) -> None:
    """Write the connection anew, as a person does in the UI."""
    fields = json.loads(connection(instance.emulator))
    fields |= {"connection_id": instance.connection_id, "extra": json.dumps(fields["extra"])}
    instance.airflow.rest.request("PATCH", f"/connections/{instance.connection_id}", json=fields)


def an_expired_token_is_told_and_mended_in_the_connection(people: People) -> None:
    said = "Check the credentials of the Airflow connection"
    with people.instances.new(connection=pasted_token) as instance:
        airflow = people.airflow
        waiting = Run.begin(instance)
        waiting.wait_for_progress()
        instance.emulator.delete("/emulator/tokens")
        airflow.wait_for_words("the job is not affected, looking on", waiting.run_id, WAIT, 0)
        assert waiting.tries_that_said(said, WAIT) == 1
        refused = Run.begin(instance, rate=FAST)
        assert refused.end() == "failed"
        assert said in airflow.whole_log(refused.run_id, CHECK)
        mend(instance, pasted_token)
        airflow.clear(waiting.run_id, WAIT)
        airflow.clear(refused.run_id, CHECK)
        waiting.wait_for_second_try(WAIT)
        waiting.hasten()
        assert (waiting.end(), refused.end()) == ("success", "success")
        assert [(len(run.jobs()), run.row()["resumes"]) for run in (waiting, refused)] == [(1, 0), (1, 0)]


def an_expired_certificate_is_told_and_mended_in_the_connection(people: People) -> None:
    (valid,) = (login.connection for login in LOGINS if login.name == "service_credentials")

    def expired(emulator: EmulatorProcess) -> str:
        connection = valid(emulator)
        clients = emulator.get("/emulator/settings")["jwt_clients"]
        clients["jwt-client"] |= {"secret": JWT_SECRET, "certificate_expired": True}
        emulator.settings(jwt_clients=clients)
        return connection

    with people.instances.new(connection=expired) as instance:
        run = Run.begin(instance, rate=FAST)
        assert run.end() == "failed"
        assert "The certificate or the JWT has expired" in people.airflow.whole_log(run.run_id, CHECK)
        mend(instance, valid)
        people.airflow.clear(run.run_id, CHECK)
        assert run.end() == "success"


def a_hibernated_sandbox_is_told_and_woken(people: People) -> None:
    said = "The sandbox is hibernated: wake it (De-hibernate) in the Developer Console"
    with people.instances.new() as instance:
        waiting = Run.begin(instance)
        waiting.wait_for_progress()
        instance.emulator.fault("*", "status", status=200, body=HIBERNATED, count=None)
        people.airflow.wait_for_words(said, waiting.run_id, WAIT, 0)
        late = Run.begin(instance, rate=FAST)
        assert late.end() == "failed"
        assert said in people.airflow.whole_log(late.run_id, CHECK)
        assert late.jobs() == []
        instance.emulator.delete("/emulator/faults")
        people.airflow.clear(late.run_id, CHECK)
        waiting.hasten()
        assert (waiting.end(), late.end()) == ("success", "success")
        assert waiting.tries(WAIT) == 1
        assert waiting.tries_that_said("is seen again after", WAIT) == 1


def a_full_disk_is_told_leaves_nothing_and_is_mended_by_room(people: People) -> None:
    full = people.instances.folder / "full"
    full.touch()
    run = troubled(people.common, rate=FAST, no_room_while=str(full))
    assert run.end() == "failed"
    assert run.tries_that_said("There is no room left: make some", ARCHIVE) >= 1
    row = run.row()
    assert (row["state"], row["archive_uri"]) == ("SUCCESS", None)
    archive = people.airflow.folder / "archive"
    assert list(archive.rglob(f"{row['processing_id']}/*")) == []
    full.unlink()
    people.airflow.clear(run.run_id, ARCHIVE, dag_id=TROUBLED)
    assert run.end() == "success"
    stored = archive.rglob(f"{row['processing_id']}/*")
    assert sorted(file.name for file in stored) == ["logs.zip", "manifest.json"]
    assert run.row()["sha256"]
    assert len(run.jobs()) == 1


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, airflow: LiveAirflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Scenario[People], Future[None]]]:
    instances = Instances(airflow, tmp_path_factory.mktemp("wrong"))
    with instances.new() as common, played_together(request, People(airflow, common, instances)) as futures:
        yield futures


@scenarios(
    a_duplicate_and_a_window_gap_are_told_once_and_mended,
    a_job_that_somebody_else_cancelled_goes_on_after_clear,
    a_job_that_is_stuck_is_told_stopped_and_goes_on_after_clear,
    a_job_that_the_instance_forgot_is_lost_and_started_anew_by_clear,
    a_start_whose_answer_did_not_come_is_left_to_a_person_and_sent_by_clear,
    an_expired_token_is_told_and_mended_in_the_connection,
    an_expired_certificate_is_told_and_mended_in_the_connection,
    a_hibernated_sandbox_is_told_and_woken,
    a_full_disk_is_told_leaves_nothing_and_is_mended_by_room,
)
def test_what_the_readme_says_helps(
    played: Mapping[Scenario[People], Future[None]], scenario: Scenario[People]
) -> None:
    played[scenario].result()
