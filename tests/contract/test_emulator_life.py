"""The life of a job at the emulator, over HTTP, as a client of the real instance sees it."""

from __future__ import annotations

import io
import re
import time
import zipfile
from email.utils import parsedate_to_datetime

import httpx
import psutil
import pytest

from tests.contract.conftest import Instance
from tests.support.emulator import EmulatorProcess

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}: (INFO|WARN|ERROR): \[BASELINE_MIGRATION\] .+")


def test_a_job_counts_its_set_then_runs_with_an_honest_eta_and_succeeds(instance: Instance) -> None:
    instance.emulator.settings(waiting_seconds=3600)
    path = instance.folder(1000, rate=20)
    processing_id = instance.start(path)
    waiting = instance.status(processing_id)
    assert (waiting["status"], waiting["migrationSet"]) == ("WAITING", {"calculationStatus": "WAITING"})
    assert "eta" not in waiting
    instance.emulator.settings(waiting_seconds=0)
    running = instance.wait(processing_id, lambda job: job["triggeredCount"] >= 20)
    assert (running["status"], running["migrationSet"]["totalFiles"]) == ("RUNNING", 1000)
    assert (running["cancellable"], running["resumable"], running["restartable"]) == (True, False, False)
    assert running["eta"]["value"] == pytest.approx((1000 - running["triggeredCount"]) / 20, rel=0.25)
    instance.emulator.virtual_folder(path, 1000, rate=10_000)
    ended = instance.end(processing_id)
    assert (ended["status"], ended["triggeredCount"], ended["createdBy"]) == ("SUCCESS", 1000, "admin")
    assert (ended["cancellable"], ended["resumable"], ended["restartable"]) == (False, False, True)
    assert ended["startedAt"] + 1000 <= ended["completedAt"] < ended["startedAt"] + 120_000


def test_real_content_is_processed_with_its_faults_in_the_log(instance: Instance) -> None:
    processing_id = instance.start("/content/dam/aurora")
    assert instance.end(processing_id)["status"] == "SUCCESS"
    lines = instance.emulator.log_lines(processing_id)
    assert sum("ERROR: [BASELINE_MIGRATION] Failed to process" in line for line in lines) == 2
    assert sum("WARN: " in line and line.endswith(" is broken") for line in lines) == 3
    assert lines[-1].endswith("INFO: [BASELINE_MIGRATION] Bulk processing job completed [status=SUCCESS]. Exiting...")
    bare = [line for line in lines if not LINE.fullmatch(line)]
    assert len(bare) == 4
    assert all(line.startswith("    ") for line in bare)
    broken = [asset for asset in instance.emulator.assets("/content/dam/aurora") if asset["state"] == "FAILURE"]
    assert [asset["reason"] for asset in broken] == ["The file is not well-formed XML"] * 2


def test_filters_and_exclusions_choose_what_is_processed(instance: Instance) -> None:
    path = "/content/dam/aurora/guides/installation/choosing a site.dita"
    chosen = {"fileTypes": ["MARKDOWN", "DITAVAL"]}
    instance.end(instance.start("/content/dam/aurora", filter=chosen))
    types = {asset["type"] for asset in instance.emulator.assets("/content/dam/aurora")}
    assert types == {"MARKDOWN", "DITAVAL"}
    instance.emulator.post("/emulator/creation-times", {path: 5000})
    job = instance.end(instance.start("/content/dam/aurora", filter={"startTime": 5000, "endTime": 5001}))
    assert job["migrationSet"]["totalFiles"] == 1
    assert job["filter"]["startTime"] == 5000
    excluded = ["content/dam/aurora/guides", "/content/dam/aurora/reference"]
    job = instance.end(instance.start("/content/dam/aurora", excludedPaths=excluded))
    assert [entry.strip("/") for entry in job["excludedPaths"]] == [entry.strip("/") for entry in excluded]
    assert job["migrationSet"]["totalFiles"] < 69


def test_an_instance_without_filters_says_so(instance: Instance) -> None:
    instance.emulator.settings(filters_supported=False)
    answer = instance.begin("/content/dam/aurora", filter={"fileTypes": ["DITAMAP"]})
    assert answer.status_code == 400
    assert "unknown property filter" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/content/none", "/etc", "content/dam/aurora", "/contents/x", 5, None])
def test_a_path_that_is_none_is_refused(instance: Instance, path: str) -> None:
    assert instance.begin(path).status_code == 400
    assert instance.emulator.jobs() == []


@pytest.mark.parametrize("status", [400, 409, 500])
def test_a_second_job_on_an_active_folder_is_refused(instance: Instance, status: int) -> None:
    instance.emulator.settings(active_status=status)
    path = instance.folder(1000, rate=2)
    processing_id = instance.start(path)
    refused = instance.begin(path)
    assert (refused.status_code, "in progress" in refused.json()["message"]) == (status, True)
    child = f"{path}/topic_0000001.dita"
    instance.emulator.settings(lock_includes_overlap=True)
    assert instance.begin(child).status_code == status
    instance.emulator.settings(lock_includes_overlap=False)
    assert instance.begin(child).status_code == 200
    instance.emulator.settings(lock=False)
    second = instance.start(path)
    instance.emulator.settings(lock=True)
    for started in (processing_id, second):
        instance.act("cancel", started)
        instance.end(started)
    assert instance.begin(path).status_code == 200


@pytest.mark.parametrize("keeps", [True, False])
def test_a_cancelled_job_is_resumed_without_processing_anything_twice(instance: Instance, keeps: bool) -> None:
    instance.emulator.settings(resume_keeps_id=keeps, cancel_seconds=3600)
    path = instance.folder(600, rate=20)
    first = instance.start(path)
    instance.wait(first, lambda job: job["triggeredCount"] >= 10)
    assert instance.act("cancel", first).status_code == 200
    assert instance.wait(first, lambda job: job["status"] == "CANCELLING")["cancellable"] is False
    instance.emulator.settings(cancel_seconds=0)
    cancelled = instance.end(first)
    assert (cancelled["status"], cancelled["resumable"]) == ("CANCELLED", True)
    assert 10 <= cancelled["triggeredCount"] < 600
    instance.emulator.virtual_folder(path, 600, rate=10_000)
    second = instance.act("resume", first).json()["processingId"]
    assert (second == first) is keeps
    assert instance.end(second)["status"] == "SUCCESS"
    assert instance.times_processed(path) == [1] * 600
    assert instance.emulator.jobs(path)[-1]["resumes"] == 1
    assert instance.act("resume", second).status_code == 400
    assert instance.act("cancel", second).status_code == 400


def test_a_job_that_fails_goes_on_from_its_last_checkpoint(instance: Instance) -> None:
    instance.emulator.settings(checkpoint_every=10)
    path = instance.folder(40, rate=1000, fail_at=0.625, failed_assets=0.5)
    processing_id = instance.start(path)
    failed = instance.end(processing_id)
    assert (failed["status"], failed["triggeredCount"], failed["resumable"]) == ("FAILED", 25, True)
    instance.act("resume", processing_id)
    assert instance.end(processing_id)["status"] == "SUCCESS"
    assert instance.times_processed(path) == [1] * 20 + [2] * 5 + [1] * 15
    assert instance.emulator.jobs(path)[0]["failed_assets"] == 20


def test_a_job_that_fails_for_good_cannot_be_resumed(instance: Instance) -> None:
    processing_id = instance.start(instance.folder(40, rate=1000, fail_at=0.5, resumable=False))
    assert instance.end(processing_id)["resumable"] is False
    assert instance.act("resume", processing_id).status_code == 400


def test_killed_in_the_middle_it_goes_on_and_processes_nothing_twice(instance: Instance) -> None:
    emulator = instance.emulator
    path = instance.folder(1000, rate=20)
    processing_id = instance.start(path)
    for least in (10, 30):
        instance.wait(processing_id, lambda job, least=least: job["triggeredCount"] >= least)  # type: ignore[misc]  # bound now
        emulator.kill()
        emulator.start()
    emulator.virtual_folder(path, 1000, rate=10_000)
    assert instance.end(processing_id)["status"] == "SUCCESS"
    assert instance.times_processed(path) == [1] * 1000
    assert sum("Instance restarted" in line for line in emulator.log_lines(processing_id)) == 2
    assert len(emulator.log_lines(processing_id)) == 1005


def test_a_cancel_survives_a_death(instance: Instance) -> None:
    instance.emulator.settings(cancel_seconds=3600)
    processing_id = instance.start(instance.folder(1000, rate=2))
    instance.act("cancel", processing_id)
    instance.emulator.restart()
    instance.emulator.settings(cancel_seconds=0)
    assert instance.end(processing_id)["status"] == "CANCELLED"


def test_a_restart_may_fail_or_lose_active_jobs(instance: Instance) -> None:
    path = instance.folder(1000, rate=1)
    processing_id = instance.start(path)
    instance.emulator.settings(on_restart="fail_resumable")
    instance.emulator.restart()
    assert (instance.status(processing_id)["status"], instance.status(processing_id)["resumable"]) == ("FAILED", True)
    instance.act("resume", processing_id)
    instance.emulator.settings(on_restart="lose")
    instance.emulator.restart()
    assert instance.ask("status", processing_id).status_code == 400
    assert instance.history() == []


def test_the_window_shows_the_last_jobs_and_others_may_be_forgotten(instance: Instance) -> None:
    started = [instance.start(instance.folder(1)) for _ in range(4)]
    instance.emulator.settings(window=3)
    assert [job["processingId"] for job in instance.history()] == started[:0:-1]
    instance.emulator.settings(history_order="oldest")
    assert [job["processingId"] for job in instance.history()] == started[1:]
    assert instance.ask("status", started[0]).status_code == 200
    instance.emulator.settings(forget_outside_window=True)
    assert instance.ask("status", started[0]).status_code == 400
    assert [job["in_window"] for job in instance.emulator.jobs()] == [False, True, True, True]


def test_jobs_can_be_asked_for_by_path_and_id_and_are_counted(instance: Instance) -> None:
    path = instance.folder(1)
    first = instance.start(path)
    instance.end(first)
    second, other = instance.start(path), instance.start(instance.folder(1))
    assert [job["processing_id"] for job in instance.emulator.jobs(path)] == [first, second]
    assert instance.emulator.job(other)["seq"] == 3
    assert instance.emulator.get("/emulator/jobs", path=path, processingId=other) == []
    assert instance.emulator.get("/emulator/health")["jobs"] == 3


def test_states_may_be_spelt_as_in_the_products_window(instance: Instance) -> None:
    instance.emulator.settings(state_style="window")
    path = instance.folder(1000, rate=2)
    processing_id = instance.start(path)
    assert instance.wait(processing_id, lambda job: job["triggeredCount"] > 0)["status"] == "In progress"
    instance.emulator.settings(running_word="REINDEXING")
    assert instance.status(processing_id)["status"] == "REINDEXING"
    instance.emulator.virtual_folder(path, 1000, rate=10_000)
    assert instance.wait(processing_id, lambda job: job["restartable"])["status"] == "Completed"


def test_log_pages_have_a_default_and_a_largest_size(instance: Instance) -> None:
    instance.emulator.settings(default_log_limit=5, max_log_limit=8)
    processing_id = instance.start(instance.folder(20, rate=1000))
    instance.end(processing_id)
    lines = instance.emulator.log_lines(processing_id)
    page = instance.ask("logs", processing_id).json()
    assert page == {"lines": lines[:5], "limit": 5, "offset": 0, "hasMore": True}
    assert instance.ask("logs", processing_id, offset=2, limit=100).json()["lines"] == lines[2:10]
    assert instance.ask("logs", processing_id, tail=3).json()["lines"] == lines[-3:]
    end = instance.ask("logs", processing_id, offset=len(lines)).json()
    assert (end["lines"], end["hasMore"]) == ([], False)
    for wrong in ({"offset": -1}, {"limit": 0}, {"limit": "x"}, {"tail": "9" * 30}):
        assert instance.ask("logs", processing_id, **wrong).status_code == 400


def test_the_archive_holds_the_log_and_is_the_same_each_time(instance: Instance) -> None:
    processing_id = instance.start(instance.folder(20, rate=1000, zip_padding_bytes=3_000_001))
    instance.end(processing_id)
    answer = instance.ask("logs/download", processing_id)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.content == instance.ask("logs/download", processing_id).content
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        log, padding = archive.infolist()
        assert archive.read(log).decode().splitlines() == instance.emulator.log_lines(processing_id)
    assert padding.file_size == 3_000_001
    assert len(answer.content) > 3_000_000
    leftovers = instance.emulator.folder / "data" / "tmp"
    instance.emulator.wait_until(lambda: not list(leftovers.iterdir()), "the temporary files to go")


def test_the_log_may_be_given_as_paths_which_need_a_login(instance: Instance) -> None:
    instance.emulator.settings(download_form="json")
    processing_id = instance.start(instance.folder(5))
    instance.end(processing_id)
    (path,) = instance.ask("logs/download", processing_id).json()["logFilePaths"]
    whole = instance.client.get(instance.emulator.url + path).text
    assert whole.splitlines() == instance.emulator.log_lines(processing_id)
    assert httpx.get(instance.emulator.url + path, trust_env=False).status_code == 401
    instance.emulator.settings(download_form="json_foreign", foreign_origin="http://elsewhere.example")
    (path,) = instance.ask("logs/download", processing_id).json()["logFilePaths"]
    assert path.startswith("http://elsewhere.example/")


def test_assets_may_still_be_at_work_after_the_success(instance: Instance) -> None:
    instance.emulator.settings(late_assets=2, late_seconds=30, asset_status_seconds=0)
    path = instance.folder(5, failed_assets=["topic_0000004.dita"])
    processing_id = instance.start(path)
    instance.end(processing_id)

    def states() -> list[str]:
        where = f"{instance.emulator.url}/bin/guides/v1/assets/status"
        excluded = [f"{path}/topic_0000003.dita"]
        job_id = instance.client.post(where, json={"paths": [path], "excludedPaths": excluded}).json()["jobId"]
        answer = instance.client.get(where, params={"jobId": job_id}).json()
        return [asset["status"] for asset in answer["assets"]]

    assert states() == ["PROCESSING", "PROCESSING", "SUCCESS", "FAILURE"]
    assert "Waiting for remaining assets: 2" in instance.emulator.log_lines(processing_id)[-1]
    instance.emulator.post("/emulator/clock", {"advance_seconds": 31})
    assert states() == ["SUCCESS", "SUCCESS", "SUCCESS", "FAILURE"]
    instance.emulator.settings(asset_status=False)
    where = f"{instance.emulator.url}/bin/guides/v1/assets/status"
    assert instance.client.get(where, params={"jobId": job_id_of_nobody()}).status_code == 404
    assert instance.emulator.get("/emulator/nodes") == []


def job_id_of_nobody() -> str:
    return "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(("answer", "status", "made"), [("created", 201, 1), ("forbidden", 403, 0), ("error", 500, 0)])
def test_a_post_to_a_path_that_nothing_serves_is_answered_as_sling_does(
    instance: Instance, answer: str, status: int, made: int
) -> None:
    instance.emulator.settings(asset_status=False, sling_post=answer)
    before = len(instance.emulator.get("/emulator/nodes"))
    for path in ("/bin/guides/v1/assets/status", "/bin/guides/v9/unheard-of"):
        where = f"{instance.emulator.url}{path}"
        assert instance.client.get(where).status_code == 404
        posted = instance.client.post(where, json={"paths": []})
        assert (posted.status_code, posted.headers["content-type"]) == (status, "text/html; charset=utf-8")
    instance.emulator.settings(asset_status=True, sling_post="created")
    assert len(instance.emulator.get("/emulator/nodes")) == before + 2 * made


def test_the_instance_starts_runs_of_its_own_when_its_time_has_come(instance: Instance) -> None:
    path = instance.folder(1)
    instance.emulator.settings(schedule_seconds=900, schedule_path=path)
    for number in (1, 2):
        instance.emulator.post("/emulator/clock", {"advance_seconds": 901})
        deadline = time.monotonic() + 10
        while [job["state"] for job in instance.emulator.jobs(path)] != ["SUCCESS"] * number:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    first, second = instance.emulator.jobs(path)
    assert {first["created_by"], second["created_by"]} == {"System"}
    assert second["started"] - first["started"] >= 900_000


def test_the_clock_of_the_date_header_may_differ_from_that_of_the_jobs(instance: Instance) -> None:
    instance.emulator.settings(date_skew_seconds=-3600, clock_offset_seconds=60)
    answer = instance.begin(instance.folder(1))
    reported = parsedate_to_datetime(answer.headers["date"]).timestamp()
    assert reported - time.time() == pytest.approx(-3540, abs=5)
    assert instance.emulator.jobs()[0]["started"] / 1000 - time.time() == pytest.approx(60, abs=5)
    assert "date" in httpx.get(f"{instance.emulator.url}/nowhere", trust_env=False).headers


def test_the_system_status_may_be_bad_or_missing(instance: Instance) -> None:
    where = f"{instance.emulator.url}/bin/guides/v1/system/status"
    assert instance.client.get(where).json() == {"isDatabase": True, "databaseConnectionCheck": "passed"}
    instance.emulator.settings(database_check="failed")
    assert instance.client.get(where).json()["databaseConnectionCheck"] == "failed"
    instance.emulator.settings(system_status=False)
    assert instance.client.get(where).status_code == 404


def test_large_folders_and_several_jobs_at_once_stay_light(instance: Instance) -> None:
    started = [instance.start(instance.folder(50_000, rate=1_000_000)) for _ in range(4)]
    for processing_id in started:
        instance.wait(processing_id, lambda job: job["triggeredCount"] > 5000)
    asked = time.monotonic()
    instance.status(started[0])
    assert time.monotonic() - asked < 5
    assert psutil.Process(instance.emulator.pid).memory_info().rss < 80 * 2**20


def test_it_refuses_what_it_cannot_take_at_its_start(emulator: EmulatorProcess) -> None:
    wrong = EmulatorProcess(emulator.folder / "wrong", settings={"on_restart": "explode"})
    with pytest.raises(AssertionError, match="on_restart: 'explode' cannot be taken"):
        wrong.start()
    wrong.stop()


def test_it_ends_cleanly_after_a_signal(emulator: EmulatorProcess) -> None:
    other = EmulatorProcess(emulator.folder / "other")
    with other:
        process = psutil.Process(other.pid)
        process.terminate()
        assert process.wait(10) == 0
