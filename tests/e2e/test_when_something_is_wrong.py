"""The cases of `docs/troubleshooting.md`: each is produced, reported in the page's words, and repaired."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.support.airflow_stack import ARCHIVE, LEDGER, START, WAIT
from tests.support.control import control, new_findings, start_foreign
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.instances import FAST, SLOW, Instance
from tests.support.logins import JWT_SECRET, LOGINS
from tests.support.runs import FILES, Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

TROUBLED = "troubled_run"
CHECK = "check_instance"
CLIENT = "console"
HIBERNATED = "<html><body>This environment is hibernated. Go to the Developer Console to de-hibernate it.</body></html>"


def troubled(instance: Instance, *, rate: float, **conf: object) -> Run:
    """A run of the DAG with little patience, and without room while a file exists."""
    return Run.begin(instance, rate=rate, dag_id=TROUBLED, conf=conf, zip_padding_bytes=1_000_000)


def ended(emulator: EmulatorProcess, processing_id: str) -> None:
    """Wait until a job has succeeded."""
    emulator.wait_until(lambda: emulator.job(processing_id)["state"] == "SUCCESS", f"the end of job {processing_id}")


def a_job_that_another_user_cancelled_continues_after_clear(stage: Stage) -> None:
    run = Run.begin(stage.common)
    run.wait_for_progress()
    answer = httpx.post(
        f"{stage.common.emulator.url}/bin/guides/v1/assets/process/cancel",
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
    run.clear(WAIT)
    assert run.end() == "success"
    assert (run.row()["state"], run.row()["resumes"]) == ("SUCCESS", 1)
    assert run.times_processed() == [1] * FILES


@lasting
def a_job_that_is_stuck_is_reported_stopped_and_continues_after_clear(stage: Stage) -> None:
    run = Run.begin(stage.common, rate=0.001, conf={"stall_minutes": 0.05})
    run.wait_for(WAIT, "deferred")
    run.wait_for_words("No progress for", WAIT)
    assert [job["state"] for job in run.jobs()] == ["RUNNING"]
    run.mark(WAIT, "failed")
    assert run.end() == "failed"
    assert [job["state"] for job in run.jobs()] == ["CANCELLED"]
    run.hasten()
    run.clear(WAIT)
    assert run.end() == "success"
    assert run.times_processed() == [1] * FILES


@lasting
def a_job_that_the_instance_forgot_is_lost_and_started_anew_by_clear(stage: Stage) -> None:
    run = troubled(stage.common, rate=SLOW)
    run.wait_for(WAIT, "deferred")
    (lost,) = run.jobs()
    stage.common.emulator.post("/emulator/jobs/lose", {"processingId": lost["processing_id"]})
    assert run.end() == "failed"
    assert run.tries_that_said("is in neither the status nor the history", WAIT) == 1
    assert run.tries_that_said(f"Job {lost['processing_id']} is lost", WAIT) == 1
    assert run.row()["state"] == "LOST"
    run.hasten()
    run.clear(START)
    assert run.end() == "success"
    (job,) = (job for job in run.jobs() if job["processing_id"] != lost["processing_id"])
    assert run.row()["processing_id"] == job["processing_id"]


@lasting
def a_start_whose_answer_did_not_come_is_left_to_a_person_and_sent_by_clear(stage: Stage) -> None:
    with stage.instances.new({"window": 1}) as instance:
        emulator = instance.emulator
        ended(emulator, start_foreign(emulator, instance.folder(1, rate=FAST)))
        emulator.fault("start", "reset_before")
        run = Run.begin(instance, rate=FAST)
        instance.wait_for_requests("start", 2)
        ended(emulator, start_foreign(emulator, instance.folder(1, rate=FAST)))
        assert run.end() == "failed"
        assert run.tries_that_said("no answer came", START) == 1
        assert run.row()["state"] == "UNKNOWN"
        assert run.jobs() == []
        run.clear(START)
        assert run.end() == "success"
        assert len(run.jobs()) == 1


def a_duplicate_is_reported_once_and_mended(stage: Stage) -> None:
    with stage.instances.new({"lock": False}) as doubled:
        path = doubled.folder(FILES, rate=SLOW)
        first, second = (start_foreign(doubled.emulator, path) for _ in range(2))
        assert any(f"had the same request on {path} at the same time" in found for found in new_findings(doubled))
        state, result, _ = control(stage.airflow, "cancel", second, connection_id=doubled.connection_id)
        assert (state, result["result"]) == ("success", "cancelled")
        doubled.hasten(path, FILES)
        ended(doubled.emulator, first)
        assert not any("had the same request on" in found for found in new_findings(doubled))


@lasting
def a_window_gap_is_reported_once_and_what_passed_in_it_is_archived_by_its_id(stage: Stage) -> None:
    gap = "Jobs in between may have been missed"
    with stage.instances.new({"window": 2}) as narrow:

        def somebody_runs() -> str:
            started = start_foreign(narrow.emulator, narrow.folder(1, rate=FAST))
            ended(narrow.emulator, started)
            return started

        somebody_runs()
        assert gap not in "".join(new_findings(narrow))
        ours = Run.begin(narrow, rate=FAST)
        assert ours.end() == "success"
        passed, *_ = (somebody_runs() for _ in range(3))
        assert gap in "".join(new_findings(narrow))
        noted = stage.airflow.ask_database(
            "SELECT run_id FROM aem_guides_job WHERE processing_id = %s", ours.row()["processing_id"], database=LEDGER
        )
        assert noted == [(ours.run_id,)]
        somebody_runs()
        assert gap not in "".join(new_findings(narrow))
        state, result, _ = control(stage.airflow, "archive", passed, connection_id=narrow.connection_id)
        assert (state, Path(result["archive_uri"].removeprefix("file://")).is_file()) == ("success", True)


def pasted_token(emulator: EmulatorProcess) -> str:
    """A connection with an access token, fresh from the Developer Console."""
    emulator.settings(oauth_clients={CLIENT: {"secret": PASSWORD, "scopes": ["AdobeID"]}})
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": PASSWORD, "scope": "AdobeID"}
    answer = httpx.post(f"{emulator.url}/ims/token/v3", data=form, trust_env=False).raise_for_status().json()
    extra = {"auth": "bearer", "token": answer["access_token"]}
    return json.dumps({"conn_type": "aem_guides", "host": emulator.url, "extra": extra})


def mend(instance: Instance, connection: Callable[[EmulatorProcess], str]) -> None:
    """Write the connection again, as a user does in the UI."""
    fields = json.loads(connection(instance.emulator))
    fields |= {"connection_id": instance.connection_id, "extra": json.dumps(fields["extra"])}
    instance.airflow.rest.request("PATCH", f"/connections/{instance.connection_id}", json=fields)


@lasting
def an_expired_token_is_reported_and_mended_in_the_connection(stage: Stage) -> None:
    said = "Check the credentials of the Airflow connection"
    with stage.instances.new(connection=pasted_token) as instance:
        airflow = stage.airflow
        waiting = Run.begin(instance)
        waiting.wait_for_progress()
        instance.emulator.delete("/emulator/tokens")
        waiting.wait_for_words("The job is not affected; checking again", WAIT)
        assert waiting.tries_that_said(said, WAIT) == 1
        refused = Run.begin(instance, rate=FAST)
        assert refused.end() == "failed"
        assert said in airflow.whole_log(refused.run_id, CHECK)
        mend(instance, pasted_token)
        waiting.clear(WAIT)
        refused.clear(CHECK)
        waiting.wait_for_second_try(WAIT)
        waiting.hasten()
        assert (waiting.end(), refused.end()) == ("success", "success")
        assert [(len(run.jobs()), run.row()["resumes"]) for run in (waiting, refused)] == [(1, 0), (1, 0)]


def an_expired_certificate_is_reported_and_mended_in_the_connection(stage: Stage) -> None:
    (valid,) = (login.connection for login in LOGINS if login.name == "service_credentials")

    def expired(emulator: EmulatorProcess) -> str:
        connection = valid(emulator)
        clients = emulator.get("/emulator/settings")["jwt_clients"]
        clients["jwt-client"] |= {"secret": JWT_SECRET, "certificate_expired": True}
        emulator.settings(jwt_clients=clients)
        return connection

    with stage.instances.new(connection=expired) as instance:
        run = Run.begin(instance, rate=FAST)
        assert run.end() == "failed"
        assert "The certificate or the JWT has expired" in stage.airflow.whole_log(run.run_id, CHECK)
        mend(instance, valid)
        run.clear(CHECK)
        assert run.end() == "success"


@lasting
def a_hibernated_sandbox_is_reported_and_woken(stage: Stage) -> None:
    said = "The sandbox is hibernated. Wake it (De-hibernate) in the Developer Console"
    with stage.instances.new() as instance:
        waiting = Run.begin(instance)
        waiting.wait_for_progress()
        instance.emulator.fault("*", "status", status=200, body=HIBERNATED, count=None)
        waiting.wait_for_words(said, WAIT)
        late = Run.begin(instance, rate=FAST)
        assert late.end() == "failed"
        assert said in stage.airflow.whole_log(late.run_id, CHECK)
        assert late.jobs() == []
        instance.emulator.delete("/emulator/faults")
        late.clear(CHECK)
        waiting.hasten()
        assert (waiting.end(), late.end()) == ("success", "success")
        assert waiting.tries(WAIT) == 1
        assert waiting.tries_that_said("is shown again after", WAIT) == 1


def a_full_disk_is_reported_leaves_nothing_and_is_mended_by_room(stage: Stage) -> None:
    full = stage.instances.folder / "full"
    full.touch()
    run = troubled(stage.common, rate=FAST, no_room_while=str(full))
    assert run.end() == "failed"
    assert run.tries_that_said("The storage is full. Free some space", ARCHIVE) >= 1
    row = run.row()
    assert (row["state"], row["archive_uri"]) == ("SUCCESS", None)
    archive = stage.airflow.folder / "archive"
    assert list(archive.rglob(f"{row['processing_id']}/*")) == []
    full.unlink()
    run.clear(ARCHIVE)
    assert run.end() == "success"
    stored = archive.rglob(f"{row['processing_id']}/*")
    assert sorted(file.name for file in stored) == ["logs.zip", "manifest.json"]
    assert run.row()["sha256"]
    assert len(run.jobs()) == 1


@scenarios(
    a_duplicate_is_reported_once_and_mended,
    a_window_gap_is_reported_once_and_what_passed_in_it_is_archived_by_its_id,
    a_job_that_another_user_cancelled_continues_after_clear,
    a_job_that_is_stuck_is_reported_stopped_and_continues_after_clear,
    a_job_that_the_instance_forgot_is_lost_and_started_anew_by_clear,
    a_start_whose_answer_did_not_come_is_left_to_a_person_and_sent_by_clear,
    an_expired_token_is_reported_and_mended_in_the_connection,
    an_expired_certificate_is_reported_and_mended_in_the_connection,
    a_hibernated_sandbox_is_reported_and_woken,
    a_full_disk_is_reported_leaves_nothing_and_is_mended_by_room,
)
def test_what_the_page_says_helps(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
