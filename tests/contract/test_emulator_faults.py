"""Every fault does what its name says, as often as it is set to."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
import zipfile

import httpx
import pytest

from emulator.faults import ANSWER_FAULTS, KINDS, LOG_FAULTS, ZIP_FAULTS
from tests.contract.conftest import PROCESS, Instance
from tests.support.emulator import PASSWORD

ODD_NAMES = ["C:\\aem\\a\x00b.log", "/" + "x" * 60_000, "/" + "x" * 60_000]


@pytest.fixture
def done(instance: Instance) -> str:
    """A job that has ended."""
    processing_id = instance.start(instance.folder(30, rate=10_000))
    instance.end(processing_id)
    return processing_id


@pytest.mark.parametrize(("kind", "jobs"), [("reset_before", 0), ("reset_after", 1), ("reset_body", 1)])
def test_a_reset_is_a_reset_and_the_request_is_acted_on_or_not(instance: Instance, kind: str, jobs: int) -> None:
    instance.emulator.fault("start", kind)
    path = instance.folder(1)
    body = json.dumps({"path": path, "type": "ASSET_PROCESSING"}).encode()
    login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    head = f"POST {PROCESS} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nContent-Length: {len(body)}\r\n"
    received: list[bytes] = []
    with pytest.raises(ConnectionResetError):
        _talk(instance.emulator.port, head.encode() + b"\r\n" + body, received)
    assert len(instance.emulator.jobs(path)) == jobs
    assert bool(received) is (kind == "reset_body")
    if received:
        head_received, _, rest = b"".join(received).partition(b"\r\n\r\n")
        assert 0 < len(rest) < int(head_received.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert instance.begin(path).status_code in (200, 400)


def _talk(port: int, message: bytes, received: list[bytes]) -> None:
    """Send bytes and keep those that come back, to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(message)
        while block := connection.recv(65536):
            received.append(block)


def test_a_delay_comes_ahead_of_the_action(instance: Instance) -> None:
    instance.emulator.fault("start", "delay", seconds=0.5)
    path = instance.folder(1)
    began = time.time()
    processing_id = instance.start(path)
    assert instance.status(processing_id)["startedAt"] / 1000 >= began + 0.49


def test_an_answer_may_never_come_though_the_request_was_acted_on(instance: Instance) -> None:
    instance.emulator.fault("start", "timeout_after")
    path = instance.folder(1)
    with pytest.raises(httpx.ReadTimeout):
        instance.client.post(
            instance.emulator.url + PROCESS, json={"path": path, "type": "ASSET_PROCESSING"}, timeout=0.5
        )
    assert len(instance.emulator.jobs(path)) == 1


@pytest.mark.parametrize(("acted", "jobs"), [(False, 0), (True, 1)])
def test_any_status_may_be_answered_before_or_after_the_action(instance: Instance, acted: bool, jobs: int) -> None:
    instance.emulator.fault(
        "start", "status", status=503, body="<h1>first byte timeout</h1>", headers={"Retry-After": "7"}, acted=acted
    )
    path = instance.folder(1)
    answer = instance.begin(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.headers["content-type"].startswith("text/html")
    assert len(instance.emulator.jobs(path)) == jobs


def test_a_problem_about_scopes_has_its_own_content_type(instance: Instance) -> None:
    headers = {"Content-Type": "application/problem+json"}
    instance.emulator.fault("history", "status", status=403, body='{"title": "scope"}', headers=headers)
    answer = instance.client.get(f"{instance.emulator.url}{PROCESS}/history")
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")


@pytest.mark.parametrize(
    ("kind", "status", "content"),
    [
        ("redirect_login", 302, b""),
        ("login_page", 200, b"AEM Sign In"),
        ("html", 200, b"<html>"),
        ("empty_body", 200, b""),
        ("truncated_json", 200, b'{"processingId"'),
        ("wrong_shape", 200, b'[{"unexpected": true}]'),
    ],
)
def test_the_answer_may_be_something_else(
    instance: Instance, done: str, kind: str, status: int, content: bytes
) -> None:
    instance.emulator.fault("status", kind, after=1)
    assert instance.ask("status", done).json()["status"] == "SUCCESS"
    answer = instance.ask("status", done)
    assert answer.status_code == status
    assert content in answer.content
    if kind in ("empty_body", "truncated_json"):
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            answer.json()
    assert instance.ask("status", done).json()["status"] == "SUCCESS"


def test_a_long_answer_may_be_cut_in_its_middle(instance: Instance) -> None:
    processing_id = instance.start(instance.folder(1, zip_padding_bytes=20_000_000))
    instance.end(processing_id)
    instance.emulator.fault("download", "reset_body")
    received: list[bytes] = []
    query = {"processingId": processing_id}
    url = f"{instance.emulator.url}{PROCESS}/logs/download"
    with instance.client.stream("GET", url, params=query) as answer:
        blocks = answer.iter_raw()
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            received.extend(blocks)
    assert 5_000_000 < sum(map(len, received)) < 20_000_000
    assert instance.ask("logs/download", processing_id).content.startswith(b"PK")


@pytest.mark.parametrize("kind", LOG_FAULTS)
def test_a_log_page_may_be_wrong(instance: Instance, done: str, kind: str) -> None:
    lines = instance.emulator.log_lines(done)
    instance.emulator.fault("logs", kind)
    answer = instance.ask("logs", done, offset=10, limit=5)
    if kind == "invalid_utf8":
        with pytest.raises(UnicodeDecodeError):
            answer.content.decode()
        return
    page = answer.json()
    match kind:
        case "shrink":
            assert page["lines"] == []
        case "repeat_page":
            assert page["lines"] == lines[5:10]
        case "ignore_limit":
            assert page["lines"] == lines[10:]
        case "more_forever":
            assert page["hasMore"] is True
        case "huge_line":
            assert len(page["lines"][0]) > 1_000_000
    assert instance.ask("logs", done, offset=10, limit=5).json()["lines"] == lines[10:15]


@pytest.mark.parametrize("kind", ZIP_FAULTS)
def test_an_archive_may_be_bad(instance: Instance, done: str, kind: str) -> None:
    odd = json.dumps({"names": ODD_NAMES, "behind": "\r\n", "wrong_crc": 2})
    instance.emulator.fault("download", kind, body=odd if kind == "zip_odd" else "")
    content = instance.ask("logs/download", done).content
    match kind:
        case "zip_crc":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                assert archive.testzip() is not None
        case "zip_truncated" | "zip_torn":
            assert content.startswith(b"PK")
            with pytest.raises(zipfile.BadZipFile):
                zipfile.ZipFile(io.BytesIO(content))
        case "zip_empty":
            assert content == b""
        case "zip_html":
            assert content.startswith(b"<!DOCTYPE html>")
        case "zip_traversal":
            assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["../../x.log"]
        case "zip_zero_entry":
            assert zipfile.ZipFile(io.BytesIO(content)).getinfo("empty.log").file_size == 0
        case "zip_bomb":
            bomb = zipfile.ZipFile(io.BytesIO(content)).getinfo("bomb.log")
            assert bomb.file_size > 500 * bomb.compress_size
        case "zip_odd":
            assert content.endswith(b"\r\n")
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                assert [entry.orig_filename for entry in archive.infolist()] == ODD_NAMES
                log, second, third = archive.infolist()
                assert archive.read(log).decode().split("\n")[:-1] == instance.emulator.log_lines(done)
                assert archive.read(second) == b"entry 1\n"
                with pytest.raises(zipfile.BadZipFile, match="CRC"):
                    archive.read(third)
    with zipfile.ZipFile(io.BytesIO(instance.ask("logs/download", done).content)) as archive:
        assert archive.testzip() is None


def test_faults_of_content_strike_where_they_belong(instance: Instance, done: str) -> None:
    for endpoint in ("status", "history"):
        instance.emulator.fault(endpoint, "unknown_state", word="REINDEXING")
    assert instance.status(done)["status"] == "REINDEXING"
    assert [job["status"] for job in instance.history()] == ["REINDEXING"]
    for endpoint in ("status", "history"):
        instance.emulator.fault(endpoint, "lose_job")
    assert instance.ask("status", done).status_code == 400
    assert instance.history() == []
    instance.emulator.fault("history", "history_lag", seconds=60)
    assert instance.history() == []
    instance.emulator.fault("history", "history_bad_entry")
    assert sum("processingId" not in job for job in instance.history()) == 1
    instance.emulator.fault("start", "missing_id")
    path = instance.folder(1)
    assert "processingId" not in instance.begin(path).json()
    assert len(instance.emulator.jobs(path)) == 1
    instance.emulator.post("/emulator/jobs/lose", {"processingId": done})
    assert instance.ask("status", done).status_code == 400


def test_an_echo_shows_the_request_and_is_acted_on_or_not(instance: Instance) -> None:
    for acted in (False, True):
        path = instance.folder(1)
        instance.emulator.fault("start", "echo", status=500, acted=acted)
        answer = instance.begin(path)
        assert answer.status_code == 500
        assert path in answer.text
        assert base64.b64encode(f"admin:{PASSWORD}".encode()).decode() in answer.text
        assert len(instance.emulator.jobs(path)) == acted


def test_a_slow_body_pauses_between_its_blocks_and_comes_whole(instance: Instance) -> None:
    processing_id = instance.start(instance.folder(1, rate=10_000, zip_padding_bytes=150_000))
    instance.end(processing_id)
    instance.emulator.fault("download", "slow_body", seconds=0.1)
    began = time.monotonic()
    slow = instance.ask("logs/download", processing_id)
    assert time.monotonic() - began >= 0.19
    assert len(slow.content) == len(instance.ask("logs/download", processing_id).content) > 150_000


def test_a_job_may_be_failed_from_outside(instance: Instance) -> None:
    path = instance.folder(1000, rate=5)
    processing_id = instance.start(path)
    instance.wait(processing_id, lambda job: job["triggeredCount"] > 0)
    instance.emulator.post("/emulator/jobs/fail", {"processingId": processing_id, "resumable": True})
    assert instance.status(processing_id)["status"] == "FAILED"
    instance.act("resume", processing_id)
    instance.wait(processing_id, lambda job: job["status"] == "RUNNING" and job["triggeredCount"] > 5)
    assert set(instance.times_processed(path)) == {1}


def test_faults_are_listed_with_what_remains_and_deleted(instance: Instance) -> None:
    instance.emulator.post("/emulator/faults", {"endpoint": "*", "kind": "html", "count": None})
    instance.emulator.post("/emulator/faults", {"endpoint": "download", "kind": "bad_zip", "mode": "torn", "count": 3})
    listed = instance.emulator.get("/emulator/faults")
    assert [(fault["kind"], fault["remaining"]) for fault in listed] == [("html", None), ("zip_torn", 3)]
    assert instance.emulator.delete("/emulator/faults") == []
    assert instance.history() == []


def test_wrong_orders_are_refused_by_field(instance: Instance) -> None:
    for route, body, field in (
        ("/emulator/faults", {"endpoint": "start", "kind": "explode"}, "kind"),
        ("/emulator/virtual-folders", {"path": "/content/dam/v"}, "files"),
        ("/emulator/clock", {}, "advance_seconds"),
        ("/emulator/clients", {"kind": "oauth", "client_id": "x"}, "secret"),
        ("/emulator/jobs/fail", {"processingId": "none"}, "No job found"),
    ):
        answer = instance.emulator.admin.post(route, json=body)
        assert answer.status_code == 400
        assert answer.json()["message"].startswith(field)
    assert instance.emulator.admin.post("/emulator/faults", content=b"[").status_code == 400
    assert instance.emulator.admin.patch("/emulator/settings", json={"speed": 1}).status_code == 400
    assert instance.emulator.admin.get("/emulator/log", params={"processingId": "none"}).status_code == 404


def test_no_kind_of_fault_is_left_out_here() -> None:
    content = {"unknown_state", "lose_job", "missing_id", "history_lag", "history_bad_entry"}
    assert set(KINDS) == {*ANSWER_FAULTS, *LOG_FAULTS, *ZIP_FAULTS, *content}
